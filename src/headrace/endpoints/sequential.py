"""A test of a mean that may be looked at after every observation: pure statistics.

The observations lie in [0, 1], such as "this request failed" as 0 or 1. The hypothesis is that
each one's mean, given those before it, is at most a limit. For an alternative ``p > limit`` let
``l = log(p (1 - limit) / (limit (1 - p)))``; the exponential of a bounded variable lies below its
chord (Hoeffding 1963), so that

    L_n(p) = exp(l S_n - n log((1 - limit) + limit e^l))
           = (p / limit)^S_n ((1 - p) / (1 - limit))^(n - S_n)

with the sum ``S_n`` of ``n`` observations is a nonnegative supermartingale that starts at 1 (the
sub-Bernoulli process of Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric,
nonasymptotic confidence sequences", Annals of Statistics 49(2), 2021). So is a mixture of them over
``p`` (Robbins, "Statistical methods related to the law of the iterated logarithm", Annals of
Mathematical Statistics 41(5), 1970). By Ville's inequality the mixture exceeds ``1 / alpha`` at
any time with probability at most ``alpha``: looking often, and stopping when one likes, costs
nothing. The observations need neither be independent nor keep the same mean.

The mixture weighs 48 alternatives equally. With ``p = sin(t)^2``, the scale on which a proportion
has the same spread everywhere, their distances ``t - t_limit`` form a geometric series, so that a
violation a hundred times the limit and one 1 % above it are both found, in the order of the
number of observations that a test made for that violation would need.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

_ALTERNATIVES: Final = 48
_NEAREST: Final = 2e-4
#: Of the way from the limit to certain failure: the last alternative is short of p = 1, which a
#: single success would rule out.
_FARTHEST: Final = 0.96
_HALVINGS: Final = 40


def log_evidence(total: float, count: int, limit: float) -> float:
    """Logarithm of the evidence that the mean is above a limit.

    Args:
        total: sum of the observations, each in [0, 1].
        count: number of the observations.
        limit: the mean under the hypothesis, in (0, 1).

    Returns:
        The logarithm of the mixture; 0 without observations. Above ``log(1 / alpha)`` the
        hypothesis is refuted at level ``alpha``, at whatever time that is looked at.

    Raises:
        ValueError: the limit or the sum is out of range.
    """
    if not 0 < limit < 1:
        raise ValueError(f"a limit lies between 0 and 1, not {limit}")
    if not -1e-9 <= total <= count * (1 + 1e-9):
        raise ValueError(f"{count} observations in [0, 1] cannot sum to {total}")
    rest = max(0.0, count - total)
    terms = [total * gain + rest * loss for gain, loss in _alternatives(limit)]
    highest = max(terms)
    mean = sum(math.exp(term - highest) for term in terms) / len(terms)
    return highest + math.log(mean)


def exceeds(total: float, count: int, limit: float, alpha: float) -> bool:
    """Whether it is proven that the mean is above the limit.

    Over all times of looking together, the probability of ``True`` while every observation's mean
    is at most ``limit`` is at most ``alpha``.
    """
    return log_evidence(total, count, limit) >= -math.log(alpha)


def lower_bound(total: float, count: int, alpha: float) -> float:
    """A bound that the mean stays above, at all times together with probability ``1 - alpha``.

    The largest limit that is refuted at level ``alpha``, to 1e-9 or so; 0 where none is.
    """
    if count == 0 or total <= 0:
        return 0.0
    low, high = 0.0, min(total / count, 1 - 1e-12)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle > 0 and exceeds(total, count, middle, alpha):
            low = middle
        else:
            high = middle
    return low


@lru_cache(maxsize=256)
def _alternatives(limit: float) -> tuple[tuple[float, float], ...]:
    """Of each alternative the logarithms of ``p / limit`` and ``(1 - p) / (1 - limit)``."""
    start = math.asin(math.sqrt(limit))
    farthest = (math.pi / 2 - start) * _FARTHEST
    nearest = min(_NEAREST, farthest / 2)
    ratio = (farthest / nearest) ** (1 / (_ALTERNATIVES - 1))
    ps = [math.sin(start + nearest * ratio**k) ** 2 for k in range(_ALTERNATIVES)]
    return tuple((math.log(p / limit), math.log((1 - p) / (1 - limit))) for p in ps)
