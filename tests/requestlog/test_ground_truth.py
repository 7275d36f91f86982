"""Ground truth is kept exactly once, by prediction id; the latest counts."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.ids import new_id
from headrace.requestlog.errors import InvalidGroundTruthError
from headrace.requestlog.ground_truth import MOST_LABELS, read_ground_truth
from headrace.requestlog.tables import truth_rows

ID = "pred_019aa3c0d5f84c1e9b2a7d60f3e1"
AT = "2026-01-31T12:00:00+02:00"


def read(*labels: Any) -> dict[str, Any]:
    return read_ground_truth("scores", json.dumps({"labels": labels}).encode())


@pytest.mark.parametrize(
    ("label", "text", "value"),
    [(1, "1", 1.0), (0.5, "0.5", 0.5), (True, "true", 1.0), ("failed", '"failed"', None)],
)
def test_a_label_becomes_a_row(label: Any, text: str, value: float | None) -> None:
    [row] = truth_rows([read({"prediction_id": ID, "label": label, "at": AT})]).to_pylist()
    assert (row["prediction_id"], row["endpoint"]) == (ID, "scores")
    assert (row["label"], row["value"]) == (text, value)
    assert row["labelled_at"] == datetime(2026, 1, 31, 10, tzinfo=UTC)


def test_without_a_time_a_label_counts_from_now() -> None:
    [row] = truth_rows([read({"prediction_id": ID, "label": 1})]).to_pylist()
    assert row["labelled_at"] == row["received_at"]


@pytest.mark.parametrize(
    ("label", "where"),
    [
        ({"label": 1}, "labels[0].prediction_id"),
        ({"prediction_id": "req_1", "label": 1}, "labels[0].prediction_id"),
        ({"prediction_id": 7, "label": 1}, "labels[0].prediction_id"),
        ({"prediction_id": ID}, "labels[0].label"),
        ({"prediction_id": ID, "label": None}, "labels[0].label"),
        ({"prediction_id": ID, "label": [1]}, "labels[0].label"),
        ({"prediction_id": ID, "label": "x" * 1001}, "labels[0].label"),
        ({"prediction_id": ID, "label": 1, "at": "2026-01-31"}, "labels[0].at"),
        ({"prediction_id": ID, "label": 1, "at": "soon"}, "labels[0].at"),
        ({"prediction_id": ID, "label": 1, "at": 5}, "labels[0].at"),
        ({"prediction_id": ID, "label": 1, "at": "0001-01-01T00:00:00+10:00"}, "labels[0].at"),
        ({"prediction_id": ID, "label": 1, "time": AT}, "labels[0].time"),
        (["x"], "labels[0]"),
    ],
)
def test_a_malformed_label_is_named(label: Any, where: str) -> None:
    with pytest.raises(InvalidGroundTruthError) as caught:
        read(label)
    assert caught.value.where == where


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"labels": []}', b'{"labels": {}}', b"\xff", b"NaN"]
)
def test_a_malformed_body_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidGroundTruthError):
        read_ground_truth("scores", body)


def test_too_many_labels_are_refused() -> None:
    labels = [{"prediction_id": new_id("pred"), "label": 1}] * (MOST_LABELS + 1)
    with pytest.raises(InvalidGroundTruthError, match=r"^This is no ground truth") as caught:
        read(*labels)
    assert str(MOST_LABELS) in (caught.value.why or "")


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_whatever_is_sent_is_a_row_or_refused(label: Any) -> None:
    with suppress(InvalidGroundTruthError):
        record = read({"prediction_id": ID, "label": label})
        assert truth_rows([record]).num_rows == 1
