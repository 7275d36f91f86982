"""From the gate's yes to the approvals to the alias; and overrides. Versions are files and rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.modelling import ModelProject, feature_rows
from tests.promotion.conftest import add_versions, verdict

from headrace import clock
from headrace.approvals import (
    ApprovalRefusedError,
    NothingToApproveError,
    approve,
    key_file,
    new_key,
    signer_of,
)
from headrace.catalog import Audit, guards
from headrace.evidence import Keys, evidence_of, verify
from headrace.evidence.chain import find
from headrace.gate.spec import GateSpec
from headrace.promotion import (
    ChampionChangedError,
    Decided,
    last_decision,
    overridden,
    override,
    promote,
    promote_approved,
    take_away,
    waits_for,
)
from headrace.promotion.errors import (
    GroupUnknownError,
    OverrideNothingError,
    OverrideReasonError,
)
from headrace.promotion.records import moves
from headrace.registry import champion, resolve

if TYPE_CHECKING:
    from headrace.workspace import Workspace

FREE = GateSpec(metric="average_precision", resamples=300)
TWO = GateSpec.model_validate(
    {
        "metric": "average_precision",
        "resamples": 300,
        "approvals": {"count": 2, "group": "leads", "expires": "7d"},
    }
)
Groups = dict[str, dict[str, str]]


@pytest.fixture
def workspace(
    make_models: Callable[..., ModelProject], monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """A project whose model ``failure`` has four versions; dan works on it."""
    monkeypatch.setenv("HEADRACE_USER", "dan")
    workspace = make_models(rows=feature_rows(60)).workspace
    add_versions(workspace, 4)
    return workspace


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Groups:
    """ann, bob and dan lead."""
    monkeypatch.setenv("HEADRACE_KEYS", str(tmp_path / "keys"))
    return {"leads": {name: new_key(name)[1] for name in ("ann", "bob", "dan")}}


def yes(workspace: Workspace, groups: Groups, name: str, version: int | None = None) -> None:
    """Somebody approves what waits."""
    ask = waits_for(workspace, "failure", TWO, groups, version).ask
    approve(workspace.store, ask, name, signer_of(key_file(name)), by=name)


def live(workspace: Workspace) -> int | None:
    found = champion(workspace, "failure")
    return None if found is None else found.version


def waiting(workspace: Workspace, version: int = 1, over: int | None = None) -> Decided:
    decided = promote(workspace, verdict(version, over, gate=TWO), TWO)
    assert decided.state == "waiting"
    return decided


def test_the_last_approval_lets_it_take_the_alias(workspace: Workspace, groups: Groups) -> None:
    decided = waiting(workspace)
    assert live(workspace) is None
    tags = resolve(workspace, "failure/1").tags
    assert tags["headrace.verdict"] == "waiting"
    assert tags["headrace.verdict_summary"].startswith("version 1 waits for approvals:")
    assert tags["headrace.evidence"] == decided.evidence
    assert promote_approved(workspace, decided, TWO, groups).state == "waiting"
    yes(workspace, groups, "ann")
    half = waits_for(workspace, "failure", TWO, groups)
    assert (half.approved, half.missing, half.may) == (["ann"], 1, ["bob"])
    assert half.summary == ("1 of 2 approvals (ann), waits for bob: headrace approve failure/1")
    assert promote_approved(workspace, decided, TWO, groups).state == "waiting"
    yes(workspace, groups, "bob")
    done = promote_approved(workspace, decided, TWO, groups)
    assert (done.state, live(workspace)) == ("promoted", 1)
    for again in (
        last_decision(workspace, "failure"),
        promote_approved(workspace, decided, TWO, groups),
    ):
        assert again is not None
        assert (again.state, again.evidence) == ("promoted", done.evidence)
    assert [move.after for move in moves(workspace, "failure")] == [1]
    with pytest.raises(NothingToApproveError, match="does not wait"):
        waits_for(workspace, "failure", TWO, groups)
    kinds = [each.kind for each in evidence_of(workspace.store, "failure", 1)]
    assert kinds == ["promoted", "waiting"]
    statement = find(workspace.store, str(done.evidence))
    assert statement is not None
    found = verify(statement.envelope, Keys(workspace.paths).public())
    assert [each.state for each in found.checks if each.name == "approvals"] == ["ok"]


def test_the_requester_counts_not(workspace: Workspace, groups: Groups) -> None:
    waiting(workspace)
    with pytest.raises(ApprovalRefusedError, match="dan cannot approve"):
        yes(workspace, groups, "dan")


def test_a_member_who_left_counts_no_more(workspace: Workspace, groups: Groups) -> None:
    decided = waiting(workspace)
    yes(workspace, groups, "ann")
    yes(workspace, groups, "bob")
    smaller = {"leads": {name: groups["leads"][name] for name in ("ann", "dan")}}
    assert promote_approved(workspace, decided, TWO, smaller).state == "waiting"
    found = waits_for(workspace, "failure", TWO, smaller)
    assert [(each.approver, each.refused is None) for each in found.given] == [
        ("ann", True),
        (None, False),
    ]
    with pytest.raises(GroupUnknownError, match='no group "leads"'):
        promote_approved(workspace, decided, TWO, {})


def test_approvals_expire(
    workspace: Workspace, groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided = waiting(workspace)
    yes(workspace, groups, "ann")
    yes(workspace, groups, "bob")
    late = clock.now() + timedelta(days=8)
    monkeypatch.setattr(clock, "now", lambda: late)
    assert promote_approved(workspace, decided, TWO, groups).state == "waiting"
    yes(workspace, groups, "ann")
    yes(workspace, groups, "bob")
    assert promote_approved(workspace, decided, TWO, groups).state == "promoted"


def test_a_champion_that_changed_voids_the_approvals(workspace: Workspace, groups: Groups) -> None:
    decided = waiting(workspace, 1)
    yes(workspace, groups, "ann")
    yes(workspace, groups, "bob")
    promote(workspace, verdict(2, None, gate=FREE), FREE)
    with pytest.raises(ChampionChangedError, match="now it is version 2"):
        promote_approved(workspace, decided, TWO, groups)
    assert live(workspace) == 2
    again = waiting(workspace, 1, over=2)
    found = waits_for(workspace, "failure", TWO, groups, 1)
    assert found.approved == []
    assert all("it is for other evidence" in str(each.refused) for each in found.given)
    assert promote_approved(workspace, again, TWO, groups).state == "waiting"


def test_two_that_promote_at_once_promote_once(workspace: Workspace, groups: Groups) -> None:
    decided = waiting(workspace)
    yes(workspace, groups, "ann")
    yes(workspace, groups, "bob")
    with ThreadPoolExecutor(4) as pool:
        states = list(
            pool.map(lambda _: promote_approved(workspace, decided, TWO, groups).state, range(4))
        )
    assert states == ["promoted"] * 4
    assert len(moves(workspace, "failure")) == 1


def test_a_clock_that_went_back_does_not_change_what_is_newest(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(workspace, verdict(1, None, gate=FREE), FREE)
    early = clock.now() - timedelta(days=400)
    monkeypatch.setattr(clock, "now", lambda: early)
    second = verdict(2, 1, gate=FREE).model_copy(update={"judged_at": early})
    promote(workspace, second, FREE)
    newest = last_decision(workspace, "failure")
    assert newest is not None
    assert newest.verdict.version == 2
    assert [move.after for move in moves(workspace, "failure")] == [2, 1]
    assert live(workspace) == 2


def test_an_override_is_loud_until_the_gate_promotes_another(workspace: Workspace) -> None:
    promote(workspace, verdict(1, None, gate=FREE), FREE)
    promote(workspace, verdict(2, 1, promoted=False, gate=FREE), FREE)
    move = override(workspace, resolve(workspace, "failure/2"), reason="  the fleet\nstands still ")
    assert (move.kind, move.before, move.after) == ("overridden", 1, 2)
    assert (move.reason, move.by) == ("the fleet stands still", "dan")
    assert live(workspace) == 2
    tags = resolve(workspace, "failure/2").tags
    assert tags["headrace.override"] == "the fleet stands still (dan)"
    assert tags["headrace.verdict"] == "refused"
    assert [each.sentence.partition(" (")[0] for each in guards.overrides(workspace.store)] == [
        "failure@production is version 2 by override, without the gate's yes: "
        "the fleet stands still"
    ]
    kept = find(workspace.store, str(move.evidence))
    assert kept is not None
    assert kept.kind == "overridden"
    audited = Audit(workspace.store).entries(action="override")
    assert [(each.object, each.by, each.details["reason"]) for each in audited] == [
        ("failure@production", "dan", "the fleet stands still")
    ]
    promote(workspace, verdict(3, 2, promoted=False, gate=FREE), FREE)
    assert overridden(workspace, "failure") is not None
    promote(workspace, verdict(4, 2, gate=FREE), FREE)
    assert overridden(workspace, "failure") is None
    assert guards.overrides(workspace.store) == []


def test_an_override_needs_a_reason_and_something_to_do(workspace: Workspace) -> None:
    promote(workspace, verdict(1, None, gate=FREE), FREE)
    for reason in ("", "  \n"):
        with pytest.raises(OverrideReasonError):
            override(workspace, resolve(workspace, "failure/2"), reason=reason)
        with pytest.raises(OverrideReasonError):
            take_away(workspace, "failure", reason=reason)
    with pytest.raises(OverrideNothingError, match="version 1 already"):
        override(workspace, resolve(workspace, "failure/1"), reason="again")
    move = take_away(workspace, "failure", reason="it harms")
    assert (move.after, live(workspace)) == (None, None)
    with pytest.raises(OverrideNothingError, match="points nowhere"):
        take_away(workspace, "failure", reason="it harms")
    assert [each.version for each in guards.overrides(workspace.store)] == [None]
    promote(workspace, verdict(2, None, gate=FREE), FREE)
    assert live(workspace) == 2


PROMOTE = """
    from pathlib import Path
    from headrace.gate.spec import GateSpec
    from headrace.gate.verdict import Verdict
    from headrace.promotion import override, promote
    from headrace.registry import resolve
    from headrace.workspace import open_workspace
    import json

    workspace = open_workspace(Path.cwd())
    if {body!r}:
        verdict = Verdict.from_json(json.loads({body!r}))
        promote(workspace, verdict, GateSpec.model_validate_json({gate!r}))
    else:
        override(workspace, resolve(workspace, "failure/2"), reason="a test")
"""


@pytest.mark.parametrize(
    "point", ["promote.recorded", "promote.moved", "override.recorded", "override.moved"]
)
def test_a_kill_in_the_middle_leaves_nothing_half_done(workspace: Workspace, point: str) -> None:
    promote(workspace, verdict(1, None, gate=FREE), FREE)
    chosen = verdict(2, 1, gate=FREE)
    body = json.dumps(chosen.as_json()) if point.startswith("promote") else ""
    project = ModelProject(workspace.paths.root)
    code = PROMOTE.format(body=body, gate=FREE.model_dump_json())
    done = project.python(code, HEADRACE_CRASH_AT=point)
    assert done.returncode == 137, done.stderr
    assert live(workspace) == 1
    assert len(moves(workspace, "failure")) == 1
    assert "headrace.evidence" not in resolve(workspace, "failure/2").tags
    assert evidence_of(workspace.store, "failure", 2) == []
    again = project.python(code)
    assert again.returncode == 0, again.stderr
    assert live(workspace) == 2
    kinds = [each.kind for each in evidence_of(workspace.store, "failure", 2)]
    assert kinds == ["promoted" if body else "overridden"]
