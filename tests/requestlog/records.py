"""Records as the plane spools them."""

from __future__ import annotations

from typing import Any


def served(number: int, endpoint: str = "scores", rows: int = 1, **more: Any) -> dict[str, Any]:
    """An answered request."""
    return {
        "kind": "served",
        "request_id": f"req_{number}",
        "endpoint": endpoint,
        "deployment": "dep_1",
        "colour": "blue",
        "model_name": "model",
        "model_version": 1,
        "model_id": "m-1",
        "at": "2026-01-31T12:00:00.123Z",
        "latency_ms": 1.5,
        "status": 200,
        "params": None,
        "rows": [
            {
                "id": f"pred_{endpoint}_{number}_{row}",
                "key": f"d-{row}",
                "request": '{"a": 1}',
                "prediction": "1.5",
                "score": 1.5,
            }
            for row in range(rows)
        ],
        **more,
    }


def failed(status: int, code: str, deployment: str = "dep_1") -> dict[str, Any]:
    """A refused request."""
    return {
        "kind": "failed",
        "endpoint": "scores",
        "deployment": deployment,
        "status": status,
        "code": code,
        "at": "2026-01-31T12:00:00.123Z",
    }


def truth(*labels: tuple[str, Any, str], endpoint: str = "scores") -> dict[str, Any]:
    """Ground truth: prediction id, label, and the time since when it is known."""
    return {
        "kind": "truth",
        "endpoint": endpoint,
        "at": "2026-02-01T12:00:00.000Z",
        "labels": [{"prediction_id": id_, "label": label, "at": at} for id_, label, at in labels],
    }
