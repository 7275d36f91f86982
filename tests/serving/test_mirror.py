"""Mirrored requests are compared, and cannot hurt the ones that are answered."""

from __future__ import annotations

import asyncio
import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.payloads.answer import Answers
from headrace.payloads.codec import parse
from headrace.payloads.mlflow_json import MlflowJson
from headrace.payloads.signature import Field, Signature
from headrace.requestlog.spool import SpoolWriter, readable_records, segments
from headrace.serving.live import LiveDeployment
from headrace.serving.metrics import Metrics
from headrace.serving.mirror import Mirror, Target, distance
from headrace.serving.service import Answer, Request, ScoringService
from headrace.workers.errors import PoolClosedError

from .fakes import Adder, deployment, live_with

if TYPE_CHECKING:
    from headrace.endpoints.observations import Evidence
    from headrace.payloads.payload import Payload


def answers(*scores: Any) -> Answers:
    return Answers.of_columns({"score": np.array(scores)}, len(scores))


def labels(*values: str) -> Answers:
    return Answers.of_columns({"label": np.array(values, dtype=object)}, len(values))


@pytest.mark.parametrize(
    ("given", "mirrored", "expected"),
    [
        (answers(0.1, 0.2), answers(0.1, 0.4), 0.1),
        (answers(0.1), answers(0.1), 0.0),
        (answers(1.0), answers(500.0), 1.0),
        (answers(math.nan, 0.5), answers(math.nan, 0.5), 0.0),
        (answers(math.nan), answers(0.5), 1.0),
        (labels("a", "b", "c", "d"), labels("a", "b", "c", "x"), 0.25),
        (answers(0.1), answers(0.1, 0.2), 1.0),
        (answers(0.1), labels("a"), 1.0),
        (answers(), answers(), 0.0),
    ],
)
def test_the_distance_of_two_answers(given: Answers, mirrored: Answers, expected: float) -> None:
    assert distance(given, mirrored) == pytest.approx(expected)


def test_a_distance_on_another_scale_has_another_cap() -> None:
    assert distance(answers(10.0), answers(40.0), cap=50) == 30
    assert distance(answers(10.0), answers(400.0), cap=50) == 50


class Pair:
    """A deployment that answers, and one that gets copies."""

    def __init__(self, green: Adder, share: float = 1.0, deadline: float = 5.0) -> None:
        self.blue = LiveDeployment(deployment("dep_blue"), Adder())
        self.green = LiveDeployment(deployment("dep_green", "green", 2), green)
        self.mirror = Mirror(deadline)
        self.mirror.targets = {"scores": Target(self.green, share)}

    def offer(self, *rows: float, by: LiveDeployment | None = None) -> None:
        records = [{"a": row} for row in rows]
        body = {"dataframe_records": records}
        payload = parsed(body)
        inputs = self.blue.scorer.signature.typed(payload)
        self.mirror.offer("scores", by or self.blue, payload, inputs, answers(*rows))

    def run(self, *requests: float) -> Evidence:
        async def inner() -> None:
            for row in requests:
                self.offer(row)
            await self.mirror.idle()

        asyncio.run(inner())
        return self.green.observations.evidence()

    @property
    def counts(self) -> dict[str, int]:
        return dict(self.mirror.counts.get("scores", {}))


def parsed(body: dict[str, Any]) -> Payload:
    return parse(json.dumps(body).encode(), "application/json")


def test_a_copy_is_scored_and_compared() -> None:
    pair = Pair(Adder(0.25))
    seen = pair.run(1.0, 2.0, 3.0)
    assert (seen.answered, seen.failed, seen.compared) == (3, 0, 3)
    assert seen.mean_distance == pytest.approx(0.25)
    assert pair.counts == {"offered": 3, "compared": 3}
    assert pair.green.idle
    assert pair.blue.observations.evidence().requests == 0


