"""The reconciler makes the plane what the database says, and survives without it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from tests.planes import eventually

from headrace.catalog import Store
from headrace.endpoints import (
    EndpointSpec,
    declare,
    deploy,
    endpoint_status,
    traffic_history,
    withdraw,
)
from headrace.endpoints.errors import EndpointNotFoundError, NoLiveDeploymentError
from headrace.endpoints.records import revisions
from headrace.endpoints.rollout import touch
from headrace.registry import ModelVersion
from headrace.serving import reconciler
from headrace.workers import WorkerSpec

from .fakes import Adder
from .worlds import World, adder, colours, settle, ticked
from .worlds import world as world


def test_without_endpoints_it_is_ready(world: World) -> None:
    plane = world.start()
    plane.tick()
    assert plane.live.ready


def test_a_deployment_is_loaded_while_the_old_one_answers(world: World) -> None:
    plane = world.start()
    world.deploy(1)
    plane.tick()
    assert not plane.live.ready
    settle(plane, {"blue"})
    assert plane.live.ready
    world.loader.gate.clear()
    world.deploy(2)
    for _ in range(3):
        plane.tick()
    assert colours(plane) == {"blue"}
    assert plane.live.endpoint("scores").route(None).record.model_version == 1
    world.loader.gate.set()
    settle(plane, {"green"})
    assert world.state(1) == "standby"
    assert plane.live.endpoint("scores").route(None).record.model_version == 2


def test_a_withdrawn_endpoint_is_no_longer_known(world: World) -> None:
    plane = world.start()
    world.deploy(1)
    settle(plane, {"blue"})
    withdraw(world.workspace, "scores")
    plane.tick()
    with pytest.raises(EndpointNotFoundError):
        plane.live.endpoint("scores")
    world.deploy(2)
    settle(plane, {"blue"})
    assert plane.live.endpoint("scores").route(None).record.model_version == 2


def test_an_endpoint_that_comes_back_between_two_rounds_is_noticed(world: World) -> None:
    plane = world.start()
    world.deploy(1)
    settle(plane, {"blue"})
    store = world.workspace.store
    (_, before) = revisions(store)["scores"]
    withdraw(world.workspace, "scores")
    world.deploy(2)
    while revisions(store)["scores"][1] < before:
        with store.begin() as connection:
            touch(connection, "scores")
    assert revisions(store)["scores"][1] == before
    settle(plane, {"blue"})
    assert plane.live.endpoint("scores").route(None).record.model_version == 2


def test_a_state_that_cannot_be_kept_ends_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    plane = world.start()
    # Stands for a full disk.
    (world.workspace.paths.state / "serving.tmp").mkdir()
    world.deploy(1)
    settle(plane, {"blue"})
    assert "the last known state cannot be kept" in caplog.text


def test_a_deployment_that_does_not_load_leaves_the_other_alone(world: World) -> None:
    plane = world.start()
    world.deploy(1)
    settle(plane, {"blue"})
    world.loader.fails["m-2"] = "its file is gone"
    world.deploy(2)
    eventually(lambda: ticked(plane) and world.state(2) == "failed")
    settle(plane, {"blue"})
    newest = endpoint_status(world.workspace, "scores").deployments[0]
    assert newest.reason == "model/2 cannot be served. its file is gone"
    assert [shift.shares for shift in traffic_history(world.workspace, "scores")] == [
        {"blue": 100, "green": 0}
    ]


def test_a_model_that_breaks_the_loader_ends_neither_the_plane_nor_the_other_version(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = world.start()
    world.deploy(1)
    settle(plane, {"blue"})

    def broken(*_: object) -> None:
        raise KeyError("link")

    monkeypatch.setattr(plane, "_loader", broken)
    world.deploy(2)
    eventually(lambda: ticked(plane) and world.state(2) == "failed")
    settle(plane, {"blue"})
    newest = endpoint_status(world.workspace, "scores").deployments[0]
    assert newest.reason == "model/2 cannot be served. it does not load: KeyError: 'link'"


def test_a_model_that_fails_its_smoke_request_is_let_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = world.start()
    made = Adder()
    monkeypatch.setattr(made, "example", lambda: b'{"instances": [{"a": -2.0}]}')
    monkeypatch.setattr(plane, "_loader", lambda *_: (made, Path("/models/m-1")))
    world.deploy(1)
    eventually(lambda: ticked(plane) and world.state(1) == "failed")
    assert made.closed


def test_a_rollout_advances_with_time_and_survives_restarts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = world.start()
    world.deploy(1)
    settle(plane, {"blue"})
    world.deploy(2, every="30ms", steps=[10, 50, 100])
    settle(plane, {"blue", "green"})
    second = world.start()
    eventually(lambda: ticked(second) and world.state(1) == "standby")
    settle(second, {"green"})
    greens = [shift.shares["green"] for shift in traffic_history(world.workspace, "scores")]
    assert greens == [0, 10, 50, 100]


def test_a_replaced_deployment_stands_by_until_its_colour_is_taken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "GRACE_SECONDS", 0.0)
    plane = world.start()
    world.deploy(1)
    settle(plane, {"blue"})
    old = plane.live.endpoint("scores").loaded["blue"]
    world.deploy(2)
    settle(plane, {"green"})
    for _ in range(3):
        plane.tick()
    assert world.state(1) == "standby"
    assert not adder(old).closed
    old.busy += 1
    world.deploy(3)
    settle(plane, {"blue"})
    plane.tick()
    assert world.state(1) == "draining", "its last request is being answered"
    assert not adder(old).closed
    old.busy -= 1
    eventually(lambda: ticked(plane) and adder(old).closed)
    assert world.state(1) == "retired"


def test_a_locked_database_changes_nothing_for_requests(world: World) -> None:
    plane = world.start()
    world.deploy(1)
    settle(plane, {"blue"})
    lock = sqlite3.connect(world.database(), isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    try:
        plane.tick()
        assert colours(plane) == {"blue"}
    finally:
        lock.execute("ROLLBACK")
        lock.close()


def test_without_the_database_it_starts_from_the_last_known_state(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    first = world.start()
    world.deploy(1)
    settle(first, {"blue"})
    world.workspace.store.close()
    hidden = world.database().with_suffix(".hidden")
    world.database().rename(hidden)
    second = world.start()
    settle(second, {"blue"})
    assert second.live.ready
    assert world.loader.calls[-1] == ("m-1", Path("/models/m-1")), "from its known directory"
    assert "the database is away" in caplog.text
    assert not world.database().exists(), "no empty database was made"
    hidden.rename(world.database())
    world.deploy(2)
    settle(second, {"green"})
    assert "the database is back" in caplog.text


def test_a_damaged_database_or_cache_is_survived(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    first = world.start()
    world.deploy(1)
    settle(first, {"blue"})
    world.workspace.store.close()
    kept = world.database().read_bytes()
    world.database().write_bytes(b"this is no database at all" * 100)
    cache = world.workspace.paths.state / "serving.json"
    cached = cache.read_text()
    cache.write_text("{")
    second = world.start()
    second.tick()
    assert colours(second) == set()
    assert not second.live.ready
    cache.write_text(cached)
    third = world.start()
    settle(third, {"blue"})
    world.database().write_bytes(kept)


def test_a_live_model_that_does_not_load_after_a_restart_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "RETRY_SECONDS", 0.01)
    first = world.start()
    world.deploy(1)
    settle(first, {"blue"})
    world.loader.fails["m-1"] = "the disk is away"
    second = world.start()
    eventually(lambda: ticked(second) and second.live.ready)
    with pytest.raises(NoLiveDeploymentError, match="live deployment") as caught:
        second.live.endpoint("scores").route(None)
    assert caught.value.reason == "the disk is away"
    assert world.state(1) == "ready"
    world.loader.fails.clear()
    settle(second, {"blue"})


def test_workers_that_do_not_start_with_new_settings_are_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(Adder, "kind", "worker")
    plane = world.start()
    world.deploy(1)
    settle(plane, {"blue"})
    before = plane.live.endpoint("scores").loaded["blue"]
    calls = len(world.loader.calls)
    world.loader.fails["m-1"] = "no memory"
    declare(world.workspace, world.spec().model_copy(update={"workers": WorkerSpec(max=3)}))
    eventually(lambda: ticked(plane) and len(world.loader.calls) > calls + 1)
    assert plane.live.endpoint("scores").loaded["blue"] is before, "it answers meanwhile"
    world.loader.fails.clear()
    eventually(lambda: ticked(plane) and plane.live.endpoint("scores").loaded["blue"] is not before)
    assert plane.live.endpoint("scores").problem is None


def test_after_a_restart_the_colour_that_is_loaded_answers_for_both(world: World) -> None:
    first = world.start()
    world.deploy(1)
    settle(first, {"blue"})
    world.deploy(2, every="1h", steps=[50, 100])
    settle(first, {"blue", "green"})
    world.loader.fails["m-2"] = "gone"
    second = world.start()
    settle(second, {"blue"})
    routed = {second.live.endpoint("scores").route(str(n)).record.colour for n in range(50)}
    assert routed == {"blue"}


def test_a_plane_with_an_answering_version_is_ready_while_another_one_loads(world: World) -> None:
    first = world.start()
    world.deploy(1)
    settle(first, {"blue"})
    world.deploy(2)
    world.loader.held.add("m-2")
    second = world.start()
    eventually(lambda: ticked(second) and second.live.ready)
    assert colours(second) == {"blue"}
    assert world.state(2) == "loading"
    world.loader.held.clear()
    settle(second, {"green"})


def test_a_model_that_takes_long_does_not_keep_others_from_loading(world: World) -> None:
    world.loader.held.add("m-1")
    plane = world.start()
    world.deploy(1)
    plane.tick()
    deploy(
        world.workspace,
        EndpointSpec(name="others", model="model@production"),
        ModelVersion("model", 2, "m-2", None),
    )
    eventually(lambda: ticked(plane) and "blue" in plane.live.endpoint("others").loaded)
    assert world.state(1) == "loading"
    world.loader.held.clear()
    settle(plane, {"blue"})


def test_a_database_that_failed_to_open_for_any_reason_is_opened_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: str) -> Store:
        raise PoolTimeoutError("no connection is free")

    plane = world.start()
    world.deploy(1)
    with monkeypatch.context() as patched:
        patched.setattr(Store, "open", broken)
        plane.tick()
    assert plane.store is None
    settle(plane, {"blue"})
