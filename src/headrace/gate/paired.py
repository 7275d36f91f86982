"""Tests of one model against another in parts of the rows. Pure functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from headrace.gate.exact import wins_by_chance
from headrace.gate.findings import Pairs
from headrace.gate.metrics import Metric, Outcome, Units
from headrace.gate.statistics import bootstrap_gains, support

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

_FEWEST_RESAMPLES: Final = 400
_PER_TEST: Final = 4  # resamples beyond the smallest tail that Holm's first step asks for


@dataclass(frozen=True)
class Worse:
    """Whether a candidate is worse on some rows.

    Attributes:
        gain: positive where it is better.
        p_value: chance of so low a gain if it were no worse, one-sided.
        pairs: what an exact test counts; ``None`` where it is a bootstrap.
    """

    gain: float
    p_value: float
    pairs: Pairs | None


def pairs(metric: Metric, candidate: Outcome, champion: Outcome) -> Pairs | None:
    """Rows on which one model is right and the other wrong, where the metric is a share of rows.

    That are accuracy, and of two classes recall, whose rows are the positive ones.
    """
    if metric.name == "recall" and not candidate.several:
        positive = candidate.truth == 1
        candidate, champion = candidate.part(positive), champion.part(positive)
    elif metric.name != "accuracy":
        return None
    ours = candidate.label == candidate.truth
    theirs = champion.label == champion.truth
    return Pairs(wins=int((ours & ~theirs).sum()), losses=int((theirs & ~ours).sum()))


def resamples_for(tests: int, level: float) -> int:
    """Resamples with which the least of several p-values can be small enough for its level."""
    return max(_FEWEST_RESAMPLES, math.ceil(_PER_TEST * tests / level))


def worse(
    metric: Metric,
    candidate: Outcome,
    champion: Outcome,
    units: Units,
    *,
    grouped: bool,
    resamples: int,
    seed: int,
) -> Worse:
    """Test whether a candidate is worse than the champion on the same rows.

    McNemar's exact test where the metric is a share of independent rows. Else a paired
    bootstrap, of which the larger of two p-values is taken: the share of resamples without a
    loss (Efron and Tibshirani 1993, section 15.4), which sees that the gain's distribution is
    skewed, and Student's t with the bootstrap's standard error (section 12.5), which sees that
    few rows make that error uncertain. Neither is below 2^-n for n rows or groups that carry the
    comparison, the sign test's smallest p-value.

    Args:
        metric: what is compared; it must be defined for both.
        candidate, champion: outcomes over the same rows.
        units: what is drawn together.
        grouped: whether units are groups of rows.
        resamples: number of draws.
        seed: of the draws.
    """
    import numpy as np
    from scipy import special

    sign = 1 if metric.greater_is_better else -1
    gain = sign * (metric.value(candidate) - metric.value(champion))
    exact = None if grouped else pairs(metric, candidate, champion)
    if exact is not None:
        return Worse(gain, wins_by_chance(exact.losses, exact.wins), exact)
    gains = bootstrap_gains(metric, candidate, champion, units, resamples=resamples, seed=seed)
    gains = gains[~np.isnan(gains)]
    carrying = support(units, candidate.truth if _of_two(metric, candidate) else None)
    if gain >= 0 or len(gains) < 2 or carrying < 2:
        return Worse(gain, 1.0, None)
    without_loss = (1 + int((gains >= 0).sum())) / (len(gains) + 1)
    # The bootstrap's variance is that of n values divided by n, not by n - 1.
    error = float(gains.std(ddof=1)) * math.sqrt(carrying / (carrying - 1))
    student = float(special.stdtr(carrying - 1, gain / error)) if error > 0 else 0.0
    return Worse(gain, max(without_loss, student, 2.0**-carrying), None)


def _of_two(metric: Metric, outcome: Outcome) -> bool:
    return metric.tasks != ("regression",) and not outcome.several


def units_of(units: Units, mask: Mask) -> Units:
    """The units of some of the rows."""
    import numpy as np

    present, codes = np.unique(units.of_row[mask], return_inverse=True)
    return Units(codes.astype(np.intp), len(present))


def worse_in(
    masks: Sequence[Mask],
    metric: Metric,
    candidate: Outcome,
    champion: Outcome,
    units: Units,
    *,
    grouped: bool,
    level: float,
    seed: int,
) -> list[Worse]:
    """``worse`` in each of several parts, with resamples for a familywise error of ``level``."""
    resamples = resamples_for(len(masks), level)
    return [
        worse(
            metric,
            candidate.part(mask),
            champion.part(mask),
            units_of(units, mask),
            grouped=grouped,
            resamples=resamples,
            seed=seed,
        )
        for mask in masks
    ]
