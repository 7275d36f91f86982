"""Exact tests of paired wins and losses, and Holm's correction. Plain Python, without arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def wins_by_chance(wins: int, losses: int) -> float:
    """The chance of at least so many wins among the pairs that differ, if both are as likely.

    McNemar's exact test, one-sided: the tail of a binomial with 1/2 (McNemar 1947; Lehmann and
    Romano 2005, section 4.9). Pairs that agree tell nothing and are not counted.

    >>> round(wins_by_chance(9, 1), 6)
    0.010742
    """
    trials = wins + losses
    if wins <= 0:
        return 1.0
    if 2 * wins <= trials:
        # The long side of the distribution: one minus the short one.
        return 1.0 - _upper_tail(trials, losses + 1)
    return _upper_tail(trials, wins)


def _upper_tail(trials: int, least: int) -> float:
    """P(X >= least) of a binomial with 1/2, for ``least`` above the middle."""
    if least > trials:
        return 0.0
    log_first = (
        math.lgamma(trials + 1)
        - math.lgamma(least + 1)
        - math.lgamma(trials - least + 1)
        - trials * math.log(2)
    )
    total, term, at = 0.0, 1.0, least
    # The terms fall from here on; relative to the first they never overflow.
    while at <= trials and term > 1e-18 * total:
        total += term
        term *= (trials - at) / (at + 1)
        at += 1
    return min(1.0, math.exp(log_first) * total)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted so that their familywise error is held at any level (Holm 1979).

    Rejecting where the adjusted value is at most alpha makes one or more false rejections with a
    chance of at most alpha, however the tests depend on each other.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, at in enumerate(order):
        highest = max(highest, (len(order) - rank) * p_values[at])
        adjusted[at] = min(1.0, highest)
    return adjusted


def fewest_units(confidence: float) -> int:
    """The number of units below which no gain can be certain at a two-sided level.

    A model that is no better is ahead on all of n units with a chance of 2^-n, and then the
    whole percentile interval lies above zero; of one unit it has no width at all. From here on
    that chance is at most the tail of the interval, (1 - confidence) / 2 (the sign test).
    """
    return math.ceil(math.log2(2 / (1 - confidence)))
