"""A rollout goes forward with evidence, waits without, and goes back by its rules."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from tests.planes import eventually

from headrace.endpoints import (
    Decision,
    PlaneInfo,
    decisions,
    deploy,
    pause,
    resume,
    rollback,
    traffic_history,
)
from headrace.endpoints.address import hold, release, write_plane
from headrace.endpoints.observed import read_observed
from headrace.payloads.codec import parse
from headrace.registry import ModelVersion
from headrace.serving import reconciler
from headrace.workers.spec import WorkerSpec

from .fakes import Adder
from .worlds import World, adder, colours, settle, ticked
from .worlds import world as world

if TYPE_CHECKING:
    from headrace.serving.live import LiveDeployment
    from headrace.serving.reconciler import Reconciler

STEPS: dict[str, Any] = {"steps": [10, 50, 100], "every": "20ms"}


class Rollout:
    """Version 1 is live, and version 2 takes over."""

    def __init__(self, world: World, **rollout: Any) -> None:
        self.world = world
        self.plane = world.start()
        world.deploy(1)
        settle(self.plane, {"blue"})
        world.deploy(2, **{**STEPS, **rollout})
        settle(self.plane, {"blue", "green"})

    @property
    def green(self) -> LiveDeployment:
        return self.plane.live.endpoint("scores").loaded["green"]

    def shares(self) -> list[int]:
        return [s.shares["green"] for s in traffic_history(self.world.workspace, "scores")]

    def decided(self) -> list[Decision]:
        return decisions(self.world.workspace, "scores")[::-1]

    def actions(self) -> Sequence[str]:
        return [d.action for d in self.decided()][1:]

    def show(self, answered: int = 0, failed: int = 0, seconds: float = 0.001) -> None:
        for _ in range(answered):
            self.green.observations.answered(seconds)
        for _ in range(failed):
            self.green.observations.failed()

    def tick_until(self, state: str, number: int = 2, plane: Reconciler | None = None) -> None:
        found = plane or self.plane
        eventually(lambda: ticked(found) and self.world.state(number) == state)

    def over(self) -> bool:
        return self.world.state(1) == "standby"


def test_it_goes_forward_with_evidence_and_the_numbers_are_kept(world: World) -> None:
    rollout = Rollout(world, rollback={"error_rate": "5%"})
    rollout.show(answered=40, failed=1)
    rollout.tick_until("standby", number=1)
    assert rollout.shares() == [0, 10, 50, 100]
    last = rollout.decided()[-1]
    assert (last.action, last.decided_by, last.step) == ("forward", "rollout", 2)
    assert (last.shares_before, last.shares_after) == (
        {"blue": 50, "green": 50},
        {"blue": 0, "green": 100},
    )
    assert last.reason == "error_rate is 2.44% of 41 requests, the limit is 5.00%"
    (check,) = last.evidence["checks"]
    assert (check["count"], check["mean"]) == (41, pytest.approx(1 / 41))
    assert 0 <= check["bound"] < check["mean"]


def test_it_waits_for_requests(world: World) -> None:
    rollout = Rollout(world, rollback={"error_rate": "5%", "min_requests": 30})
    eventually(lambda: ticked(rollout.plane) and "wait" in rollout.actions())
    rollout.show(answered=29)
    for _ in range(5):
        rollout.plane.tick()
    assert rollout.shares() == [0, 10]
    assert rollout.actions() == ["forward", "wait"], "one record for one cause"
    rollout.show(answered=1)
    rollout.tick_until("standby", number=1)


def test_one_that_errs_goes_back(world: World) -> None:
    rollout = Rollout(world, rollback={"error_rate": "1%"})
    rollout.show(failed=5)
    rollout.tick_until("failed")
    settle(rollout.plane, {"blue"})
    assert rollout.shares() == [0, 10, 0]
    last = rollout.decided()[-1]
    assert last.action == "rollback"
    assert last.reason == "error_rate is 100.00% of 5 requests, the limit is 1.00%"
    assert last.evidence["checks"][0]["violated"]
    assert world.state(1) == "ready"


def test_one_that_is_slow_goes_back(world: World) -> None:
    rollout = Rollout(world, rollback={"latency_p99": "50ms"})
    rollout.show(answered=90)
    rollout.show(answered=10, seconds=0.2)
    rollout.tick_until("failed")
    assert rollout.decided()[-1].reason.startswith("latency_p99 is 20")


def ask_blue(rollout: Rollout, count: int) -> None:
    """Mirror requests that blue has answered."""
    mirror = rollout.plane.mirror
    blue = rollout.plane.live.endpoint("scores").loaded["blue"]

    async def inner() -> None:
        for number in range(count):
            payload = parse(
                json.dumps({"instances": [{"a": float(number)}]}).encode(), "application/json"
            )
            inputs = blue.scorer.signature.typed(payload)
            answers = await blue.scorer.predict(inputs, None, 1e12)
            mirror.offer("scores", blue, payload, inputs, answers)
            await mirror.idle()

    asyncio.run(inner())


MIRRORED: dict[str, Any] = {"mirror": "100%", "rollback": {"distance": 0.05, "error_rate": "5%"}}


def test_one_that_answers_differently_goes_back_before_it_has_answered_anyone(
    world: World,
) -> None:
    rollout = Rollout(world, **MIRRORED)
    assert rollout.shares() == [0], "it is mirrored first"
    ask_blue(rollout, 30)
    rollout.tick_until("failed")
    assert rollout.shares() == [0]
    last = rollout.decided()[-1]
    assert last.action == "rollback"
    assert last.reason == "distance is 1 of 30 requests, the limit is 0.05"
    assert last.evidence["requests"] == 30


def test_one_that_answers_alike_goes_forward_from_mirrored_requests(world: World) -> None:
    rollout = Rollout(world, **MIRRORED)
    adder(rollout.green).offset = 100.0  # as version 1
    ask_blue(rollout, 30)
    rollout.tick_until("standby", number=1)
    assert rollout.shares() == [0, 10, 50, 100]
    rollout.plane.tick()
    assert rollout.plane.mirror.targets == {}


def test_one_that_raises_on_mirrored_requests_goes_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("no such feature")

    rollout = Rollout(world, **MIRRORED)
    monkeypatch.setattr(adder(rollout.green), "predict", fail)
    ask_blue(rollout, 5)
    rollout.tick_until("failed")
    assert rollout.decided()[-1].reason.startswith("error_rate is 100.00% of 5 requests")
    assert rollout.plane.live.endpoint("scores").loaded["blue"].observations.evidence().failed == 0


def test_one_that_does_not_load_is_a_decision_and_blue_goes_on(world: World) -> None:
    plane = world.start()
    world.deploy(1)
    settle(plane, {"blue"})
    world.loader.fails["m-2"] = "its environment cannot be built"
    world.deploy(2, **STEPS)
    eventually(lambda: ticked(plane) and world.state(2) == "failed")
    settle(plane, {"blue"})
    last = decisions(world.workspace, "scores")[0]
    assert (last.action, last.decided_by) == ("failed", "rollout")
    assert "its environment cannot be built" in last.reason


def test_a_pause_holds_and_a_resume_goes_on(world: World) -> None:
    rollout = Rollout(world, every="1h")
    pause(world.workspace, "scores", by="ann")
    for _ in range(3):
        rollout.plane.tick()
    assert rollout.shares() == [0, 10]
    resume(world.workspace, "scores", by="ann")
    assert rollout.actions() == ["forward", "pause", "resume"]


def test_two_planes_make_each_step_once(world: World) -> None:
    rollout = Rollout(world, rollback={"error_rate": "5%"})
    second = world.start()
    settle(second, {"blue", "green"})
    rollout.show(answered=50)
    for _ in range(50):
        second.live.endpoint("scores").loaded["green"].observations.answered(0.001)

    def both() -> bool:
        return ticked(rollout.plane) and ticked(second) and rollout.over()

    eventually(both)
    assert rollout.shares() == [0, 10, 50, 100]
    assert rollout.actions() == ["forward"] * 3


def test_after_a_restart_the_evidence_and_the_time_of_the_step_begin_again(world: World) -> None:
    rollout = Rollout(world, every="60ms", rollback={"error_rate": "5%"})
    rollout.show(answered=1000)
    second = world.start()
    settle(second, {"blue", "green"})
    eventually(lambda: ticked(second) and "wait" in rollout.actions())
    assert rollout.decided()[-1].reason == "0 of 20 requests"
    assert rollout.shares() == [0, 10]


def test_changed_rules_reach_the_plane_and_begin_with_no_evidence(world: World) -> None:
    rollout = Rollout(world, every="1h", rollback={"error_rate": "50%"})
    rollout.show(answered=60, failed=40)
    rollout.plane.tick()
    version = ModelVersion("model", 2, "m-2", None)
    stricter = world.spec(steps=[10, 50, 100], every="1h", rollback={"error_rate": "1%"})
    deploy(world.workspace, stricter, version)
    rollout.plane.tick()
    assert rollout.green.observations.evidence().requests == 0
    assert world.state(2) == "ready"
    rollout.show(failed=5)
    rollout.tick_until("failed")


def test_changed_settings_of_workers_are_taken_while_the_old_ones_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Adder, "kind", "worker")
    monkeypatch.setattr(reconciler, "GRACE_SECONDS", 0.0)
    plane = world.start()
    world.deploy(1)
    settle(plane, {"blue"})
    old = plane.live.endpoint("scores").loaded["blue"]
    old.observations.answered(0.001)
    plane.tick()
    assert len(world.loader.calls) == 1
    changed = world.spec().model_copy(update={"workers": WorkerSpec(max=4)})
    deploy(world.workspace, changed, ModelVersion("model", 1, "m-1", None))

    def taken() -> bool:
        plane.tick()
        return plane.live.endpoint("scores").loaded["blue"] is not old

    assert plane.live.endpoint("scores").loaded["blue"] is old
    eventually(taken)
    eventually(lambda: ticked(plane) and adder(old).closed)
    fresh = plane.live.endpoint("scores").loaded["blue"]
    assert fresh.observations.evidence().answered == 1
    assert len(world.loader.calls) == 2
    assert world.state(1) == "ready"


def test_a_rollback_by_hand_reaches_requests_at_the_next_look(world: World) -> None:
    plane = world.start()
    world.deploy(1)
    settle(plane, {"blue"})
    world.deploy(2)
    settle(plane, {"green"})
    calls = len(world.loader.calls)
    rollback(world.workspace, "scores", by="ann")
    plane.tick()
    assert colours(plane) == {"blue"}
    assert plane.live.endpoint("scores").route(None).record.model_version == 1
    assert len(world.loader.calls) == calls, "it was loaded all the time"


@pytest.fixture
def held(world: World) -> Iterator[None]:
    """This process holds the project, as a plane does."""
    descriptor = hold(world.workspace.paths)
    write_plane(
        world.workspace.paths, PlaneInfo("http://x", "x", 1, os.getpid(), os.getpid(), "now")
    )
    yield
    release(world.workspace.paths, descriptor)


@pytest.mark.usefixtures("held")
def test_what_is_observed_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.serving.reconciler.WRITE_SECONDS", 0.0)
    rollout = Rollout(world, every="1h", rollback={"error_rate": "5%"})
    rollout.show(answered=10)
    rollout.plane.tick()
    observed = read_observed(world.workspace.paths)["scores"]
    shown = observed["deployments"][rollout.green.record.id]
    assert (shown["requests"], shown["failed"], shown["verdict"]) == (10, 0, "wait")
    assert shown["latency_ms"]["p99"] == pytest.approx(1.0, rel=0.02)
    assert shown["reason"] == "10 of 20 requests"


def test_what_a_plane_that_is_gone_has_observed_is_not_told(world: World) -> None:
    Rollout(world, every="1h").plane.tick()
    assert read_observed(world.workspace.paths) == {}
