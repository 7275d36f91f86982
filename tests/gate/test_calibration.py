from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from headrace.gate.calibration import calibration
from headrace.gate.consistency import calibration_error
from headrace.gate.metrics import BINS, METRICS, Outcome, score_bins


def outcome(rows: int, seed: int = 0) -> Outcome:
    rng = np.random.default_rng(seed)
    score = rng.random(rows)
    truth = (rng.random(rows) < score).astype(float)
    return Outcome(truth, score, (score >= 0.5).astype(float))


def test_bins_have_as_many_rows_each_where_no_scores_repeat() -> None:
    found = calibration(outcome(5000))
    assert found is not None
    assert [each.rows for each in found.bins] == pytest.approx([500] * BINS, abs=1)


def test_the_table_is_that_of_scikit_learn() -> None:
    rows = outcome(5003)
    found = calibration(rows)
    assert found is not None
    shares, scores = calibration_curve(rows.truth, rows.score, n_bins=BINS, strategy="quantile")
    assert [each.share for each in found.bins] == pytest.approx(shares, abs=0.01)
    assert [each.score for each in found.bins] == pytest.approx(scores, abs=0.01)


def test_a_model_that_says_what_is_has_little_error_and_one_that_exaggerates_more() -> None:
    honest = outcome(20_000)
    bold = Outcome(honest.truth, np.clip(honest.score * 2 - 0.5, 0, 1), honest.label)
    metric = METRICS["calibration_error"]
    assert metric.value(honest) < 0.02
    assert metric.value(bold) > 0.1
    assert not metric.greater_is_better


def test_margins_have_no_calibration() -> None:
    rows = outcome(50)
    margins = Outcome(rows.truth, rows.score * 4 - 2, rows.label)
    assert calibration(margins) is None
    assert np.isnan(METRICS["calibration_error"].value(margins))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60))
def test_equal_scores_share_a_bin_and_bins_follow_the_scores(steps: list[int]) -> None:
    score = np.array(steps, float) / 5
    codes = score_bins(score)
    for one in range(len(score)):
        assert (codes[score == score[one]] == codes[one]).all()
        assert (codes[score > score[one]] >= codes[one]).all()
    assert codes.max() < BINS


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=60))
def test_the_error_follows_from_the_table(rows: list[tuple[int, bool]]) -> None:
    score, truth = (np.array(column, float) for column in zip(*rows, strict=True))
    found = calibration(Outcome(truth, score / 9, truth))
    assert found is not None
    assert found.error == pytest.approx(calibration_error(found.bins))
    value = METRICS["calibration_error"].value(Outcome(truth, score / 9, truth))
    assert value == pytest.approx(found.error)
