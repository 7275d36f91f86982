"""The route for ground truth, in process."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from headrace.requestlog.ground_truth import read_ground_truth
from headrace.serving import ground_truth

from .edges import make_edge as make_edge

if TYPE_CHECKING:
    import httpx

    from .edges import Edge

PATH = "/endpoints/scores/ground-truth"
ID = "pred_019aa3c0d5f84c1e9b2a7d60f3e1"


@pytest.fixture
def plane(make_edge: Callable[..., Edge]) -> Edge:
    return make_edge(body_bytes=200_000)


def post(plane: Edge, body: Any, path: str = PATH, token: str = "secret") -> httpx.Response:
    """One request."""
    return plane.ask("POST", path, json=body, headers={"authorization": f"Bearer {token}"})


def test_labels_are_spooled_before_they_are_accepted(plane: Edge) -> None:
    labels = [{"prediction_id": ID, "label": n} for n in range(3)]
    reply = post(plane, {"labels": labels})
    assert (reply.status_code, reply.json()) == (202, {"accepted": 3})
    [record] = plane.records()
    assert (record["kind"], record["endpoint"]) == ("truth", "scores")
    assert [label["label"] for label in record["labels"]] == [0, 1, 2]


def test_many_labels_are_read_in_a_thread(plane: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def read(endpoint: str, body: bytes) -> dict[str, Any]:
        threads.append(threading.current_thread().name)
        return read_ground_truth(endpoint, body)

    monkeypatch.setattr(ground_truth, "read_ground_truth", read)
    for count in (1, 1000):
        reply = post(plane, {"labels": [{"prediction_id": ID, "label": n} for n in range(count)]})
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
    plane: Edge, body: Any, path: str, token: str, status: int, code: str
) -> None:
    reply = post(plane, body, path, token)
    assert (reply.status_code, reply.json()["error_code"]) == (status, code)
    assert plane.records() == []


def test_a_disk_that_is_full_is_told(plane: Edge) -> None:
    plane.writer.close()
    reply = post(plane, {"labels": [{"prediction_id": ID, "label": 1}]})
    assert reply.status_code == 503
    assert reply.json()["error_code"] == "request_log_unavailable"
    assert json.loads(reply.headers["retry-after"]) > 0
