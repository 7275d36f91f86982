"""Endpoints and their request log on a team's database, where several planes may act at once."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from tests.catalog.conftest import postgresql as postgresql  # the server of the catalog's tests
from tests.planes import make_root, unprotect
from tests.requestlog.records import failed, served, truth

from headrace import lakehouse
from headrace.catalog import Catalog, Store
from headrace.endpoints import (
    EndpointSpec,
    decisions,
    declare,
    deploy,
    endpoint_status,
    pause,
    resume,
    rollback,
    rollout,
    shift,
    traffic_history,
    withdraw,
)
from headrace.endpoints.records import read_endpoints, revisions
from headrace.endpoints.rules import Judgement
from headrace.registry import ModelVersion
from headrace.requestlog.shipper import Shipper
from headrace.requestlog.spool import SpoolWriter
from headrace.workspace import Workspace, open_workspace

pytestmark = pytest.mark.slow

GOOD = Judgement("good", "error_rate is 0.00% of 30 requests", "good", 30)
BAD = Judgement("violated", "error_rate is 100.00% of 30 requests", "violated", 30)


@pytest.fixture
def workspace(
    postgresql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workspace]:
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    monkeypatch.setenv("HEADRACE_DATABASE", f"{postgresql}/{name}")
    opened = open_workspace(make_root(tmp_path / "project").root)
    unprotect(opened)
    yield opened
    opened.close()


def spec(every: str = "1h") -> EndpointSpec:
    return EndpointSpec.model_validate(
        {
            "name": "scores",
            "model": "model@production",
            "key": ["device"],
            "rollout": {"steps": [10, 50, 100], "every": every},
        }
    )


def go_live(workspace: Workspace, number: int, every: str = "1h") -> str:
    version = ModelVersion("model", number, f"m-{number}", "run")
    deployment = deploy(workspace, spec(every), version).id
    rollout.mark_ready(workspace.store, "scores", deployment)
    return deployment


def green(workspace: Workspace) -> int:
    split = read_endpoints(workspace.store)["scores"].split
    assert split
    return split.shares["green"]


def at_once(work: Callable[[], object], times: int = 8) -> list[object]:
    """What the calls in as many threads gave."""
    with ThreadPoolExecutor(times) as pool:
        return [future.result() for future in [pool.submit(work) for _ in range(times)]]


def test_a_rollout_from_its_first_step_to_its_last(workspace: Workspace) -> None:
    store = workspace.store
    go_live(workspace, 1)
    second = go_live(workspace, 2, every="1ms")
    assert green(workspace) == 10
    assert pause(workspace, "scores", by="ann").id == second
    assert resume(workspace, "scores", by="ann").id == second
    for share in (50, 100):
        time.sleep(0.01)
        rollout.note_wait(store, "scores", second, BAD)
        rollout.advance(store, "scores", second, GOOD)
        assert green(workspace) == share
    made = decisions(workspace, "scores")
    assert [decision.action for decision in made[:5]] == [
        *("forward", "wait", "forward", "wait", "resume")
    ]
    assert made[0].evidence == GOOD.as_json()
    assert made[0].at.tzinfo is not None
    assert rollback(workspace, "scores", by="ann").model == "model/1"
    assert [entry.shares["green"] for entry in traffic_history(workspace, "scores")] == [
        *(0, 10, 50, 100, 0)
    ]
    third = go_live(workspace, 3)
    shift(workspace, "scores", {"blue": 40, "green": 60}, by="ann")
    assert green(workspace) == 60
    resume(workspace, "scores", by="ann")
    rollout.go_back(store, "scores", third, BAD)
    assert green(workspace) == 0
    withdraw(workspace, "scores")
    assert revisions(store) == {}


def test_planes_that_act_at_once_make_each_step_once(workspace: Workspace) -> None:
    store = workspace.store
    go_live(workspace, 1)
    second = go_live(workspace, 2, every="300ms")
    time.sleep(0.35)
    at_once(lambda: rollout.advance(store, "scores", second, GOOD))
    assert green(workspace) == 50
    at_once(lambda: rollout.go_back(store, "scores", second, BAD))
    assert green(workspace) == 0
    history = traffic_history(workspace, "scores")
    assert [entry.shares["green"] for entry in history] == [0, 10, 50, 0]
    assert [entry.revision for entry in history] == [1, 2, 3, 4]
    actions = [decision.action for decision in decisions(workspace, "scores")]
    assert actions == ["rollback", "forward", "forward", "forward"]


def test_shifts_at_once_follow_one_another(workspace: Workspace) -> None:
    go_live(workspace, 1)
    go_live(workspace, 2)
    before = revisions(workspace.store)["scores"][1]
    at_once(lambda: shift(workspace, "scores", {"blue": 50, "green": 50}))
    assert len(traffic_history(workspace, "scores")) == 10
    assert revisions(workspace.store)["scores"][1] == before + 8


def test_an_endpoint_that_two_runs_declare_at_once_is_there_once(workspace: Workspace) -> None:
    version = ModelVersion("model", 1, "m-1", "run")
    at_once(lambda: declare(workspace, spec()))
    deployed = at_once(lambda: deploy(workspace, spec(), version).id)
    assert len(set(deployed)) == 1


def test_requests_are_shipped_and_counted_once(workspace: Workspace) -> None:
    go_live(workspace, 1)
    with SpoolWriter(workspace.paths.spool) as writer:
        writer.append(served(1, endpoint="scores"))
        writer.append(failed(400, "invalid_input"))
        writer.append(truth(("pred_scores_1_0", 1, "2026-02-01T12:00:00.000Z")))
    before = endpoint_status(workspace, "scores")
    store = Store.open(workspace.paths.database_url)
    try:
        shipper = Shipper(workspace.paths.spool, store, Catalog(store, workspace.paths.warehouse))
        assert (shipper.ship(), shipper.ship()) == (1, 0)
    finally:
        store.close()
    after = endpoint_status(workspace, "scores")
    assert (before.served, before.failed + before.rejected) == (1, 1)
    assert (after.served, after.failed + after.rejected) == (1, 1)
    for table in ("ops.scores_requests", "ops.scores_ground_truth"):
        assert lakehouse.row_count(workspace.catalog.resolve(table).location or "") == 1
    assert workspace.catalog.resolve("ops.scores_labelled").kind == "view"
