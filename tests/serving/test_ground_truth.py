"""The route for ground truth, in process."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from headrace.requestlog.ground_truth import read_ground_truth
from headrace.requestlog.spool import SpoolWriter, segments
from headrace.serving import ground_truth
from headrace.serving.app import Limits, make_app
from headrace.serving.metrics import Metrics
from headrace.serving.service import ScoringService
from headrace.settings import Secret

from .fakes import Adder, live_with

PATH = "/endpoints/scores/ground-truth"
ID = "pred_019aa3c0d5f84c1e9b2a7d60f3e1"


class Plane:
    """An application with the endpoint ``scores``."""

    def __init__(self, spool: Path) -> None:
        self.adder = Adder()
        live = live_with({"blue": self.adder}, {"blue": 100, "green": 0})
        self.writer = SpoolWriter(spool)
        metrics = Metrics(live)
        service = ScoringService(live, self.writer, self.adder.pool, metrics, 10.0)
        limits = Limits(body_bytes=200_000)
        self.app = make_app(live, service, metrics, lambda: Secret("secret"), limits)

    def post(self, body: Any, path: str = PATH, token: str = "secret") -> httpx.Response:
        """One request."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            headers = {"authorization": f"Bearer {token}"}
            async with httpx.AsyncClient(
                transport=transport, base_url="http://plane", headers=headers
            ) as client:
                return await client.post(path, json=body)

        return asyncio.run(ask())

    def records(self) -> list[dict[str, Any]]:
        """What was spooled."""
        return [r for s in segments(self.writer.directory.parent) for r in s.records()]


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    made = Plane(tmp_path / "spool")
    yield made
    made.adder.gate.set()
    made.adder.pool.close()
    made.writer.close()


def test_labels_are_spooled_before_they_are_accepted(plane: Plane) -> None:
    labels = [{"prediction_id": ID, "label": n} for n in range(3)]
    reply = plane.post({"labels": labels})
    assert (reply.status_code, reply.json()) == (202, {"accepted": 3})
    [record] = plane.records()
    assert (record["kind"], record["endpoint"]) == ("truth", "scores")
    assert [label["label"] for label in record["labels"]] == [0, 1, 2]


def test_many_labels_are_read_in_a_thread(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def read(endpoint: str, body: bytes) -> dict[str, Any]:
        threads.append(threading.current_thread().name)
        return read_ground_truth(endpoint, body)

    monkeypatch.setattr(ground_truth, "read_ground_truth", read)
    for count in (1, 1000):
        reply = plane.post({"labels": [{"prediction_id": ID, "label": n} for n in range(count)]})
        assert reply.json() == {"accepted": count}
    assert [name.startswith("score") for name in threads] == [False, True]


@pytest.mark.parametrize(
    ("body", "path", "token", "status", "code"),
    [
        ({"labels": [{"label": 1}]}, PATH, "secret", 400, "invalid_ground_truth"),
        ({"labels": []}, "/endpoints/other/ground-truth", "secret", 404, "endpoint_not_found"),
        ({"labels": []}, PATH, "wrong", 401, "unauthorized"),
        ({"labels": ["x" * 300_000]}, PATH, "secret", 413, "body_too_large"),
        ({"labels": ["x" * 100_000]}, PATH, "secret", 400, "invalid_ground_truth"),
    ],
)
def test_what_is_refused_leaves_nothing(
    plane: Plane, body: Any, path: str, token: str, status: int, code: str
) -> None:
    reply = plane.post(body, path, token)
    assert (reply.status_code, reply.json()["error_code"]) == (status, code)
    assert plane.records() == []


def test_a_disk_that_is_full_is_told(plane: Plane) -> None:
    plane.writer.close()
    reply = plane.post({"labels": [{"prediction_id": ID, "label": 1}]})
    assert reply.status_code == 503
    assert reply.json()["error_code"] == "request_log_unavailable"
    assert json.loads(reply.headers["retry-after"]) > 0
