"""What a person does to an endpoint's traffic, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.planes import make_root, unprotect

from headrace.endpoints import (
    EndpointSpec,
    decisions,
    deploy,
    deployment_freshness,
    endpoint_status,
    pause,
    resume,
    rollback,
    rollout,
    shift,
    went_back,
    withdraw,
)
from headrace.endpoints.errors import (
    EndpointNotFoundError,
    NoRolloutError,
    NothingToGoBackToError,
)
from headrace.endpoints.records import EndpointRecord, read_endpoints
from headrace.endpoints.rules import Judgement
from headrace.project.apply import _ACTIONS as ACTIONS
from headrace.project.config import Project
from headrace.project.plan import Desired
from headrace.registry import ModelVersion
from headrace.workspace import Workspace, open_workspace

BAD = Judgement("violated", "error_rate is 100 %", "violated", 30)
FEW = Judgement("wait", "1 of 20 requests", "few requests", 1)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = open_workspace(make_root(tmp_path / "project").root)
    unprotect(opened)
    yield opened
    opened.close()


def spec(**given: Any) -> EndpointSpec:
    settings = {"steps": [10, 50, 100], "every": "1h", **given}
    return EndpointSpec.model_validate(
        {"name": "scores", "model": "model@production", "rollout": settings}
    )


def version(number: int) -> ModelVersion:
    return ModelVersion("model", number, f"m-{number}", "run")


def record(workspace: Workspace) -> EndpointRecord:
    return read_endpoints(workspace.store)["scores"]


def green(workspace: Workspace) -> int:
    split = record(workspace).split
    assert split
    return split.shares["green"]


def states(workspace: Workspace) -> dict[int, str]:
    found = endpoint_status(workspace, "scores", history=20).deployments
    return {d.version: d.state for d in reversed(found)}


def go_live(workspace: Workspace, number: int, endpoint: EndpointSpec | None = None) -> str:
    deployment = deploy(workspace, endpoint or spec(), version(number))
    rollout.mark_ready(workspace.store, "scores", deployment.id)
    return deployment.id


def finished(workspace: Workspace) -> None:
    go_live(workspace, 1)
    go_live(workspace, 2, spec(steps=[100], every="0s"))
    assert states(workspace) == {1: "standby", 2: "ready"}


def test_a_rollout_is_paused_and_resumed(workspace: Workspace) -> None:
    go_live(workspace, 1)
    second = go_live(workspace, 2)
    assert pause(workspace, "scores", by="ann").id == second
    with pytest.raises(NoRolloutError, match="pause"):
        pause(workspace, "scores")
    assert record(workspace).rollouts[second].next_at is None
    rollout.advance(workspace.store, "scores", second)
    assert green(workspace) == 10
    resume(workspace, "scores", by="ann")
    progress = record(workspace).rollouts[second]
    assert (progress.state, progress.step) == ("running", 1)
    assert progress.next_at is not None
    with pytest.raises(NoRolloutError, match="resume") as caught:
        resume(workspace, "scores")
    assert caught.value.state == "running"
    made = [(d.action, d.decided_by) for d in decisions(workspace, "scores")]
    assert made[:3] == [("resume", "ann"), ("pause", "ann"), ("forward", "rollout")]


def test_a_rollout_paused_before_its_model_has_loaded_takes_no_traffic(
    workspace: Workspace,
) -> None:
    go_live(workspace, 1)
    second = deploy(workspace, spec(), version(2)).id
    pause(workspace, "scores")
    rollout.mark_ready(workspace.store, "scores", second)
    assert green(workspace) == 0
    resume(workspace, "scores")
    assert green(workspace) == 10


def test_a_rollout_stopped_by_a_shift_goes_on_from_its_share(workspace: Workspace) -> None:
    go_live(workspace, 1)
    second = go_live(workspace, 2)
    shift(workspace, "scores", {"blue": 40, "green": 60}, by="ann")
    resume(workspace, "scores")
    progress = record(workspace).rollouts[second]
    assert (progress.step, progress.state) == (2, "running")
    shift(workspace, "scores", {"green": 100})
    resume(workspace, "scores")
    assert record(workspace).rollouts[second].state == "done"
    assert states(workspace) == {1: "standby", 2: "ready"}


def test_a_rollback_takes_back_a_rollout_under_way(workspace: Workspace) -> None:
    first = go_live(workspace, 1)
    go_live(workspace, 2)
    assert rollback(workspace, "scores", by="ann").id == first
    assert green(workspace) == 0
    assert states(workspace) == {1: "ready", 2: "retired"}
    newest = decisions(workspace, "scores")[0]
    assert (newest.action, newest.decided_by) == ("rollback", "ann")
    assert (newest.shares_before["green"], newest.shares_after["green"]) == (10, 0)


def test_a_rollback_after_the_rollout_goes_to_what_stood_by(workspace: Workspace) -> None:
    finished(workspace)
    rollback(workspace, "scores", by="ann")
    assert green(workspace) == 0
    assert states(workspace) == {1: "ready", 2: "retired"}
    with pytest.raises(NothingToGoBackToError) as caught:
        rollback(workspace, "scores")
    assert caught.value.model == "model/1"


def test_a_deployment_that_still_loads_is_rolled_back_without_a_shift(workspace: Workspace) -> None:
    go_live(workspace, 1)
    second = deploy(workspace, spec(), version(2)).id
    revision = record(workspace).split
    rollback(workspace, "scores")
    assert record(workspace).split == revision
    rollout.mark_ready(workspace.store, "scores", second)
    assert states(workspace) == {1: "ready", 2: "retired"}


def test_what_was_rolled_back_is_not_deployed_again_by_itself(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import headrace.registry

    current = {"version": version(2)}
    monkeypatch.setattr(headrace.registry, "resolve", lambda *_: current["version"])
    go_live(workspace, 1)
    second = go_live(workspace, 2)
    rollout.go_back(workspace.store, "scores", second, BAD)
    assert states(workspace) == {1: "ready", 2: "failed"}
    fresh = deployment_freshness(workspace, spec())
    assert (fresh.stale, fresh.reason) == (
        False,
        "version 2 was rolled back: error_rate is 100 %",
    )
    assert deployment_freshness(workspace, spec(every="2h")).stale, "settings are still applied"
    current["version"] = version(3)
    assert deployment_freshness(workspace, spec()).stale
    current["version"] = version(2)
    again = resume(workspace, "scores", by="ann")
    assert (again.model_version, again.state) == (2, "loading")
    assert again.id != second
    assert not deployment_freshness(workspace, spec()).stale
    rollout.mark_ready(workspace.store, "scores", again.id)
    assert green(workspace) == 10


def test_a_run_leaves_what_was_rolled_back_and_applies_the_settings(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import headrace.registry

    monkeypatch.setattr(headrace.registry, "resolve", lambda *_: version(2))
    first = go_live(workspace, 1)
    rollout.go_back(workspace.store, "scores", go_live(workspace, 2), BAD)
    project = Project(name="p", endpoints={"scores": spec(every="2h")})
    message, _ = ACTIONS["endpoint"](Desired(workspace, project, None), "scores", False)
    assert message == "version 2 was rolled back: error_rate is 100 %"
    target = record(workspace).target
    assert target
    assert target.id == first
    assert record(workspace).spec == spec(every="2h")


def test_an_endpoint_that_comes_back_gets_its_version_also_after_a_rollback(
    workspace: Workspace,
) -> None:
    go_live(workspace, 1)
    rollout.go_back(workspace.store, "scores", go_live(workspace, 2), BAD)
    assert went_back(workspace, "scores", version(2)) == "error_rate is 100 %"
    assert went_back(workspace, "scores", version(1)) is None
    withdraw(workspace, "scores")
    assert went_back(workspace, "scores", version(2)) is None, "nothing else is live"


def test_a_superseded_rollout_is_a_decision(workspace: Workspace) -> None:
    go_live(workspace, 1)
    second = go_live(workspace, 2)
    deploy(workspace, spec(), version(3))
    newest = decisions(workspace, "scores", limit=1)[0]
    assert (newest.action, newest.deployment) == ("superseded", second)
    assert newest.shares_after == {"blue": 100, "green": 0}


def test_a_rule_goes_back_also_from_a_pause_and_only_once(workspace: Workspace) -> None:
    go_live(workspace, 1)
    second = go_live(workspace, 2)
    pause(workspace, "scores")
    for _ in range(2):
        rollout.go_back(workspace.store, "scores", second, BAD)
    assert [d.action for d in decisions(workspace, "scores")].count("rollback") == 1
    assert green(workspace) == 0


def test_a_finished_rollout_is_not_rolled_back_by_rule(workspace: Workspace) -> None:
    finished(workspace)
    target = record(workspace).target
    assert target
    rollout.go_back(workspace.store, "scores", target.id, BAD)
    assert green(workspace) == 100


def test_waiting_is_recorded_once_for_each_cause(workspace: Workspace) -> None:
    go_live(workspace, 1)
    second = go_live(workspace, 2)
    for _ in range(3):
        rollout.note_wait(workspace.store, "scores", second, FEW)
    waits = [d for d in decisions(workspace, "scores") if d.action == "wait"]
    assert [(w.reason, w.step, w.evidence["requests"]) for w in waits] == [
        ("1 of 20 requests", 1, 1)
    ]


def test_mirroring_comes_before_the_first_step(workspace: Workspace) -> None:
    go_live(workspace, 1)
    second = go_live(workspace, 2, spec(mirror="50%"))
    progress = record(workspace).rollouts[second]
    assert (green(workspace), progress.step, progress.state) == (0, 0, "running")
    assert states(workspace) == {1: "ready", 2: "ready"}


def test_a_failed_load_is_a_decision(workspace: Workspace) -> None:
    go_live(workspace, 1)
    second = deploy(workspace, spec(), version(2)).id
    rollout.mark_failed(workspace.store, "scores", second, "it does not load")
    newest = decisions(workspace, "scores", limit=1)[0]
    assert (newest.action, newest.reason, newest.deployment) == (
        "failed",
        "it does not load",
        second,
    )
    assert newest.as_json()["at"].endswith("Z")


def test_a_standby_can_be_shifted_to(workspace: Workspace) -> None:
    finished(workspace)
    shift(workspace, "scores", {"blue": 50, "green": 50})
    assert states(workspace) == {1: "ready", 2: "ready"}


def test_the_next_version_takes_the_colour_of_the_standby(workspace: Workspace) -> None:
    finished(workspace)
    third = deploy(workspace, spec(), version(3))
    assert third.colour == "blue"
    assert states(workspace) == {1: "draining", 2: "ready", 3: "loading"}


@pytest.mark.parametrize("action", [pause, resume, rollback])
def test_a_wrong_name_is_told(workspace: Workspace, action: Any) -> None:
    go_live(workspace, 1)
    with pytest.raises(EndpointNotFoundError):
        action(workspace, "score")
    expected = NothingToGoBackToError if action is rollback else NoRolloutError
    with pytest.raises(expected):
        action(workspace, "scores")
