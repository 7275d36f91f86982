from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from headrace.gate.calibration import calibration
from headrace.gate.metrics import METRICS, Outcome
from headrace.gate.statistics import groups_as_units, rows_as_units


def calibration_error(o: Outcome) -> float:
    """By scikit-learn's quantile bins where no scores repeat, else row by row."""
    table = calibration(o)
    assert table is not None
    parts = [(o.score >= each.low) & (o.score <= each.high) for each in table.bins]
    assert sum(part.sum() for part in parts) == len(o.truth)
    return float(
        sum(part.mean() * abs(o.score[part].mean() - o.truth[part].mean()) for part in parts)
    )


def false_positive_rate(o: Outcome) -> float:
    return float(1 - reference.recall_score(o.truth, o.label, pos_label=0))


RECIPES: dict[str, Any] = {
    "average_precision": lambda o: reference.average_precision_score(o.truth, o.score),
    "roc_auc": lambda o: reference.roc_auc_score(o.truth, o.score),
    "accuracy": lambda o: reference.accuracy_score(o.truth, o.label),
    "f1": lambda o: reference.f1_score(o.truth, o.label, zero_division=0),
    "precision": lambda o: reference.precision_score(o.truth, o.label, zero_division=0),
    "recall": lambda o: reference.recall_score(o.truth, o.label),
    "log_loss": lambda o: reference.log_loss(o.truth, o.score),
    "brier": lambda o: reference.brier_score_loss(o.truth, o.score),
    "calibration_error": calibration_error,
    "false_positive_rate": false_positive_rate,
    "rmse": lambda o: reference.root_mean_squared_error(o.truth, o.score),
    "mae": lambda o: reference.mean_absolute_error(o.truth, o.score),
    "r2": lambda o: reference.r2_score(o.truth, o.score),
    "median_absolute_error": lambda o: reference.median_absolute_error(o.truth, o.score),
}
BINARY = [name for name, metric in METRICS.items() if "binary" in metric.tasks]
SEVERAL = [name for name, metric in METRICS.items() if "multiclass" in metric.tasks]
#: Their bins are those of the rows as they are, also when rows are drawn again.
COUNTED = [name for name in BINARY if name != "calibration_error"]
NUMERIC = [name for name, metric in METRICS.items() if "regression" in metric.tasks]


@st.composite
def binary(draw: st.DrawFn) -> Outcome:
    # Few distinct scores, so that ties between the classes are common.
    rows = draw(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=40))
    truth = np.array([float(positive) for positive, _ in rows])
    truth[0], truth[1] = 0.0, 1.0
    score = np.array([step / 8 for _, step in rows])
    return Outcome(truth, score, (score >= 0.5).astype(float))


@st.composite
def numeric(draw: st.DrawFn) -> Outcome:
    value = st.floats(-1e3, 1e3, allow_nan=False, width=32)
    rows = draw(st.lists(st.tuples(value, value), min_size=3, max_size=40))
    truth, score = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    truth[0], truth[1] = -1.0, 1.0
    return Outcome(truth, score, score)


def test_every_metric_has_a_reference() -> None:
    assert set(RECIPES) == set(METRICS)


@pytest.mark.parametrize("name", BINARY)
@given(outcome=binary())
def test_a_binary_metric_equals_scikit_learn(name: str, outcome: Outcome) -> None:
    assert METRICS[name].value(outcome) == pytest.approx(RECIPES[name](outcome))


@pytest.mark.parametrize("name", NUMERIC)
@given(outcome=numeric())
def test_a_regression_metric_equals_scikit_learn(name: str, outcome: Outcome) -> None:
    assert METRICS[name].value(outcome) == pytest.approx(RECIPES[name](outcome), abs=1e-9)


@pytest.mark.parametrize("name", SEVERAL)
@given(rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40))
def test_several_classes_equal_the_macro_average(name: str, rows: list[tuple[int, int]]) -> None:
    truth, label = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    outcome = Outcome(truth, label, label, several=True)
    if name == "accuracy":
        expected = reference.accuracy_score(truth, label)
    else:
        score = getattr(reference, f"{name}_score")
        expected = score(truth, label, average="macro", zero_division=0)
    assert METRICS[name].value(outcome) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_a_part_of_several_classes_with_two_of_them_stays_a_macro_average(name: str) -> None:
    truth, label = np.array([0.0, 0.0, 0.0, 1.0, 2.0]), np.array([0.0, 0.0, 1.0, 1.0, 2.0])
    whole = Outcome(truth, label, label, several=True)
    part = whole.part(truth < 2)
    score = getattr(reference, f"{name}_score")
    expected = score(part.truth, part.label, average="macro")
    assert METRICS[name].value(part) == pytest.approx(expected)
    assert expected != pytest.approx(score(part.truth, part.label))


def _repeated(outcome: Outcome, times: Any) -> Outcome:
    truth, score, label = (
        np.repeat(part, times) for part in (outcome.truth, outcome.score, outcome.label)
    )
    return Outcome(truth, score, label)


@pytest.mark.parametrize("name", COUNTED)
@given(outcome=binary(), seed=st.integers(0, 99))
def test_counts_mean_repeated_rows(name: str, outcome: Outcome, seed: int) -> None:
    drawn = np.random.default_rng(seed).integers(0, 4, len(outcome.truth))
    drawn[:2] += 1
    weighted = METRICS[name].prepare(outcome, rows_as_units(len(drawn)))(
        drawn[None, :].astype(np.float64)
    )
    assert weighted[0] == pytest.approx(METRICS[name].value(_repeated(outcome, drawn)))


@pytest.mark.parametrize("name", NUMERIC)
@given(outcome=numeric(), seed=st.integers(0, 99))
def test_counts_mean_repeated_values(name: str, outcome: Outcome, seed: int) -> None:
    drawn = np.random.default_rng(seed).integers(0, 4, len(outcome.truth))
    drawn[:2] += 1
    weighted = METRICS[name].prepare(outcome, rows_as_units(len(drawn)))(
        drawn[None, :].astype(np.float64)
    )
    expected = METRICS[name].value(_repeated(outcome, drawn))
    assert weighted[0] == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", COUNTED)
@given(outcome=binary(), seed=st.integers(0, 99))
def test_drawing_a_group_draws_all_its_rows(name: str, outcome: Outcome, seed: int) -> None:
    rng = np.random.default_rng(seed)
    units = groups_as_units(rng.integers(0, 3, len(outcome.truth)).astype(str))
    drawn = rng.integers(1, 4, units.count)
    weighted = METRICS[name].prepare(outcome, units)(drawn[None, :].astype(np.float64))
    expected = METRICS[name].value(_repeated(outcome, drawn[units.of_row]))
    assert weighted[0] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["average_precision", "roc_auc", "recall"])
def test_a_metric_without_positives_is_undefined(name: str) -> None:
    nothing = np.zeros(4)
    assert np.isnan(METRICS[name].value(Outcome(nothing, np.arange(4) / 4, nothing)))


@pytest.mark.parametrize("name", ["log_loss", "brier"])
def test_a_margin_is_no_probability(name: str) -> None:
    truth = np.array([0.0, 1.0])
    assert np.isnan(METRICS[name].value(Outcome(truth, np.array([-2.0, 3.0]), truth)))
