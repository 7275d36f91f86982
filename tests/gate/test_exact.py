from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from headrace.gate.exact import holm, wins_by_chance


@given(wins=st.integers(0, 3000), losses=st.integers(0, 3000))
def test_the_exact_test_is_the_binomial_one(wins: int, losses: int) -> None:
    expected = (
        stats.binomtest(wins, wins + losses, alternative="greater").pvalue if wins + losses else 1.0
    )
    assert wins_by_chance(wins, losses) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_a_million_pairs_are_no_trouble() -> None:
    assert wins_by_chance(501_000, 499_000) == pytest.approx(
        stats.binomtest(501_000, 1_000_000, alternative="greater").pvalue, rel=1e-7
    )


def test_both_sides_meet() -> None:
    assert wins_by_chance(9, 4) + wins_by_chance(5, 8) == pytest.approx(1)


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_rejects_what_his_procedure_rejects(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for alpha in (0.01, 0.05, 0.3):
        rejected = set()
        for rank, at in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
            if p_values[at] * (len(p_values) - rank) > alpha:
                break
            rejected.add(at)
        assert {at for at, value in enumerate(adjusted) if value <= alpha} == rejected


def test_holm_holds_the_familywise_error() -> None:
    rng = np.random.default_rng(0)
    wrong = sum(min(holm(rng.random(8).tolist())) <= 0.05 for _ in range(4000))
    assert wrong / 4000 == pytest.approx(0.05, abs=0.012)
