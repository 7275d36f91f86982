"""Routing is sticky, monotone and fair."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.endpoints.errors import InvalidSharesError
from headrace.endpoints.routing import Router, Split, check_shares, position

seeds = st.integers(min_value=0, max_value=2**62)
shares = st.integers(min_value=0, max_value=100)


def split(green: int, seed: int = 7, revision: int = 1) -> Split:
    return Split(revision, {"blue": 100 - green, "green": green}, seed)


@given(st.text(), seeds)
def test_a_key_has_one_place(key: str, seed: int) -> None:
    assert 0 <= position(key, seed) < 100
    assert position(key, seed) == position(key, seed)


@given(st.text(), seeds, shares, shares)
def test_a_growing_share_only_adds_keys(key: str, seed: int, one: int, two: int) -> None:
    less, more = sorted((one, two))
    if split(less, seed).colour_of(key) == "green":
        assert split(more, seed).colour_of(key) == "green"


@given(st.text(), seeds)
def test_a_colour_without_a_share_gets_nothing(key: str, seed: int) -> None:
    assert split(0, seed).colour_of(key) == "blue"
    assert split(100, seed).colour_of(key) == "green"


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("green", [1, 10, 50, 90])
def test_the_shares_are_kept(green: int, keyed: bool) -> None:
    router, count = Router(split(green)), 20_000
    routed = Counter(router.route(f"device-{i}" if keyed else None) for i in range(count))
    expected = count * green / 100
    # Six standard deviations of a binomial: fixed seeds make this the same at each run.
    assert abs(routed["green"] - expected) < 6 * math.sqrt(expected * (1 - green / 100))


def test_requests_without_a_key_are_repeatable() -> None:
    one, two = Router(split(30)), Router(split(30))
    routed = [one.route(None) for _ in range(200)]
    assert routed == [two.route(None) for _ in range(200)]
    other = Router(split(30, seed=8))
    assert routed != [other.route(None) for _ in range(200)]


def test_seeds_place_keys_independently() -> None:
    both = sum(
        split(50, seed=1).colour_of(str(key)) == split(50, seed=2).colour_of(str(key)) == "green"
        for key in range(4000)
    )
    assert abs(both - 1000) < 6 * math.sqrt(4000 * 0.25 * 0.75)


def test_shares_are_completed() -> None:
    assert check_shares({"green": 100}) == {"blue": 0, "green": 100}


@pytest.mark.parametrize(
    "given_shares",
    [
        {},
        {"blue": 50},
        {"blue": 101, "green": -1},
        {"blue": 50.0, "green": 50},
        {"red": 100},
        {"blue": True, "green": 99},
    ],
)
def test_shares_that_are_no_split_are_refused(given_shares: dict[str, int]) -> None:
    with pytest.raises(InvalidSharesError) as caught:
        check_shares(given_shares)
    assert caught.value.shares == given_shares
