"""What verifies and what does not, with nothing but bytes, a key and files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from securesystemslib.signer import CryptoSigner
from tests.evidence.test_envelope import public_of
from tests.gate.cases import RULE

from headrace import clock
from headrace.evidence import About, Verification, verify
from headrace.evidence.approval import Ask, sign
from headrace.evidence.envelope import peek, seal

if TYPE_CHECKING:
    from tests.evidence.worlds import World

    from headrace.evidence import Evidence

Edit = Callable[[dict[str, Any]], None]


def state(found: Verification, name: str) -> list[str]:
    return [each.state for each in found.checks if each.name == name]


def resigned(world: World, evidence: Evidence, edit: Edit) -> Verification:
    """The statement as someone with the key could have written it."""
    body = peek(evidence.envelope)
    edit(body["predicate"])
    return verify(seal(body, world.keys.signer()), world.public, model=world.model)


def test_a_promotion_verifies(world: World) -> None:
    evidence = world.append()
    found = verify(
        evidence.envelope,
        world.public,
        model=world.model,
        about=About("failure", 2, "production"),
    )
    assert found.ok, found.problems
    assert found.problems == []
    assert (found.kind, found.subject, found.digest) == ("promoted", "failure/2", evidence.digest)
    assert {each.name: each.state for each in found.checks} == {
        "statement": "ok",
        "signature": "ok",
        "version": "ok",
        "files": "ok",
        "verdict": "ok",
    }
    assert found.as_json()["verified"] is True


def test_a_refusal_verifies_as_what_it_is(world: World) -> None:
    evidence = world.append(kind="refused", candidate=0.1, difference=None, champion=None)
    found = verify(evidence.envelope, world.public)
    assert found.kind == "refused"
    assert any("champion" in each for each in found.problems)  # the world states one


def test_without_the_files_nothing_is_said_of_them(world: World) -> None:
    found = verify(world.append().envelope, world.public)
    assert found.ok
    assert state(found, "files") == ["skipped"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda model: (model / "model.skops").write_text("other"), "changed: model.skops"),
        (lambda model: (model / "model.skops").unlink(), "missing: model.skops"),
        (lambda model: (model / "extra.py").write_text("import os"), "not signed: extra.py"),
        (
            lambda model: (model / "kernel/model.onnx").write_bytes(b"graph "),
            "changed: kernel/model.onnx",
        ),
        (
            lambda model: (model / "MLmodel").rename(model / "MLmodel2"),
            "missing: MLmodel; not signed: MLmodel2",
        ),
        (lambda model: (model / "link").symlink_to("/etc/passwd"), "link is a link"),
    ],
)
def test_files_that_are_not_those_that_were_signed(
    world: World, change: Callable[[Path], Any], told: str
) -> None:
    evidence = world.append()
    change(world.model)
    found = verify(evidence.envelope, world.public, model=world.model)
    assert not found.ok
    assert told in found.problems[0]


def test_a_file_that_was_changed_within_its_second_and_size_is_noticed(world: World) -> None:
    evidence = world.append()
    file = world.model / "model.skops"
    before = file.stat()
    file.write_text("wEights")
    import os

    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not verify(evidence.envelope, world.public, model=world.model).ok


def test_a_model_that_is_not_there(world: World) -> None:
    found = verify(world.append().envelope, world.public, model=world.model / "none")
    assert "cannot be read" in found.problems[0]


def test_evidence_of_another_version_is_no_evidence(world: World) -> None:
    found = verify(world.append().envelope, world.public, about=About("failure", 3))
    assert found.problems == ["version: it is about failure/2, not failure/3"]


def test_evidence_for_another_alias_is_no_evidence(world: World) -> None:
    found = verify(world.append().envelope, world.public, about=About("failure", 2, "canary"))
    assert found.problems == ["version: it is about the alias production, not canary"]


def test_a_verdict_that_was_edited_and_signed_with_another_key(world: World) -> None:
    body = peek(world.append().envelope)
    body["predicate"]["verdict"]["candidate"] = 0.99
    thief = CryptoSigner.generate_ed25519()
    forged = seal(body, thief)
    assert "it is signed by key" in verify(forged, world.public).problems[0]
    # Nor does it help to bring one's own key along: the numbers contradict each other.
    found = verify(forged, [public_of(thief)])
    assert "the gain is not the difference of the two values" in found.problems[0]


def _set(*path: str | int, value: Any) -> Edit:
    def edit(predicate: dict[str, Any]) -> None:
        at: Any = predicate
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (_set("kind", value="refused"), "the decision is refused, and the verdict is not"),
        (_set("kind", value="nonsense"), 'a decision is not "nonsense"'),
        (_set("kind", value="key"), 'a decision is not "key"'),
        (_set("verdict", "version", value=9), "the verdict is on failure/9"),
        (_set("verdict", "summary", value="fine"), "words are not those of its numbers"),
        (_set("verdict", value=None), "there is none"),
        (_set("rule", "confidence", value=0.9), "the digests differ"),
        (_set("rule", "min", "recall", value=0.9), "the bound on recall"),
        (_set("champion", value=None), "the champion is another than the verdict's"),
        (_set("champion", "version", value=7), "the champion is another than the verdict's"),
        (_set("holdout", "rows", value=1), "the hold-out is another than the verdict's"),
        (_set("holdout", "digest", value="0"), "the hold-out is another than the verdict's"),
        (_set("verdict", "bounds", 0, "value", value=0.1), "recall"),
        (_set("verdict", "bounds", value=[]), "was not judged"),
        (_set("verdict", "difference", "low", value=-0.1), "verdict: "),
        (_set("model", value={}), "it is not of this form"),
        (_set("sequence", value="one"), "no place in a chain"),
        (_set("sequence", value=0), "no place in a chain"),
        (_set("previous", value="0" * 64), "no place in a chain"),
        (_set("decided", value=None), "it is not of this form"),
        (_set("rule", value={"metric": "nonsense"}), "it is not of this form"),
        (_set("kernel", value={"report": "0", "graph": None}), "its report is not the file"),
    ],
)
def test_a_statement_that_contradicts_itself(world: World, edit: Edit, told: str) -> None:
    """Signed with the workspace's own key, by whoever had it."""
    found = resigned(world, world.append(), edit)
    assert not found.ok
    assert any(told in problem for problem in found.problems), found.problems


