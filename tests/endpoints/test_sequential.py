"""The sequential test keeps its level under continuous looking, and finds what is bad."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.endpoints.sequential import exceeds, log_evidence, lower_bound

Draw = Callable[[random.Random], float]


def bernoulli(p: float) -> Draw:
    return lambda generator: float(generator.random() < p)


def first_alarm(draw: Draw, limit: float, alpha: float, looks: int, seed: int) -> int | None:
    """After how many observations the limit is exceeded, looking after each one."""
    generator = random.Random(seed)
    total = 0.0
    for count in range(1, looks + 1):
        value = draw(generator)
        total += value
        # The evidence falls with an observation below the limit: only the others can be the first.
        if value > limit and exceeds(total, count, limit, alpha):
            return count
    return None


@pytest.mark.parametrize(
    ("draw", "limit"),
    [
        (bernoulli(0.01), 0.01),
        (bernoulli(0.1), 0.1),
        (bernoulli(0.5), 0.5),
        (lambda generator: generator.betavariate(1, 9), 0.1),
        (lambda generator: generator.betavariate(0.1, 0.9), 0.1),
    ],
)
def test_a_mean_at_the_limit_raises_an_alarm_no_oftener_than_promised(
    draw: Draw, limit: float
) -> None:
    """The hardest mean that is still good, looked at after each of 1,000 observations."""
    alpha, runs = 0.1, 200
    alarms = sum(first_alarm(draw, limit, alpha, 1000, seed) is not None for seed in range(runs))
    # The seeds make each run the same, and Ville's bound is not tight: no margin is needed.
    assert alarms <= runs * alpha


def test_a_mean_that_depends_on_the_past_keeps_the_level() -> None:
    """After each success the mean is zero for a while: dependent, and never above the limit."""

    def run(seed: int) -> bool:
        generator, total, silent = random.Random(seed), 0.0, 0
        for count in range(1, 1001):
            failed = not silent and generator.random() < 0.05
            silent = 5 if failed else max(0, silent - 1)
            total += failed
            if failed and exceeds(total, count, 0.05, 0.1):
                return True
        return False

    assert sum(run(seed) for seed in range(200)) <= 20


@pytest.mark.parametrize(
    ("rate", "limit", "within"),
    [(1.0, 0.01, 5), (0.5, 0.01, 20), (0.1, 0.01, 200), (0.03, 0.01, 3000), (0.1, 0.05, 1500)],
)
def test_what_is_clearly_bad_is_found_quickly(rate: float, limit: float, within: int) -> None:
    found = [first_alarm(bernoulli(rate), limit, 0.01, within, seed) for seed in range(20)]
    assert all(count is not None for count in found), found


def test_a_small_violation_is_found_in_the_end() -> None:
    """1 % above its limit, by the expected counts: not by 100,000 of them, but by ten million."""
    assert not exceeds(0.101 * 1e5, 100_000, 0.1, 0.01)
    assert exceeds(0.101 * 1e7, 10_000_000, 0.1, 0.01)


def test_a_bounded_variable_of_little_spread_is_judged_by_its_mean() -> None:
    assert exceeds(0.3 * 60, 60, 0.05, 0.01)
    assert not exceeds(0.049 * 10_000, 10_000, 0.05, 0.01)


@given(
    st.integers(min_value=0, max_value=5000),
    st.floats(min_value=0, max_value=1),
    st.floats(min_value=1e-4, max_value=0.999),
)
def test_the_evidence_grows_with_the_sum_and_with_a_stricter_limit(
    count: int, share: float, limit: float
) -> None:
    total = share * count
    here = log_evidence(total, count, limit)
    assert math.isfinite(here)
    assert log_evidence(min(count, total + 1), count, limit) >= here - 1e-9
    if count and total / count > limit:
        assert log_evidence(total, count, limit / 2) >= here - math.log(48)


@given(
    st.integers(min_value=1, max_value=100_000),
    st.floats(min_value=0, max_value=1),
    st.sampled_from([0.1, 0.01, 0.001]),
)
@settings(max_examples=50)
def test_the_lower_bound_is_where_the_test_changes(count: int, share: float, alpha: float) -> None:
    total = share * count
    bound = lower_bound(total, count, alpha)
    assert 0 <= bound <= total / count + 1e-9
    if bound > 1e-6:
        assert exceeds(total, count, bound * 0.999, alpha)
        above = bound * 1.001 + 1e-9
        assert above >= 1 or not exceeds(total, count, above, alpha)


def test_the_lower_bound_comes_close_to_the_mean() -> None:
    bounds = [lower_bound(0.2 * count, count, 0.05) for count in (10, 100, 1000, 10_000, 1_000_000)]
    assert bounds == sorted(bounds)
    assert bounds[-1] > 0.198
    assert lower_bound(0, 100, 0.05) == 0
    assert lower_bound(0, 0, 0.05) == 0


def test_without_observations_there_is_no_evidence() -> None:
    assert log_evidence(0, 0, 0.3) == pytest.approx(0)


@pytest.mark.parametrize(("total", "count", "limit"), [(1, 1, 0), (1, 1, 1), (2, 1, 0.5)])
def test_what_is_out_of_range_is_refused(total: float, count: int, limit: float) -> None:
    with pytest.raises(ValueError, match=r"limit|sum"):
        log_evidence(total, count, limit)
