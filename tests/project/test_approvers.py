"""Groups and protected aliases in the project file: mistakes with their line."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from headrace.project.config import InvalidProjectError, load_project
from headrace.settings import Paths

FILE = """
name: small
protected: [production, live]
groups:
  leads:
    ann: "{ann}"
    bob: "{bob}"
models:
  failure:
    train: train.py:train
    table: gold.features
    label: fails
    time: at
    holdout: {{last: 25%}}
    gate: {{metric: roc_auc, approvals: {approvals}}}
"""


def line() -> str:
    key = Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def problems(root: Path, **parts: str) -> list[tuple[int | None, str]]:
    (root / "train.py").write_text("def train(X, y, *, seed): ...\n")
    known = {"ann": line(), "bob": line(), "approvals": "0"}
    (root / "headrace.yaml").write_text(FILE.format(**(known | parts)))
    try:
        load_project(Paths(root))
    except InvalidProjectError as error:
        return error.problems
    return []


@pytest.mark.parametrize("approvals", ["0", "{count: 2, group: leads}", "{count: 0}"])
def test_what_can_be_asked_is_taken(tmp_path: Path, approvals: str) -> None:
    assert problems(tmp_path, approvals=approvals) == []
    assert load_project(Paths(tmp_path)).protected == ["production", "live"]


@pytest.mark.parametrize(
    ("approvals", "text"),
    [
        ("2", "give the group that approves"),
        ("{count: 2, group: lead}", 'no group "lead" in this file; did you mean "leads"?'),
        ("{count: 3, group: leads}", "3 approvals of leads, which has 2 members"),
        ("{count: -1}", "greater than or equal to 0"),
        ("{count: 1, group: leads, expires: 0s}", "greater than"),
        ("{count: 1, group: leads, expires: 7}", "a duration is text with a unit"),
        ("{number: 1}", "is not a known key"),
        ("true", "valid dictionary or instance of ApprovalRule"),
    ],
)
def test_what_cannot_be_asked_is_told_with_its_line(
    tmp_path: Path, approvals: str, text: str
) -> None:
    (found,) = problems(tmp_path, approvals=approvals)
    assert found[0] == 15
    assert text in found[1]


def test_keys_are_looked_at(tmp_path: Path) -> None:
    same = line()
    assert problems(tmp_path, ann=same, bob=same) == [(7, '"bob" has the key of "ann"')]
    ((at, text),) = problems(tmp_path, ann="ssh-rsa AAAA")
    assert (at, text.startswith('the key of "ann": it is')) == (6, True)