def test_a_rule_of_another_version_is_named(world: World) -> None:
    def edit(predicate: dict[str, Any]) -> None:
        predicate["headrace"] = "9.9"
        predicate["rule"]["confidence"] = 0.9

    found = resigned(world, world.append(), edit)
    assert "Headrace 9.9 decided, and this is" in found.problems[0]


def test_a_signed_value_that_is_no_statement(world: World) -> None:
    world.keys.ensure()
    found = verify(seal({"a": 1}, world.keys.signer()), world.public)
    assert not found.ok
    assert found.checks[0].name == "statement"


def test_an_override_verifies_loudly(world: World) -> None:
    evidence = world.append(kind="overridden")
    found = verify(evidence.envelope, world.public, model=world.model)
    assert found.ok
    assert state(found, "override") == ["warning"]
    assert "OVERRIDDEN" in next(each.found for each in found.checks if each.name == "override")
    silent = resigned(world, evidence, _set("override", "reason", value="  "))
    assert silent.problems == ["override: it gives no reason"]


MEMBERS = {name: CryptoSigner.generate_ed25519() for name in ("ann", "bob", "eve")}
ASKS = RULE.model_copy(
    update={
        "approvals": RULE.approvals.model_copy(
            update={"count": 2, "group": "leads", "expires": timedelta(days=7)}
        )
    }
)


def approved(
    world: World,
    waiting: Evidence,
    names: tuple[str, ...],
    *,
    version: int = 2,
    ask: dict[str, Any] | None = None,
    after: timedelta = timedelta(hours=1),
) -> dict[str, Any]:
    """The part of a promotion that holds its approvals."""
    at = clock.now()
    members = {name: public_of(MEMBERS[name]).pem for name in ("ann", "bob")}
    asked = Ask(
        "failure", version, "production", waiting.digest, "eve", members, 2, timedelta(days=7)
    )
    asked = replace(asked, **(ask or {}))
    return {
        "ask": asked.as_json(),
        "at": clock.iso(at),
        "given": [sign(asked, at + after, MEMBERS[name]).decode() for name in names],
    }


def promoted(
    world: World, waiting: Evidence, approvals: dict[str, Any], **options: Any
) -> Verification:
    decision = world.decision(rule=ASKS, **options)
    verdict = peek(waiting.envelope)["predicate"]["verdict"]
    predicate = {
        **decision.predicate,
        "verdict": {**verdict, "version": decision.version},
        "waiting": waiting.envelope.decode(),
        "approvals": approvals,
    }
    evidence = world.append(replace(decision, predicate=predicate))
    return verify(evidence.envelope, world.public, model=world.model)


