from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from headrace.gate.exact import fewest_units
from headrace.gate.metrics import METRICS, Outcome
from headrace.gate.statistics import (
    compare,
    counts,
    groups_as_units,
    percentile_interval,
    rows_as_units,
    support,
)


def _regression(truth: np.ndarray, score: np.ndarray) -> Outcome:
    return Outcome(truth, score, score)


@given(
    units=st.integers(1, 30),
    resamples=st.integers(1, 20),
    seed=st.integers(0, 5),
    chunk=st.integers(1, 7),
)
def test_counts_draw_as_many_as_there_are(
    units: int, resamples: int, seed: int, chunk: int
) -> None:
    drawn = np.concatenate(list(counts(units, resamples, seed, chunk=chunk)))
    assert drawn.shape == (resamples, units)
    assert (drawn.sum(axis=1) == units).all()


def test_counts_follow_the_multinomial() -> None:
    drawn = np.concatenate(list(counts(50, 20_000, 3)))
    expected = [stats.binom.pmf(k, 50, 1 / 50) for k in range(4)]
    observed = [(drawn == k).mean() for k in range(4)]
    assert observed == pytest.approx(expected, abs=0.003)


def test_the_interval_leaves_undefined_resamples_out() -> None:
    interval = percentile_interval(np.array([np.nan, 0.0, 1.0, 2.0]), 0.5)
    assert (interval.low, interval.high, interval.resamples) == (0.5, 1.5, 3)


def test_a_model_gains_nothing_on_itself() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random(300) < 0.2).astype(float)
    score = rng.random(300)
    outcome = Outcome(truth, score, (score > 0.5).astype(float))
    for name in ("average_precision", "roc_auc", "recall", "log_loss"):
        result = compare(METRICS[name], outcome, outcome, rows_as_units(300), resamples=50)
        assert (result.gain, result.interval.low, result.interval.high) == (0, 0, 0)


def test_the_gain_is_positive_for_a_smaller_loss() -> None:
    truth = np.random.default_rng(0).normal(size=200)
    good, bad = _regression(truth, truth + 0.1), _regression(truth, truth + 0.5)
    result = compare(METRICS["rmse"], good, bad, rows_as_units(200), resamples=200)
    assert result.gain == pytest.approx(0.4)
    assert result.interval.low == pytest.approx(0.4)


def test_swapping_the_models_mirrors_the_interval() -> None:
    rng = np.random.default_rng(1)
    truth = (rng.random(500) < 0.3).astype(float)
    one, other = (
        Outcome(truth, score, (score > 0.5).astype(float))
        for score in (rng.random(500), truth * 0.2 + rng.random(500))
    )
    units = rows_as_units(500)
    forward = compare(METRICS["average_precision"], one, other, units, resamples=300)
    back = compare(METRICS["average_precision"], other, one, units, resamples=300)
    assert back.gain == pytest.approx(-forward.gain)
    assert back.interval.low == pytest.approx(-forward.interval.high)


def test_the_bootstrap_of_a_mean_has_the_known_width() -> None:
    # MAE against zero is a mean, whose standard error is known in closed form.
    rng = np.random.default_rng(7)
    errors = rng.exponential(size=4000)
    truth = np.zeros(4000)
    result = compare(
        METRICS["mae"],
        _regression(truth, truth),
        _regression(truth, errors),
        rows_as_units(4000),
        resamples=4000,
    )
    half = stats.norm.ppf(0.975) * errors.std() / np.sqrt(4000)
    assert result.gain == pytest.approx(errors.mean())
    assert result.interval.high - result.interval.low == pytest.approx(2 * half, rel=0.06)


def test_the_result_does_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    truth = (rng.random(100) < 0.4).astype(float)
    score = rng.random(100)
    one, other = Outcome(truth, score, truth), Outcome(truth, 1 - score, truth)
    whole = compare(METRICS["roc_auc"], one, other, rows_as_units(100), resamples=100, seed=5)
    again = compare(METRICS["roc_auc"], one, other, rows_as_units(100), resamples=100, seed=5)
    assert whole == again


