"""Deployments and traffic in the database: each change is one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import null, update
from tests.planes import make_root, spec, unprotect

from headrace import clock
from headrace.endpoints import (
    EndpointSpec,
    deploy,
    deployment_freshness,
    endpoint_names,
    endpoint_status,
    rollout,
    shift,
    traffic_history,
    withdraw,
)
from headrace.endpoints.errors import (
    DeploymentNotReadyError,
    EndpointNotFoundError,
    InvalidSharesError,
)
from headrace.endpoints.records import EndpointRecord, read_cache, read_endpoints, write_cache
from headrace.endpoints.store import endpoints
from headrace.payloads.errors import ModelNotServableError
from headrace.registry import ModelVersion
from headrace.workspace import Workspace, open_workspace

STEPS = [10, 50, 100]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = open_workspace(make_root(tmp_path / "project").root)
    unprotect(opened)
    yield opened
    opened.close()


def version(number: int) -> ModelVersion:
    return ModelVersion("model", number, f"m-{number}", "run")


def record(workspace: Workspace) -> EndpointRecord:
    return read_endpoints(workspace.store)["scores"]


def shares(workspace: Workspace) -> dict[str, int] | None:
    split = record(workspace).split
    return dict(split.shares) if split else None


def states(workspace: Workspace) -> dict[int, str]:
    return {d.version: d.state for d in endpoint_status(workspace, "scores").deployments}


def go_live(workspace: Workspace, number: int, endpoint: EndpointSpec | None = None) -> str:
    """Deploy, and do what the plane does once the model has loaded."""
    deployment = deploy(workspace, endpoint or spec(), version(number))
    rollout.mark_ready(workspace.store, "scores", deployment.id)
    return deployment.id


def step(workspace: Workspace, deployment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the rollout's next step at the moment when it is due."""
    due = record(workspace).rollouts[deployment].next_at
    with monkeypatch.context() as patched:
        patched.setattr(rollout, "now", lambda: due or clock.now())
        rollout.advance(workspace.store, "scores", deployment)


def test_the_first_deployment_is_blue_and_takes_everything_once_ready(
    workspace: Workspace,
) -> None:
    deployment = deploy(workspace, spec(steps=STEPS, every="1m"), version(1))
    assert (deployment.colour, deployment.state) == ("blue", "loading")
    assert shares(workspace) is None
    rollout.mark_ready(workspace.store, "scores", deployment.id)
    assert shares(workspace) == {"blue": 100, "green": 0}
    assert states(workspace) == {1: "ready"}