@pytest.fixture
def waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> Evidence:
    monkeypatch.setenv("HEADRACE_USER", "eve")
    return world.append(kind="waiting", rule=ASKS)


def test_what_waits_says_for_whom(world: World, waiting: Evidence) -> None:
    found = verify(waiting.envelope, world.public, model=world.model)
    assert found.ok, found.problems
    assert state(found, "approvals") == ["warning"]


def test_approvals_are_weighed_again(world: World, waiting: Evidence) -> None:
    found = promoted(world, waiting, approved(world, waiting, ("ann", "bob")))
    assert found.ok, found.problems
    assert state(found, "approvals") == ["ok"]


def test_approvals_that_do_not_count(world: World, waiting: Evidence) -> None:
    other = world.append(kind="waiting", version=3, rule=ASKS)
    cases: list[tuple[dict[str, Any], str]] = [
        (approved(world, waiting, ("ann",)), "1 of 2 approvals count"),
        (approved(world, waiting, ("ann", "ann")), "ann has approved already"),
        (approved(world, waiting, ("ann", "eve")), "no member's key signed it"),
        (
            approved(world, waiting, ("ann", "bob"), after=timedelta(hours=-1)),
            "it expired",
        ),
        (
            approved(world, waiting, ("ann", "bob"), ask={"requester": "ann"}),
            "the requester cannot approve",
        ),
        (
            approved(world, waiting, ("ann",), ask={"count": 1}),
            "1 were asked for, 2 are needed",
        ),
        (
            approved(world, waiting, ("ann", "bob"), ask={"requester": "zoe"}),
            "eve asked for it, not zoe",
        ),
        (
            {
                **approved(world, waiting, ("ann", "bob")),
                "given": approved(world, waiting, ("ann", "bob"), version=3)["given"],
            },
            "it is for failure/3",
        ),
        (
            {
                **approved(world, waiting, ("ann", "bob")),
                "given": approved(world, other, ("ann", "bob"))["given"],
            },
            "it is for other evidence",
        ),
        (approved(world, other, ("ann", "bob")), "the statement that was approved is another"),
    ]
    for approvals, told in cases:
        found = promoted(world, waiting, approvals)
        assert not found.ok, told
        assert told in found.problems[0], (told, found.problems)


def test_a_promotion_without_its_approvals(world: World, waiting: Evidence) -> None:
    evidence = world.append(rule=ASKS)
    found = verify(evidence.envelope, world.public, model=world.model)
    assert not found.ok
    assert "approvals" in found.problems[0]


def test_what_was_approved_must_be_what_is_promoted(world: World, waiting: Evidence) -> None:
    approvals = approved(world, waiting, ("ann", "bob"))
    (world.model / "model.skops").write_text("other weights")
    found = promoted(world, waiting, approvals)
    assert "other files were approved" in found.problems[0]


def test_a_forged_statement_of_what_waited(world: World, waiting: Evidence) -> None:
    body = peek(waiting.envelope)
    forged = seal(body, CryptoSigner.generate_ed25519())
    found = promoted(
        world, replace(waiting, envelope=forged), approved(world, waiting, ("ann", "bob"))
    )
    assert "the statement that was approved is not valid" in found.problems[0]


def test_moments_do_not_decide(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime(1999, 1, 1, tzinfo=UTC))
    assert verify(world.append().envelope, world.public, model=world.model).ok


_BARE = """
import sys
from pathlib import Path
from headrace.evidence import verify
from headrace.evidence.keys import read_public
envelope, key, model = map(Path, sys.argv[1:])
found = verify(envelope.read_bytes(), read_public(key), model=model)
heavy = {"mlflow", "pandas", "pyspark", "pysail", "sklearn"} & set(sys.modules)
print(found.ok, sorted(heavy))
"""


def test_a_machine_with_three_files_is_enough(world: World, tmp_path: Path) -> None:
    """No project, no database, and none of the heavy libraries."""
    away = tmp_path / "away"
    away.mkdir()
    (away / "evidence.json").write_bytes(world.append().envelope)
    (away / "public.pem").write_text(world.public[0].pem)
    world.model.rename(away / "model")
    done = subprocess.run(
        [sys.executable, "-c", _BARE, "evidence.json", "public.pem", "model"],
        cwd=away,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["True", "[]"], done.stderr
