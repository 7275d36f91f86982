"""Which answers count as the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.parity import ParityReport, Recorded, Tolerance, compare
from headrace.parity.report import failed, unrecorded

NEAR = Tolerance(1e-6, 1e-3)


def record(
    scores: list[float], labels: list[Any] | None = None, margins: list[float] | None = None
) -> Recorded:
    return Recorded(
        inputs=pa.table({"a": scores}),
        scores=np.array(scores, np.float64),
        labels=labels,
        margins=None if margins is None else np.array(margins),
        digest="d",
        answered_by="the fitted model",
        python="3.11.9",
        libraries={},
        seed=0,
        of=len(scores),
    )


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=20))
def test_the_same_answers_agree(scores: list[float]) -> None:
    found = compare(record(scores), scores, None, Tolerance(0.0, 0.0), "batch")
    assert found.agreed
    assert found.difference == 0.0


@pytest.mark.parametrize(
    ("recorded", "answered", "agreed"),
    [
        (0.5, 0.5 + 9e-7, True),
        (0.5, 0.5 + 2e-6, False),
        (1000.0, 1000.0005, True),  # relative above 1
        (1000.0, 1000.002, False),
        (1e-9, 2e-9, True),  # absolute below 1
        (0.5, None, False),
        (0.5, math.nan, False),
        (math.inf, math.inf, True),
        (math.inf, 1e308, False),
    ],
)
def test_scores_within_the_tolerance(recorded: float, answered: float | None, agreed: bool) -> None:
    found = compare(record([recorded]), [answered], None, NEAR, "batch")
    assert found.agreed is agreed
    assert found.disagreements == (not agreed)


def test_labels_may_differ_within_the_margin_only() -> None:
    recorded = record([0.5, 0.5, 0.9], [True, True, True], [1e-4, 1e-2, 0.4])
    scores = [0.5, 0.5, 0.9]
    assert compare(recorded, scores, [False, True, True], NEAR, "live").agreed
    found = compare(recorded, scores, [True, False, True], NEAR, "live")
    assert found.reason == ("1 of 3 rows get another label; row 1: label True at training, False")


@pytest.mark.parametrize("given_", [None, [True], [1], ["true"], [None]])
def test_a_label_of_another_type_is_another_label(given_: list[Any] | None) -> None:
    found = compare(record([0.9], [True], [0.4]), [0.9], given_, NEAR, "live")
    assert found.agreed is (given_ == [True] and given_[0] is True)


def test_without_a_known_margin_labels_must_be_equal() -> None:
    assert not compare(record([0.5], ["a"]), [0.5], ["b"], NEAR, "live").agreed


def test_too_few_answers() -> None:
    found = compare(record([1.0, 2.0]), [1.0], None, NEAR, "batch")
    assert (found.agreed, found.disagreements) == (False, 2)
    assert found.reason == "1 answers to 2 rows"


def test_the_first_disagreements_are_shown() -> None:
    rows = [float(row) for row in range(40)]
    found = compare(record(rows), [row + 1 for row in rows], None, NEAR, "batch", "kernel abc")
    assert found.disagreements == 40
    assert [example.row for example in found.examples] == [0, 1, 2, 3, 4]
    assert found.reason == (
        "40 of 40 rows differ by more than 1e-06; row 0: score 0.0 at training, 1.0"
    )
    assert found.by == "kernel abc"


@pytest.mark.parametrize(
    "report",
    [
        compare(record([0.5]), [0.5], None, NEAR, "batch"),
        compare(record([0.5]), [math.inf], None, NEAR, "batch"),
        compare(record([0.9], ["a"]), [0.9], ["b"], NEAR, "batch"),
        failed("live, JSON", "it does not load", record([1.0])),
        unrecorded("live"),
    ],
    ids=lambda report: report.summary,
)
def test_a_report_comes_back_from_json(report: ParityReport) -> None:
    again = ParityReport.from_json(report.as_json())
    assert again.as_json() == report.as_json()
    assert again.summary == report.summary
