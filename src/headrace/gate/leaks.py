"""Looks for knowledge that training should not have had. Pure functions of arrays."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headrace.gate.metrics import Task

    Hashes = NDArray[np.uint64]

COPIES: Final = 5
"""Rows that agree in everything and are more than this are a state of the thing measured, such as
a device that is switched off, and not copies of one row."""

SCARCE: Final = 50
"""Rows of the rarer class below which a perfect feature can be luck."""

_MOST_BINS: Final = 256
_FEWEST_BINS: Final = 10
_ROWS_A_BIN: Final = 20
_ODD: Final = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: spreads the columns' hashes
_MOST_DROPPED: Final = 20

MEASURES: Final = {
    "binary": "area under the ROC curve",
    "multiclass": "share of errors removed",
    "regression": "R²",
}
"""What ``told_by`` gives, by task."""


def column_hash(values: NDArray[np.generic], place: int) -> Hashes:
    """A 64-bit hash of each value, to be added up over the columns of a row.

    Args:
        values: shape (n,): numbers (NaN for null) or texts (``None`` for null).
        place: of the column, from 0: the same value elsewhere hashes differently.
    """
    import numpy as np
    from pandas.util import hash_array

    if values.dtype.kind == "f":
        values = values.astype(np.float64) + 0.0  # -0.0 is 0.0
        values[np.isnan(values)] = np.nan
    hashes = hash_array(values, categorize=True)
    with np.errstate(over="ignore"):
        mixed: Hashes = (hashes ^ (hashes >> np.uint64(29))) * np.uint64(
            (_ODD * (2 * place + 1)) % 2**64
        )
    return mixed ^ (mixed >> np.uint64(32))


def shared_rows(train: Hashes, holdout: Hashes) -> float:
    """The share of hold-out rows that are copies of rows to train on.

    Vectors that occur more than ``COPIES`` times in all are not counted.

    Args:
        train, holdout: a hash of each row.
    """
    import numpy as np

    if not len(holdout):
        return 0.0
    _, code, counts = np.unique(
        np.concatenate([train, holdout]), return_inverse=True, return_counts=True
    )
    trained = np.zeros(len(counts), bool)
    trained[code[: len(train)]] = True
    held = code[len(train) :]
    return float((trained[held] & (counts[held] <= COPIES)).mean())


def coincidences(
    whole: Hashes, columns: Iterable[Hashes], trained: NDArray[np.bool_], exact: float
) -> float:
    """The largest share of hold-out rows that agree with training in all columns but one.

    Rows that agree by coincidence, because their columns are coarse, have many such neighbours;
    copies of rows have none that are not copies themselves.

    Args:
        whole: a hash of each row: the sum of those of its values.
        columns: hashes of the values by column; the first 20 are tried.
        trained: shape (n,). Which rows are trained on; the others are held out.
        exact: the share that agrees in all.
    """
    import numpy as np

    found = exact
    for dropped in islice(columns, _MOST_DROPPED):
        with np.errstate(over="ignore"):
            rest = whole - dropped
        found = max(found, float(np.isin(rest[~trained], rest[trained]).mean()))
    return found


def told_by(
    values: NDArray[np.generic], y: NDArray[np.float64], task: Task, *, seed: int = 0
) -> float:
    """How well one feature alone tells the label, from 0 (0.5 for an area) to 1.

    Two classes: the larger of the area under the ROC curve of the value itself, in either
    direction, and that of the share of positives by value, learned on half the rows and measured
    on the other. Several classes: the share of the commonest class's errors that the commonest
    class by value removes (Goodman and Kruskal's lambda), across halves. A regression: R² of the
    mean by value across halves, or of a straight line if that is more. Numbers are cut into
    bins of equal count where they have more values than bins: one for 20 rows, 10 to 256. What is learned from a value that occurs
    once tells nothing of the other half, so a key tells nothing.

    Args:
        values: shape (n,): numbers (NaN for null) or texts (``None`` for null).
        y: shape (n,): 0 and 1, class codes, or values.
        task: what ``y`` is.
        seed: of the halves.
    """
    import numpy as np

    codes, numbers = _codes(values)
    half = np.random.default_rng(seed).permutation(len(y)) < len(y) // 2
    by_task: dict[str, Callable[..., float]] = {
        "binary": _area_across,
        "multiclass": _lambda_across,
        "regression": _r2_across,
    }
    across = by_task[task]
    found = [across(codes, y, half), across(codes, y, ~half)]
    alone = [float(np.mean([each for each in found if not np.isnan(each)] or [0.0]))]
    if numbers is not None and task == "binary":
        # Nulls below all values, and above them: one of the two may say what they mean.
        sides = (-np.inf, np.inf) if np.isnan(numbers).any() else (0.0,)
        for missing in sides:
            area = _area(np.where(np.isnan(numbers), missing, numbers), y, 1 - y)
            alone += [area, 1 - area]
    if numbers is not None and task == "regression":
        alone.append(_line(numbers, y))
    return max(alone)


def _codes(values: NDArray[np.generic]) -> tuple[NDArray[np.intp], NDArray[np.float64] | None]:
    """A bin for each row, null in one of its own; and the values, where they are numbers."""
    import numpy as np
    import pandas as pd

    if values.dtype.kind not in "fiub":
        return pd.factorize(values, use_na_sentinel=False)[0].astype(np.intp), None
    numbers = values.astype(np.float64)
    distinct, codes = np.unique(numbers, return_inverse=True)
    bins = min(_MOST_BINS, max(_FEWEST_BINS, len(numbers) // _ROWS_A_BIN))
    if len(distinct) > bins:
        known = numbers[~np.isnan(numbers)]
        edges = np.unique(np.quantile(known, np.arange(1, bins) / bins))
        codes = np.searchsorted(edges, numbers, side="right")
        codes[np.isnan(numbers)] = len(edges) + 1
    return codes.astype(np.intp), numbers


def _means(codes: NDArray[np.intp], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of ``y`` by code, drawn towards the overall one by one row."""
    import numpy as np

    sums, rows = np.bincount(codes, y), np.bincount(codes)
    return np.asarray((sums + y.mean()) / (rows + 1))


def _learned(
    codes: NDArray[np.intp], y: NDArray[np.float64], half: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The mean of ``y`` by code on one half, and of all for a code that it lacks."""
    import numpy as np

    means = np.full(codes.max(initial=0) + 1, y[half].mean())
    own = _means(codes[half], y[half])
    means[: len(own)] = own
    return means


def _area_across(codes: NDArray[np.intp], y: NDArray[np.float64], half: NDArray[np.bool_]) -> float:
    import numpy as np

    if not half.any():
        return float("nan")
    learned, rest = _learned(codes, y, half), ~half
    positives, negatives = (
        np.asarray(np.bincount(codes[rest], weights, minlength=len(learned)), np.float64)
        for weights in (y[rest], 1 - y[rest])
    )
    return _area(learned, positives, negatives)


def _area(
    score: NDArray[np.float64], positives: NDArray[np.float64], negatives: NDArray[np.float64]
) -> float:
    """Mann-Whitney: the chance that a positive scores above a negative, ties counted half.

    Args:
        score: shape (n,): of a row, or of several that share it.
        positives, negatives: how many rows of each class have it.
    """
    import numpy as np

    _, code = np.unique(score, return_inverse=True)
    found, wrong = np.bincount(code, positives), np.bincount(code, negatives)
    pairs = found.sum() * wrong.sum()
    if not pairs:
        return float("nan")
    return float((found * (wrong.cumsum() - wrong / 2)).sum() / pairs)


def _lambda_across(
    codes: NDArray[np.intp], y: NDArray[np.float64], half: NDArray[np.bool_]
) -> float:
    import numpy as np

    classes = y.astype(np.intp)
    width = int(classes.max(initial=0)) + 1
    table = np.zeros((int(codes.max(initial=0)) + 1, width))
    np.add.at(table, (codes[half], classes[half]), 1)
    table += table.sum(axis=0) / max(table.sum(), 1)  # a value that is new: the commonest class
    wrong = (table.argmax(axis=1)[codes[~half]] != classes[~half]).mean()
    base = (np.bincount(classes[half], minlength=width).argmax() != classes[~half]).mean()
    return float(max(0.0, 1 - wrong / base)) if base else float("nan")


def _r2_across(codes: NDArray[np.intp], y: NDArray[np.float64], half: NDArray[np.bool_]) -> float:
    if not half.any():
        return float("nan")
    rest = y[~half]
    spread = float(((rest - rest.mean()) ** 2).sum())
    left = float(((rest - _learned(codes, y, half)[codes[~half]]) ** 2).sum())
    return max(0.0, 1 - left / spread) if spread else float("nan")


def _line(numbers: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    import numpy as np

    known = np.isfinite(numbers)
    if known.sum() < max(3, len(y) // 2):
        return 0.0
    x, z = numbers[known] - numbers[known].mean(), y[known] - y[known].mean()
    scale = float((x**2).sum() * (z**2).sum())
    share = float((x * z).sum()) ** 2 / scale if scale > 0 else 0.0
    return share * float(known.mean())


_AHEAD: Final = re.compile(
    r"(?:within|next|ahead|after|in)_?(\d+)_?"
    r"(?:(weeks?|w)|(days?|d)|(hours?|hrs?|h)|(minutes?|mins?|m)|(seconds?|secs?|s))(?![a-z])",
    re.IGNORECASE,
)


def horizon_of(label: str) -> timedelta | None:
    """How far a label looks ahead by its name, such as ``fails_within_24h``.

    >>> horizon_of("fails_within_24h")
    datetime.timedelta(days=1)
    """
    found = _AHEAD.search(label)
    if found is None:
        return None
    units = ("weeks", "days", "hours", "minutes", "seconds")
    unit = next(unit for unit, word in zip(units, found.groups()[1:], strict=True) if word)
    return timedelta(**{unit: int(found[1])})
