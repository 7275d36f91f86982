"""The promises of the statistics, by simulation from populations whose truth is known.

Each bound leaves room for the noise of so many trials (about four standard errors), so that only
a statistic that does not keep its level fails.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from headrace.gate.exact import holm, wins_by_chance
from headrace.gate.metrics import METRICS, Outcome, Units
from headrace.gate.paired import pairs, worse, worse_in
from headrace.gate.statistics import compare, groups_as_units, rows_as_units

Draw = Callable[[np.random.Generator, int, float], tuple[Outcome, Outcome]]
PER_GROUP = 5


def classified(grouped: bool) -> Draw:
    """Two models of a label of 3 in 10; the second hears ``noise`` times as much noise."""

    def draw(rng: np.random.Generator, rows: int, noise: float) -> tuple[Outcome, Outcome]:
        latent, own, other = rng.normal(size=(3, rows))
        if grouped:
            shared = rng.normal(size=(3, rows // PER_GROUP))
            mixed = np.repeat(shared, PER_GROUP, axis=1) + np.stack([latent, own, other])
            latent, own, other = mixed / np.sqrt(2)
        truth = (latent > 0.524).astype(float)

        def said(heard: np.ndarray) -> Outcome:
            score = 1 / (1 + np.exp(-(latent + heard - 0.524)))
            return Outcome(truth, score, (score > 0.5).astype(float))

        return said(own), said(noise * other)

    return draw


def units_of(rows: int, grouped: bool) -> Units:
    return groups_as_units(np.arange(rows) // PER_GROUP) if grouped else rows_as_units(rows)


@pytest.mark.parametrize("grouped", [False, True], ids=["rows", "groups"])
@pytest.mark.parametrize("name", ["average_precision", "recall", "log_loss", "calibration_error"])
def test_the_interval_of_the_gain_covers_the_truth(name: str, grouped: bool) -> None:
    """Two-sided 90 % intervals of a true gain hold it in 90 % of 200 hold-outs."""
    draw, metric, rows = classified(grouped), METRICS[name], 500
    rng = np.random.default_rng(5)
    ours, theirs = draw(rng, 1_000_000, 1.5)
    gain = metric.value(ours) - metric.value(theirs)
    gain *= 1 if metric.greater_is_better else -1
    held = 0
    for trial in range(200):
        found = compare(
            metric,
            *draw(rng, rows, 1.5),
            units_of(rows, grouped),
            confidence=0.9,
            resamples=200,
            seed=trial,
        )
        held += found.interval.low <= gain <= found.interval.high
    # Binned distances are never below zero, so a calibration error is overstated on few rows.
    least = 0.70 if name == "calibration_error" else 0.82
    assert least <= held / 200 <= 0.98


@pytest.mark.parametrize("grouped", [False, True], ids=["rows", "groups"])
@pytest.mark.parametrize("name", ["average_precision", "roc_auc", "f1", "brier"])
def test_a_model_that_is_no_better_is_rarely_promoted(name: str, grouped: bool) -> None:
    """Two models alike: the 90 % interval lies above zero in 5 % of 300 hold-outs."""
    draw, rng = classified(grouped), np.random.default_rng(6)
    above = sum(
        compare(
            METRICS[name],
            *draw(rng, 400, 1.0),
            units_of(400, grouped),
            confidence=0.9,
            resamples=200,
            seed=trial,
        ).interval.low
        > 0
        for trial in range(300)
    )
    assert above / 300 <= 0.05 + 0.05


@pytest.mark.parametrize("name", ["accuracy", "recall"])
def test_the_exact_test_keeps_its_level_and_uses_most_of_it(name: str) -> None:
    draw, rng = classified(False), np.random.default_rng(7)
    wrong = 0
    for _ in range(2000):
        found = pairs(METRICS[name], *draw(rng, 400, 1.0))
        assert found is not None
        wrong += wins_by_chance(found.wins, found.losses) <= 0.025
    assert 0.005 <= wrong / 2000 <= 0.025 + 0.014


@pytest.mark.parametrize("grouped", [False, True], ids=["rows", "groups"])
@pytest.mark.parametrize("name", ["average_precision", "log_loss", "recall", "f1"])
def test_slices_alike_are_rarely_called_worse(name: str, grouped: bool) -> None:
    """Eight slices of 100 rows, none of them worse: some one is called so in 5 % at most."""
    draw, rng = classified(grouped), np.random.default_rng(8)
    masks = [np.arange(800) // 100 == each for each in range(8)]
    wrong = 0
    for trial in range(80):
        found = worse_in(
            masks,
            METRICS[name],
            *draw(rng, 800, 1.0),
            units_of(800, grouped),
            grouped=grouped,
            level=0.05,
            seed=trial,
        )
        wrong += min(holm([each.p_value for each in found])) <= 0.05
    assert wrong / 80 <= 0.05 + 0.10


@pytest.mark.parametrize("name", ["average_precision", "log_loss", "recall"])
def test_one_slice_that_is_much_worse_is_found(name: str) -> None:
    draw, rng = classified(False), np.random.default_rng(9)
    masks = [np.arange(1600) // 200 == each for each in range(8)]
    found = 0
    for trial in range(10):
        good, _ = draw(rng, 1600, 1.0)
        # It says the opposite in the third slice, and the same elsewhere.
        score = np.where(masks[2], 0.4 * (1 - good.score), good.score)
        ours = Outcome(good.truth, score, (score > 0.5).astype(float))
        results = worse_in(
            masks,
            METRICS[name],
            ours,
            good,
            rows_as_units(1600),
            grouped=False,
            level=0.05,
            seed=trial,
        )
        adjusted = holm([each.p_value for each in results])
        assert all(value == 1 for at, value in enumerate(adjusted) if at != 2)
        found += adjusted[2] <= 0.05
    assert found >= 9


def test_three_groups_cannot_make_a_slice_worse() -> None:
    """Whatever the rows say, the sign test of three groups ends at one in eight."""
    truth = np.zeros(300)
    bad, good = (Outcome(truth, np.full(300, error), truth) for error in (5.0, 0.1))
    units = groups_as_units(np.arange(300) // 100)
    found = worse(METRICS["mae"], bad, good, units, grouped=True, resamples=400, seed=0)
    assert found.gain == pytest.approx(-4.9)
    assert found.p_value == 1 / 8