def test_groups_widen_the_interval_of_correlated_rows() -> None:
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(40), 50)
    truth = np.zeros(2000)
    # All rows of a group share their error: 40 independent facts, not 2000.
    errors = np.abs(rng.normal(size=40))[group]
    one, other = _regression(truth, truth), _regression(truth, errors)
    rows = compare(METRICS["mae"], one, other, rows_as_units(2000), resamples=500).interval
    groups = compare(METRICS["mae"], one, other, groups_as_units(group), resamples=500).interval
    ratio = (groups.high - groups.low) / (rows.high - rows.low)
    assert ratio == pytest.approx(np.sqrt(50), rel=0.2)


def test_dense_and_gathered_groups_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    truth = (rng.random(400) < 0.3).astype(float)
    one, other = (
        Outcome(truth, score.round(2), truth) for score in (rng.random(400), rng.random(400))
    )
    units = groups_as_units(rng.integers(0, 20, 400))
    dense = compare(METRICS["average_precision"], one, other, units, resamples=60)
    monkeypatch.setattr("headrace.gate.metrics._DENSE", 0)
    gathered = compare(METRICS["average_precision"], one, other, units, resamples=60)
    assert dense.interval.low == pytest.approx(gathered.interval.low)
    assert dense.interval.high == pytest.approx(gathered.interval.high)


@given(confidence=st.floats(0.51, 0.9999))
def test_fewer_units_than_the_sign_test_needs_are_too_few(confidence: float) -> None:
    def chance(units: int) -> float:
        return float(stats.binomtest(units, units, alternative="greater").pvalue)

    fewest, tail = fewest_units(confidence), (1 - confidence) / 2
    assert chance(fewest) <= tail * (1 + 1e-9)
    assert chance(fewest - 1) > tail * (1 - 1e-9)


def test_one_group_gives_an_interval_without_width() -> None:
    truth = np.random.default_rng(0).normal(size=100)
    units = groups_as_units(np.zeros(100))
    good, bad = _regression(truth, truth + 0.1), _regression(truth, truth + 0.5)
    found = compare(METRICS["rmse"], good, bad, units, resamples=100)
    assert found.interval.low == pytest.approx(found.interval.high) == pytest.approx(0.4)
    assert found.units < fewest_units(0.95)


def test_a_rare_class_carries_a_comparison() -> None:
    truth = np.array([1.0, 0, 0, 0, 1, 0])
    assert support(rows_as_units(6)) == 6
    assert support(rows_as_units(6), truth) == 2
    # Both positives are of one group.
    assert support(groups_as_units(np.array(["a", "b", "b", "c", "a", "c"])), truth) == 1
    assert support(rows_as_units(6), 1 - truth) == 2


def test_different_rows_are_refused() -> None:
    one, other = (_regression(np.full(3, v), np.zeros(3)) for v in (0.0, 1.0))
    with pytest.raises(ValueError, match="same rows"):
        compare(METRICS["rmse"], one, other, rows_as_units(3))


@pytest.mark.slow
@pytest.mark.parametrize("grouped", [False, True])
def test_the_interval_covers_the_truth_at_its_level(grouped: bool) -> None:
    """Draw many hold-outs from a known population; 90 % intervals must hold its value in 90 %.

    With 400 trials a true coverage of 0.90 stays inside 0.84 to 0.95 (five standard errors up,
    and four below for the known optimism of the percentile interval on few units).
    """
    rng = np.random.default_rng(11)
    rows_per_group, groups = (10, 60) if grouped else (1, 400)
    rows = rows_per_group * groups
    group = np.repeat(np.arange(groups), rows_per_group)
    units = groups_as_units(group) if grouped else rows_as_units(rows)
    # RMSE of N(0, s^2) errors is s: the true gain is 1.3 - 1.0, whatever the correlation.
    hits = 0
    for trial in range(400):
        shared = rng.normal(size=(2, groups))[:, group] * np.sqrt(0.5 if grouped else 0.0)
        own = rng.normal(size=(2, rows)) * np.sqrt(0.5 if grouped else 1.0)
        errors = shared + own
        truth = np.zeros(rows)
        result = compare(
            METRICS["rmse"],
            _regression(truth, errors[0]),
            _regression(truth, 1.3 * errors[1]),
            units,
            confidence=0.9,
            resamples=300,
            seed=trial,
        )
        hits += result.interval.low <= 0.3 <= result.interval.high
    assert 0.84 <= hits / 400 <= 0.95
