"""Counts and quantiles of what a deployment has shown."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.endpoints.observations import Observations, quantiles


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


seconds = st.floats(min_value=2e-6, max_value=2000)


def test_nothing_was_seen_at_first() -> None:
    evidence = Observations().evidence()
    assert (evidence.requests, evidence.mean_distance, evidence.quantile(0.5)) == (0, None, None)
    assert quantiles(evidence) == {"p50": None, "p95": None, "p99": None}


def test_requests_are_counted() -> None:
    seen = Observations()
    for _ in range(3):
        seen.answered(0.01)
    seen.failed()
    evidence = seen.evidence()
    assert (evidence.answered, evidence.failed, evidence.requests) == (3, 1, 4)
    seen.reset()
    assert seen.evidence().requests == 0
    assert evidence.requests == 4, "evidence is of its moment"


def test_distances_are_clipped() -> None:
    seen = Observations(distance_cap=2.0)
    for distance in (0.5, 100.0, math.inf, math.nan):
        seen.compared(distance)
    evidence = seen.evidence()
    assert (evidence.compared, evidence.distance) == (4, 6.5)
    assert evidence.mean_distance == 1.625


@given(st.lists(seconds, min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_within_a_bucket(times: list[float], share: float) -> None:
    seen = Observations()
    for time in times:
        seen.answered(time)
    exact = sorted(times)[max(0, math.ceil(share * len(times)) - 1)]
    found = seen.evidence().quantile(share)
    assert found is not None
    assert exact * 0.999 <= found <= exact * 1.012


@given(st.lists(seconds, min_size=1, max_size=200), seconds)
def test_what_is_slower_than_a_limit_is_never_overstated(times: list[float], limit: float) -> None:
    seen = Observations()
    for time in times:
        seen.answered(time)
    slower = seen.evidence().slower_than(limit)
    assert slower <= sum(time > limit for time in times)
    assert slower >= sum(time > limit * 1.012 for time in times)


@pytest.mark.parametrize("time", [0.0, -1.0, 1e-9, 1e9])
def test_times_out_of_range_are_counted_at_the_ends(time: float) -> None:
    seen = Observations()
    seen.answered(time)
    assert sum(seen.evidence().latencies) == 1


def test_distances_never_sum_to_more_than_their_number_allows(switching: None) -> None:
    seen = Observations()
    stop = threading.Event()

    def wrong() -> None:
        while not stop.is_set():
            seen.compared(math.inf)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(wrong)
        try:
            for number in range(20_000):
                evidence = seen.evidence()
                assert evidence.distance <= evidence.compared * evidence.distance_cap
                if number % 100 == 0:
                    seen.reset()
        finally:
            stop.set()