def test_a_rollout_goes_step_by_step_and_keeps_the_old(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_live(workspace, 1)
    endpoint = spec(steps=STEPS, every="30s")
    green = deploy(workspace, endpoint, version(2)).id
    assert shares(workspace) == {"blue": 100, "green": 0}
    assert (endpoint_status(workspace, "scores").rollout or {})["state"] == "waiting"
    rollout.mark_ready(workspace.store, "scores", green)
    assert shares(workspace) == {"blue": 90, "green": 10}
    rollout.advance(workspace.store, "scores", green)
    assert shares(workspace) == {"blue": 90, "green": 10}, "the step was not due yet"
    step(workspace, green, monkeypatch)
    assert shares(workspace) == {"blue": 50, "green": 50}
    assert states(workspace) == {1: "ready", 2: "ready"}
    step(workspace, green, monkeypatch)
    assert shares(workspace) == {"blue": 0, "green": 100}
    assert states(workspace) == {1: "standby", 2: "ready"}
    assert endpoint_status(workspace, "scores").rollout is None
    assert [s.shares["green"] for s in traffic_history(workspace, "scores")] == [0, 10, 50, 100]


def test_the_seed_stays_through_a_rollout_and_changes_with_the_next(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seed() -> int:
        split = record(workspace).split
        assert split
        return split.seed

    go_live(workspace, 1)
    first = seed()
    green = go_live(workspace, 2, spec(steps=STEPS, every="1s"))
    second = seed()
    step(workspace, green, monkeypatch)
    assert first != second == seed()


def test_a_step_is_made_once_by_two_planes(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_live(workspace, 1)
    green = go_live(workspace, 2, spec(steps=[10, 20, 30, 100], every="1h"))
    later = clock.now() + timedelta(hours=2)
    monkeypatch.setattr(rollout, "now", lambda: later)
    for _ in range(3):
        rollout.advance(workspace.store, "scores", green)
    # Also after a long pause: one step, then the full time again.
    assert shares(workspace) == {"blue": 80, "green": 20}


def test_a_failed_deployment_takes_nothing(workspace: Workspace) -> None:
    go_live(workspace, 1)
    green = deploy(workspace, spec(), version(2))
    rollout.mark_failed(workspace.store, "scores", green.id, "it does not load")
    rollout.mark_ready(workspace.store, "scores", green.id)
    assert shares(workspace) == {"blue": 100, "green": 0}
    newest = endpoint_status(workspace, "scores").deployments[0]
    assert (newest.state, newest.reason, newest.share) == ("failed", "it does not load", 0)
    again = deploy(workspace, spec(), version(2))
    assert (again.state, again.colour) == ("loading", "green")
    assert again.id != green.id


def test_deploying_what_takes_over_changes_nothing(workspace: Workspace) -> None:
    go_live(workspace, 1)
    green = go_live(workspace, 2, spec(steps=STEPS, every="1m"))
    history = traffic_history(workspace, "scores")
    again = deploy(workspace, spec(steps=STEPS, every="1m"), version(2))
    assert again.id == green
    assert traffic_history(workspace, "scores") == history


def test_deploying_the_live_version_again_takes_a_rollout_back(workspace: Workspace) -> None:
    blue = go_live(workspace, 1)
    go_live(workspace, 2, spec(steps=STEPS, every="1m"))
    assert deploy(workspace, spec(), version(1)).id == blue
    assert shares(workspace) == {"blue": 100, "green": 0}
    assert states(workspace) == {1: "ready", 2: "draining"}


def test_a_third_version_supersedes_a_rollout_under_way(workspace: Workspace) -> None:
    go_live(workspace, 1)
    second = go_live(workspace, 2, spec(steps=STEPS, every="1m"))
    third = deploy(workspace, spec(), version(3))
    assert third.colour == "green"
    assert shares(workspace) == {"blue": 100, "green": 0}
    assert states(workspace) == {1: "ready", 2: "draining", 3: "loading"}
    reason = next(
        d.reason for d in endpoint_status(workspace, "scores").deployments if d.id == second
    )
    assert reason == "superseded by model version 3"
    rollout.advance(workspace.store, "scores", second)
    assert shares(workspace) == {"blue": 100, "green": 0}


def test_a_deployment_that_was_never_loaded_is_superseded(workspace: Workspace) -> None:
    deploy(workspace, spec(), version(1))
    second = deploy(workspace, spec(), version(2))
    assert second.colour == "blue"
    rollout.mark_ready(workspace.store, "scores", second.id)
    assert states(workspace) == {1: "draining", 2: "ready"}


def test_a_withdrawn_endpoint_is_gone_and_can_come_back(workspace: Workspace) -> None:
    go_live(workspace, 1)
    loading = deploy(workspace, spec(steps=STEPS, every="1m"), version(2)).id
    withdraw(workspace, "scores")
    assert read_endpoints(workspace.store) == {}
    assert endpoint_names(workspace) == []
    with pytest.raises(EndpointNotFoundError):
        endpoint_status(workspace, "scores")
    with pytest.raises(EndpointNotFoundError):
        withdraw(workspace, "scores")
    rollout.mark_ready(workspace.store, "scores", loading)
    assert read_endpoints(workspace.store) == {}, "the plane had begun to load it"
    assert [shift.shares["blue"] for shift in traffic_history(workspace, "scores")] == [100]
    go_live(workspace, 2)
    assert shares(workspace) == {"blue": 100, "green": 0}
    assert [d.state for d in endpoint_status(workspace, "scores").deployments] == [
        "ready",
        "retired",
        "retired",
    ]


def test_colours_alternate(workspace: Workspace) -> None:
    for number, colour in ((1, "blue"), (2, "green"), (3, "blue")):
        go_live(workspace, number)
        live = record(workspace).live_colour
        assert live == colour
        for old in [d for d in record(workspace).deployments if d.state == "draining"]:
            rollout.retire(workspace.store, "scores", old.id)
    assert states(workspace) == {1: "retired", 2: "standby", 3: "ready"}


def test_a_shift_by_hand_stops_the_rollout(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_live(workspace, 1)
    green = go_live(workspace, 2, spec(steps=STEPS, every="1s"))
    shift(workspace, "scores", {"blue": 75, "green": 25}, by="ann")
    step(workspace, green, monkeypatch)
    assert shares(workspace) == {"blue": 75, "green": 25}
    assert traffic_history(workspace, "scores")[-1].by == "ann"
    assert endpoint_status(workspace, "scores").rollout is None
    shift(workspace, "scores", {"green": 100})
    assert states(workspace) == {1: "ready", 2: "ready"}, "it can be shifted back"


def test_a_shift_needs_a_ready_deployment(workspace: Workspace) -> None:
    go_live(workspace, 1)
    with pytest.raises(DeploymentNotReadyError, match="green"):
        shift(workspace, "scores", {"blue": 90, "green": 10})
    deploy(workspace, spec(), version(2))
    with pytest.raises(DeploymentNotReadyError) as caught:
        shift(workspace, "scores", {"blue": 90, "green": 10})
    assert caught.value.state == "loading"
    assert len(traffic_history(workspace, "scores")) == 1


def test_names_and_shares_are_checked(workspace: Workspace) -> None:
    go_live(workspace, 1)
    with pytest.raises(EndpointNotFoundError) as caught:
        shift(workspace, "score", {"blue": 100})
    assert 'did you mean "scores"?' in str(caught.value)
    with pytest.raises(InvalidSharesError):
        shift(workspace, "scores", {"blue": 99})
    with pytest.raises(EndpointNotFoundError):
        endpoint_status(workspace, "nothing")


def test_a_version_without_a_logged_model_is_refused(workspace: Workspace) -> None:
    with pytest.raises(ModelNotServableError):
        deploy(workspace, spec(), ModelVersion("model", 1, "", None))


def test_freshness(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    import headrace.registry

    current: dict[str, Any] = {"version": version(1)}
    monkeypatch.setattr(headrace.registry, "resolve", lambda *_: current["version"])
    assert deployment_freshness(workspace, spec()).reason == "never deployed"
    go_live(workspace, 1)
    assert not deployment_freshness(workspace, spec()).stale
    current["version"] = version(2)
    stale = deployment_freshness(workspace, spec())
    assert (stale.stale, stale.reason) == (True, "model@production moved from version 1 to 2")
    green = deploy(workspace, spec(), version(2))
    assert not deployment_freshness(workspace, spec()).stale
    rollout.mark_failed(workspace.store, "scores", green.id, "no")
    assert deployment_freshness(workspace, spec()).stale


def test_a_changed_key_reaches_the_endpoint(workspace: Workspace) -> None:
    go_live(workspace, 1)
    before = record(workspace).revision
    changed = spec().model_copy(update={"key": ["site", "device"]})
    deploy(workspace, changed, version(1))
    assert record(workspace).key == ("site", "device")
    assert record(workspace).revision > before


def test_a_changed_setting_reaches_the_endpoint_without_a_new_version(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import headrace.registry

    monkeypatch.setattr(headrace.registry, "resolve", lambda *_: version(1))
    first = go_live(workspace, 1, spec())
    changed = spec(steps=STEPS, every="1m")
    stale = deployment_freshness(workspace, changed)
    assert (stale.stale, stale.reason) == (True, "its settings changed: rollout")
    before = record(workspace).revision
    assert deploy(workspace, changed, version(1)).id == first
    assert record(workspace).spec == changed
    assert record(workspace).revision > before
    assert not deployment_freshness(workspace, changed).stale


def test_an_endpoint_stored_without_its_spec_has_the_defaults(workspace: Workspace) -> None:
    go_live(workspace, 1)
    with workspace.store.begin() as connection:
        connection.execute(update(endpoints).values(spec=null()))
    stored = record(workspace).spec
    assert stored == EndpointSpec(name="scores", model="model@production", key=["device"])


def test_the_cache_gives_back_what_the_database_said(workspace: Workspace) -> None:
    go_live(workspace, 1)
    go_live(workspace, 2, spec(steps=STEPS, every="1m"))
    records = read_endpoints(workspace.store)
    file = workspace.paths.state / "cache.json"
    write_cache(file, records, {"m-1": "/somewhere"})
    found, models = read_cache(file)
    assert models == {"m-1": "/somewhere"}
    assert found["scores"].spec == spec(steps=STEPS, every="1m")
    assert {n: r.split for n, r in found.items()} == {n: r.split for n, r in records.items()}
    assert [d.id for d in found["scores"].deployments] == [
        d.id for d in records["scores"].deployments
    ]
    file.write_text('{"endpoints": {"x": {}}, "models": {}}')
    with pytest.raises(ValueError, match="no cache of this version"):
        read_cache(file)
    assert read_cache(file.with_name("absent.json")) == ({}, {})
