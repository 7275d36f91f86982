from __future__ import annotations

import numpy as np
import pytest

from headrace.gate.error_slices import parts, search
from headrace.gate.metrics import Outcome
from headrace.gate.statistics import groups_as_units, rows_as_units

ROWS = 1200
RNG = np.random.default_rng(0)
HEAT = RNG.normal(size=ROWS)
MODEL = np.array([f"m{number % 3}" for number in range(ROWS)], object)
COLUMNS = {"heat": HEAT, "model": MODEL, "noise": RNG.normal(size=ROWS)}


def outcomes(worse_where: np.ndarray | None = None, seed: int = 1) -> tuple[Outcome, Outcome]:
    rng = np.random.default_rng(seed)
    truth = (HEAT + 0.5 * rng.normal(size=ROWS) > 0.3).astype(float)
    scores = 1 / (1 + np.exp(-3 * (HEAT - 0.3) - 0.3 * rng.normal(size=(2, ROWS))))
    if worse_where is not None:
        scores[0][worse_where] = 1 - scores[0][worse_where]
    ours, theirs = (Outcome(truth, each, (each > 0.5).astype(float)) for each in scores)
    return ours, theirs


def test_the_rows_in_which_a_candidate_errs_more_are_named() -> None:
    found = search(COLUMNS, outcomes(MODEL == "m1"), "binary", rows_as_units(ROWS))
    assert found.loss == "squared distance of score and truth"
    assert found.tried == 13
    first = found.found[0]
    assert (first.column, first.rule, first.rows) == ("model", "= m1", 400)
    assert first.candidate > first.champion
    assert first.p_value < 1e-6


def test_a_bin_of_numbers_and_null_have_names() -> None:
    values = np.r_[np.arange(100.0), np.full(20, np.nan)]
    names = [(name, int(mask.sum())) for name, mask in parts(values)]
    assert names == [
        ("is null", 20),
        ("0 to 19.8", 20),
        ("19.8 to 39.6", 20),
        ("39.6 to 59.4", 20),
        ("59.4 to 79.2", 20),
        ("79.2 to 99", 20),
    ]
    few = [name for name, _ in parts(np.array([1.0, 2.0, 1.0]))]
    assert few == ["= 1", "= 2"]
    texts = [
        (name, int(mask.sum())) for name, mask in parts(np.array(["a", "b", None, "b"], object))
    ]
    assert texts == [("is null", 1), ("= b", 2), ("= a", 1)]


@pytest.mark.parametrize("grouped", [False, True])
def test_models_alike_err_more_nowhere(grouped: bool) -> None:
    units = groups_as_units(np.arange(ROWS) // 10) if grouped else rows_as_units(ROWS)
    false = sum(
        bool(search(COLUMNS, outcomes(seed=seed), "binary", units).found) for seed in range(150)
    )
    assert false / 150 <= 0.05 + 0.07


def test_other_tasks_have_their_own_error() -> None:
    truth = HEAT
    close, far = (
        Outcome(truth, truth + 0.1, truth),
        Outcome(truth, truth + np.where(HEAT > 1, 1, 0.1), truth),
    )
    found = search(COLUMNS, (far, close), "regression", rows_as_units(ROWS))
    assert found.loss == "absolute error"
    assert found.found[0].column == "heat"
    labels = Outcome(np.zeros(ROWS), np.zeros(ROWS), (MODEL == "m2").astype(float), several=True)
    right = Outcome(np.zeros(ROWS), np.zeros(ROWS), np.zeros(ROWS), several=True)
    found = search(COLUMNS, (labels, right), "multiclass", rows_as_units(ROWS))
    assert (found.loss, found.found[0].rule) == ("share of wrong labels", "= m2")


def test_few_groups_cannot_be_sure() -> None:
    units = groups_as_units(np.arange(ROWS) // 400)
    assert not search(COLUMNS, outcomes(HEAT > -9), "binary", units).found
