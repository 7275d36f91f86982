"""Predictions as JSON: as MLflow's scoring server gives them, and always valid JSON."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
import pytest

from headrace.payloads.answer import Answers, jsonable

FRAME = pd.DataFrame({"score": [0.25, 0.75], "label": [0, 1]})


@pytest.mark.parametrize(
    "raw",
    [
        FRAME,
        FRAME["score"],
        pd.Series([1.5, 2.5]),
        np.array([1.5, 2.5]),
        np.array([[0.1, 0.9], [0.8, 0.2]]),
        np.array([1, 2], dtype=np.int32),
        np.array(["a", "b"]),
        [1.5, "x"],
        [[1], [2]],
    ],
)
def test_the_values_are_those_of_mlflow(raw: Any, scoring_server: Any) -> None:
    output = io.StringIO()
    scoring_server.predictions_to_json(raw, output)
    assert Answers.of(raw, 2).values() == json.loads(output.getvalue())["predictions"]


@pytest.mark.parametrize(
    ("raw", "scores"),
    [
        (FRAME, [0.25, 0.75]),
        (pd.DataFrame({"x": [1, 2], "name": ["a", "b"]}), [1.0, 2.0]),
        (pd.DataFrame({"x": [1, 2], "y": [3, 4]}), [None, None]),
        (np.array([1.5, np.nan]), [1.5, None]),
        (np.array([[1.5], [2.5]]), [1.5, 2.5]),
        ([True, False], [1.0, 0.0]),
        (["a", "b"], [None, None]),
        ([10**400, 1], [None, 1.0]),
        ({"score": np.array([1.0, 2.0]), "other": [3, 4]}, [1.0, 2.0]),
    ],
)
def test_the_score_of_a_row(raw: Any, scores: list[float | None]) -> None:
    assert Answers.of(raw, 2).scores() == scores


@pytest.mark.parametrize(
    "raw",
    [None, 1.5, "text", np.array(1.0), [1], FRAME.iloc[:1], {}, {"a": 1}, {"a": [1, 2], "b": [1]}],
)
def test_a_model_that_does_not_answer_each_row_is_told_so(raw: Any) -> None:
    with pytest.raises(ValueError, match="for 2 rows"):
        Answers.of(raw, 2)


class Level(Enum):
    HIGH = "high"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (float("inf"), None),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.datetime64("NaT"), None),
        (pd.NaT, None),
        (pd.NA, None),
        (pd.Timestamp("2026-01-31", tz="UTC"), "2026-01-31T00:00:00+00:00"),
        (datetime(2026, 1, 31, tzinfo=UTC), "2026-01-31T00:00:00+00:00"),
        (date(2026, 1, 31), "2026-01-31"),
        (b"\x00\x01", "AAE="),
        (np.array([1.0, np.nan]), [1.0, None]),
        ({1: (2, 3)}, {"1": [2, 3]}),
        (Level.HIGH, "Level.HIGH"),
        (np.str_("x"), "x"),
    ],
)
def test_values_become_valid_json(value: Any, expected: Any) -> None:
    assert jsonable(value) == expected
    json.dumps(jsonable(value), allow_nan=False)
