from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headrace.approvals import key_file, new_key, signer_of

if TYPE_CHECKING:
    from headrace.evidence import Signer

Member = Callable[[str], str]


@pytest.fixture(autouse=True)
def keys(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the keys of people are, in these tests."""
    directory = tmp_path_factory.mktemp("people") / "keys"
    monkeypatch.setenv("HEADRACE_KEYS", str(directory))
    return directory


@pytest.fixture
def member(keys: Path) -> Member:
    """Makes a person's key; its public line."""

    def make(name: str) -> str:
        return new_key(name)[1]

    return make


def signer(name: str) -> Signer:
    """What signs with a person's key."""
    return signer_of(key_file(name))