def test_a_share_of_the_requests_is_copied() -> None:
    pair = Pair(Adder(), share=0.5)
    pair.mirror._random.seed(7)
    pair.run(*[1.0] * 200)
    assert 60 < pair.counts["offered"] < 140


def test_nothing_is_copied_to_who_has_answered_or_without_a_target() -> None:
    pair = Pair(Adder())

    async def inner() -> None:
        pair.offer(1.0, by=pair.green)
        pair.mirror.targets = {}
        pair.offer(1.0)
        await pair.mirror.idle()

    asyncio.run(inner())
    assert pair.counts == {}


def test_a_deployment_that_raises_has_failed_and_nobody_else_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "headrace.serving.mirror")
    pair = Pair(Adder())
    seen = pair.run(-2.0, 1.0)
    [told] = [r.getMessage() for r in caplog.records if r.name == "headrace.serving.mirror"]
    assert told.endswith("did not answer a mirrored request: prediction_failed")
    assert (seen.answered, seen.failed, seen.compared) == (1, 1, 1)
    assert pair.counts == {"offered": 2, "failed": 1, "compared": 1}


def test_workers_that_others_have_replaced_are_no_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(Adder())

    async def closed(*_: object) -> None:
        raise PoolClosedError("model/2")

    monkeypatch.setattr(pair.green.scorer, "predict", closed)
    assert pair.run(1.0).requests == 0
    assert pair.counts == {"offered": 1, "dropped": 1}


def test_a_slow_deployment_is_given_up_at_the_mirrors_own_deadline() -> None:
    green = Adder()
    green.gate.clear()
    pair = Pair(green, deadline=0.05)
    seen = pair.run(-1.0)
    green.gate.set()
    assert (seen.answered, seen.failed) == (0, 1)


def test_copies_beyond_the_bound_are_dropped_and_offering_never_waits() -> None:
    green = Adder()
    green.gate.clear()
    pair = Pair(green)

    async def inner() -> None:
        for _ in range(1000):
            pair.offer(-1.0)
        green.gate.set()
        await pair.mirror.idle()

    asyncio.run(inner())
    assert pair.counts["offered"] == 1000
    assert pair.counts["dropped"] >= 1000 - 256 - 4
    assert sum(n for what, n in pair.counts.items() if what != "offered") == 1000


def test_a_request_too_large_for_the_queue_is_dropped() -> None:
    pair = Pair(Adder())

    async def inner() -> None:
        pair.offer(*[1.0] * 100_001)
        await pair.mirror.idle()

    asyncio.run(inner())
    assert pair.counts == {"offered": 1, "dropped": 1}


def test_a_version_with_another_signature_gets_its_own_types() -> None:
    green = Adder()
    green.signature = Signature((Field("a", "double"), Field("extra", "double")))
    pair = Pair(green)
    seen = pair.run(1.0)
    assert seen.failed == 1, "callers do not send what the new version needs"


def test_a_copy_is_neither_answered_nor_logged(tmp_path: Path) -> None:
    green = Adder(0.25)
    live = live_with({"blue": Adder(), "green": green}, {"blue": 100, "green": 0})
    mirrored = live.endpoints["scores"].loaded["green"]
    mirror, writer = Mirror(), SpoolWriter(tmp_path)
    mirror.targets = {"scores": Target(mirrored, 1.0)}
    service = ScoringService(live, writer, green.pool, Metrics(live), 30.0, mirror)
    body, headers = b'{"instances": [{"a": 1.0}]}', {"content-type": "application/json"}
    request = Request("scores", MlflowJson(), body, headers, time.monotonic())

    async def inner() -> Answer:
        answer = await service.answer(request)
        await mirror.idle()
        return answer

    answer = asyncio.run(inner())
    writer.close()
    assert dict(answer.headers)[b"x-headrace-deployment"] == b"blue"
    assert mirrored.observations.evidence().mean_distance == pytest.approx(0.25)
    logged = [r for segment in segments(tmp_path) for r in readable_records(segment)]
    assert [record["deployment"] for record in logged] == ["dep_blue"]
