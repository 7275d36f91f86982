"""Metrics as functions of row counts, so that thousands of resamples are a few array passes.

A bootstrap resample is a vector of counts: how often each row was drawn. Every metric here is
evaluated for a whole matrix of counts at once. Metrics that are functions of sums (recall, log
loss, RMSE) become one matrix product; ranking metrics (average precision, ROC AUC) sort the rows
once and add up the counts along the sorted order.

Values agree with scikit-learn's functions of the same name; for several classes precision,
recall and F1 are macro averages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Index = NDArray[np.intp]
    Resampled = Callable[[Floats], Floats]

Task = Literal["binary", "multiclass", "regression"]

BINS: Final = 10
"""Bins of neighbouring scores in a calibration error."""

_DENSE = 5_000_000  # cells of a (groups, thresholds) matrix that is worth holding


@dataclass(frozen=True)
class Outcome:
    """What one model said about n rows, beside the truth.

    Attributes:
        truth: shape (n,). 0 and 1 for a binary task, class codes 0..k-1 for several classes,
            values for a regression.
        score: shape (n,). The positive class's probability, or the predicted value.
        label: shape (n,). The decided class in the codes of ``truth``; not read in a regression.
        several: whether there are more than two classes, also where these rows hold only two.
    """

    truth: Floats
    score: Floats
    label: Floats
    several: bool = False

    def part(self, mask: NDArray[np.bool_]) -> Outcome:
        """The chosen rows."""
        return Outcome(self.truth[mask], self.score[mask], self.label[mask], self.several)


@dataclass(frozen=True)
class Units:
    """What a resample draws: rows, or groups of rows that stay together.

    Attributes:
        of_row: shape (n,). The unit of each row, 0..count-1.
        count: the number of units.
    """

    of_row: Index
    count: int


@dataclass(frozen=True)
class Metric:
    """A named metric.

    Attributes:
        name: scikit-learn's name for it.
        tasks: where it is defined.
        greater_is_better: whether a larger value is a better model.
        prepare: sorts or adds up the rows once. The function that it returns takes counts of
            shape (resamples, units) and gives values of shape (resamples,), NaN if undefined.
    """

    name: str
    tasks: tuple[Task, ...]
    greater_is_better: bool
    prepare: Callable[[Outcome, Units], Resampled]

    def value(self, outcome: Outcome) -> float:
        """The metric on the rows as they are; NaN where it is undefined."""
        import numpy as np

        together = Units(np.zeros(len(outcome.truth), dtype=np.intp), 1)
        return float(self.prepare(outcome, together)(np.ones((1, 1)))[0])


def _of_sums(
    terms: Callable[[Outcome], Sequence[Floats]], combine: Callable[..., Floats]
) -> Callable[[Outcome, Units], Resampled]:
    """A metric that is ``combine`` of the sums of ``terms`` over the drawn rows."""

    def prepare(outcome: Outcome, units: Units) -> Resampled:
        import numpy as np

        totals = np.stack(
            [
                np.bincount(units.of_row, np.asarray(term, np.float64), minlength=units.count)
                for term in terms(outcome)
            ],
            axis=1,
        )
        return lambda counts: combine(*(counts @ totals).T)

    return prepare


def _divide(numerator: Floats, denominator: Floats, empty: float = float("nan")) -> Floats:
    import numpy as np

    result: Floats = np.full(np.shape(numerator), empty)
    np.divide(numerator, denominator, out=result, where=np.asarray(denominator) > 0)
    return result


def _confusion(outcome: Outcome) -> list[Floats]:
    """Per row: truly positive, decided positive, both."""
    return [outcome.truth, outcome.label, outcome.truth * outcome.label]


def _false_alarms(outcome: Outcome) -> list[Floats]:
    negative = 1 - outcome.truth
    return [outcome.label * negative, negative]


def _hits(outcome: Outcome) -> list[Floats]:
    import numpy as np

    return [(outcome.truth == outcome.label).astype(np.float64), np.ones(len(outcome.truth))]


def is_probability(score: Floats) -> bool:
    """Whether all scores lie in [0, 1]."""
    return bool(((score >= 0) & (score <= 1)).all())


def _log_losses(outcome: Outcome) -> list[Floats]:
    import numpy as np

    if not is_probability(outcome.score):
        return [np.full(len(outcome.truth), np.nan), np.ones(len(outcome.truth))]
    tiny = np.finfo(np.float64).eps
    p = np.clip(outcome.score, tiny, 1 - tiny)
    return [-np.where(outcome.truth > 0, np.log(p), np.log1p(-p)), np.ones(len(p))]


def _squares(outcome: Outcome) -> list[Floats]:
    import numpy as np

    return [(outcome.truth - outcome.score) ** 2, np.ones(len(outcome.truth))]


def _briers(outcome: Outcome) -> list[Floats]:
    import numpy as np

    squares, ones = _squares(outcome)
    return [squares if is_probability(outcome.score) else np.full(len(ones), np.nan), ones]


def _absolutes(outcome: Outcome) -> list[Floats]:
    import numpy as np

    return [np.abs(outcome.truth - outcome.score), np.ones(len(outcome.truth))]


def _variances(outcome: Outcome) -> list[Floats]:
    # Centred first: the sum of squares minus the square of the sum cancels badly otherwise.
    centred = outcome.truth - outcome.truth.mean()
    squares, ones = _squares(outcome)
    return [squares, centred, centred**2, ones]


def _r2(squares: Floats, centred: Floats, centred_squares: Floats, rows: Floats) -> Floats:
    return 1 - _divide(squares, centred_squares - _divide(centred**2, rows))


def _macro(
    per_class: Callable[[Floats, Floats, Floats], Floats],
) -> Callable[[Outcome, Units], Resampled]:
    """The mean of a per-class figure over the classes that are true or decided somewhere."""

    def prepare(outcome: Outcome, units: Units) -> Resampled:
        import numpy as np

        classes = np.union1d(outcome.truth, outcome.label)
        masks = [(outcome.truth == c, outcome.label == c) for c in classes]
        parts = [
            np.stack([np.bincount(units.of_row, m, minlength=units.count) for m in chosen], axis=1)
            for chosen in (
                [true for true, _ in masks],
                [decided for _, decided in masks],
                [true & decided for true, decided in masks],
            )
        ]

        def resampled(counts: Floats) -> Floats:
            true, decided, both = (counts @ part for part in parts)
            present = (true + decided) > 0
            return _divide(
                (per_class(true, decided, both) * present).sum(axis=1), present.sum(axis=1)
            )

        return resampled

    return prepare


def _f1(true: Floats, decided: Floats, both: Floats) -> Floats:
    return _divide(2 * both, true + decided, 0.0)


def _by_task(
    binary: Callable[[Outcome, Units], Resampled], several: Callable[[Outcome, Units], Resampled]
) -> Callable[[Outcome, Units], Resampled]:
    def prepare(outcome: Outcome, units: Units) -> Resampled:
        return (several if outcome.several else binary)(outcome, units)

    return prepare


def _segments(outcome: Outcome, merge_negatives: bool) -> tuple[Index, Index, Floats]:
    """Rows in descending order of score, cut into segments that share a threshold.

    Neighbouring thresholds are merged where no metric can see the cut: runs of negatives before
    the next positive for average precision; runs of one class for ROC AUC. What remains has
    about as many segments as there are rows of the rarer class, which is what makes thousands
    of resamples cheap.

    Returns:
        The order of the rows, the start of each segment in it, and the truth in that order.
    """
    import numpy as np

    order = np.argsort(-outcome.score, kind="stable")
    score, truth = outcome.score[order], outcome.truth[order]
    starts = np.flatnonzero(np.r_[True, score[1:] != score[:-1]])
    positives = np.add.reduceat(truth, starts)
    rows = np.diff(np.r_[starts, len(truth)])
    if merge_negatives:
        # A segment ends with a threshold that holds a positive.
        keep = np.r_[True, positives[:-1] > 0]
    else:
        kind = np.where(positives == 0, 0, np.where(positives == rows, 1, 2))
        keep = np.r_[True, (kind[1:] != kind[:-1]) | (kind[1:] == 2)]
    return order, starts[keep], truth


def _ranking(
    curve: Callable[[Floats, Floats], Floats], merge_negatives: bool
) -> Callable[[Outcome, Units], Resampled]:
    """A metric of the positives and negatives in each segment, by descending score.

    A few groups with many rows each become two matrix products; else the rows are gathered.
    """

    def prepare(outcome: Outcome, units: Units) -> Resampled:
        import numpy as np

        order, starts, truth = _segments(outcome, merge_negatives)
        unit = units.of_row[order]
        if units.count * len(starts) <= _DENSE and units.count < len(unit):
            segment = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(unit)]))
            cell = unit * len(starts) + segment
            size, shape = units.count * len(starts), (units.count, len(starts))
            of_positives = np.bincount(cell, truth, minlength=size).reshape(shape)
            of_negatives = np.bincount(cell, 1 - truth, minlength=size).reshape(shape)
            return lambda counts: curve(counts @ of_positives, counts @ of_negatives)

        def resampled(counts: Floats) -> Floats:
            drawn = counts[:, unit]
            everything = np.add.reduceat(drawn, starts, axis=1)
            positives = np.add.reduceat(drawn * truth, starts, axis=1)
            return curve(positives, everything - positives)

        return resampled

    return prepare


def _average_precision(positives: Floats, negatives: Floats) -> Floats:
    """Sum of precision at each threshold, weighted by the recall gained there."""
    found = positives.cumsum(axis=1)
    precision = _divide(found, found + negatives.cumsum(axis=1), 0.0)
    return _divide((positives * precision).sum(axis=1), found[:, -1])


def _roc_auc(positives: Floats, negatives: Floats) -> Floats:
    """Chance that a positive scores above a negative, ties counted half (Mann-Whitney)."""
    above = positives.cumsum(axis=1) - positives / 2
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    return _divide((above * negatives).sum(axis=1), pairs)


def _median_absolute_error(outcome: Outcome, units: Units) -> Resampled:
    import numpy as np

    errors = np.abs(outcome.truth - outcome.score)
    order = np.argsort(errors, kind="stable")
    errors, unit = errors[order], units.of_row[order]

    def resampled(counts: Floats) -> Floats:
        reached = counts[:, unit].cumsum(axis=1)
        total = reached[:, -1:]
        lower = errors[(reached > (total - 1) // 2).argmax(axis=1)]
        upper = errors[(reached > total // 2).argmax(axis=1)]
        return np.asarray((lower + upper) / 2)

    return resampled


def score_bins(score: Floats) -> Index:
    """The bin of each row: ``BINS`` of them, by ascending score, with about as many rows each.

    Equal scores share a bin, so there are fewer where scores repeat. Bins of equal width would
    hold nearly all rows of a rare class in the lowest one (Nguyen and O'Connor 2015).
    """
    import numpy as np

    inner = np.quantile(score, np.arange(1, BINS) / BINS, method="higher")
    edges = np.unique(inner[inner > score.min()])
    return np.searchsorted(edges, score, side="right").astype(np.intp)


def _calibration_error(outcome: Outcome, units: Units) -> Resampled:
    """Mean distance of score and share of positives, over bins (Naeini et al. 2015).

    The bins are those of the rows as they are, also on resamples.
    """
    import numpy as np

    if not is_probability(outcome.score):
        return lambda counts: np.full(len(counts), np.nan)
    cell = units.of_row * BINS + score_bins(outcome.score)
    off = np.bincount(cell, outcome.score - outcome.truth, minlength=units.count * BINS)
    distances = off.reshape(units.count, BINS)
    rows = np.bincount(units.of_row, minlength=units.count)
    return lambda counts: _divide(np.abs(counts @ distances).sum(axis=1), counts @ rows)


def _root(total: Floats, rows: Floats) -> Floats:
    import numpy as np

    return np.sqrt(_divide(total, rows))


_LABELS: tuple[Task, ...] = ("binary", "multiclass")

METRICS = {
    metric.name: metric
    for metric in (
        Metric("average_precision", ("binary",), True, _ranking(_average_precision, True)),
        Metric("roc_auc", ("binary",), True, _ranking(_roc_auc, False)),
        Metric("accuracy", _LABELS, True, _of_sums(_hits, _divide)),
        Metric("f1", _LABELS, True, _by_task(_of_sums(_confusion, _f1), _macro(_f1))),
        Metric(
            "precision",
            _LABELS,
            True,
            _by_task(
                _of_sums(_confusion, lambda _, decided, both: _divide(both, decided, 0.0)),
                _macro(lambda _, decided, both: _divide(both, decided, 0.0)),
            ),
        ),
        Metric(
            "recall",
            _LABELS,
            True,
            _by_task(
                _of_sums(_confusion, lambda true, _, both: _divide(both, true)),
                _macro(lambda true, _, both: _divide(both, true, 0.0)),
            ),
        ),
        Metric("log_loss", ("binary",), False, _of_sums(_log_losses, _divide)),
        Metric("brier", ("binary",), False, _of_sums(_briers, _divide)),
        Metric(
            "false_positive_rate",
            ("binary",),
            False,
            _of_sums(_false_alarms, _divide),
        ),
        Metric("calibration_error", ("binary",), False, _calibration_error),
        Metric("rmse", ("regression",), False, _of_sums(_squares, _root)),
        Metric("mae", ("regression",), False, _of_sums(_absolutes, _divide)),
        Metric("r2", ("regression",), True, _of_sums(_variances, _r2)),
        Metric("median_absolute_error", ("regression",), False, _median_absolute_error),
    )
}
"""Every metric that a gate can name."""
