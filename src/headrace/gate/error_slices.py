"""Where one model errs more than another, found without being told where to look."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from headrace.gate.exact import holm
from headrace.gate.metrics import Outcome, Task, Units, is_probability

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BINS: Final = 5
_MOST_VALUES: Final = 20
_FEWEST_ROWS: Final = 20


@dataclass(frozen=True)
class ErrorSlice:
    """Rows in which the candidate's error is larger than the champion's.

    Attributes:
        column, rule: which rows, such as ``heat`` and ``0.3 to 1.2`` or ``= m1``.
        rows: how many.
        candidate, champion: mean loss of each there.
        p_value: one-sided, adjusted by Holm's method over all parts that were tried.
    """

    column: str
    rule: str
    rows: int
    candidate: float
    champion: float
    p_value: float


@dataclass(frozen=True)
class Search:
    """What was searched, and what was found.

    Attributes:
        loss: what a row's error is.
        tried: how many parts of the rows were tested.
        found: those with certainty, the surest first.
    """

    loss: str
    tried: int
    found: tuple[ErrorSlice, ...]


def losses(outcomes: tuple[Outcome, Outcome], task: Task) -> tuple[str, Floats, Floats]:
    """The error of each row by each model: its name, and two arrays of shape (n,)."""
    import numpy as np

    ours, theirs = outcomes
    if task == "regression":
        first, second = (np.abs(each.truth - each.score) for each in outcomes)
        return "absolute error", first, second
    if task == "binary" and is_probability(ours.score) and is_probability(theirs.score):
        first, second = ((each.truth - each.score) ** 2 for each in outcomes)
        return "squared distance of score and truth", first, second
    first, second = ((each.truth != each.label).astype(np.float64) for each in outcomes)
    return "share of wrong labels", first, second


def search(
    columns: Mapping[str, NDArray[np.generic]],
    outcomes: tuple[Outcome, Outcome],
    task: Task,
    units: Units,
    *,
    level: float = 0.05,
) -> Search:
    """Try each part of each column, alone, for rows on which the candidate's loss is larger.

    Numbers are cut into five bins of equal count, null in a bin of its own; texts are taken value
    by value, up to 20 of them. Parts of fewer than 20 rows are not tried. Each is a paired t-test
    of the difference in loss, over groups where rows are grouped, and Holm's method holds the
    chance of one or more false finds at ``level``. Combinations of columns are not tried.

    Args:
        columns: values of each row, by name: numbers (NaN for null) or texts.
        outcomes: of the candidate and of the champion, over the same rows.
        task: what the labels are.
        units: rows, or groups of rows that resemble each other.
        level: of the familywise error.
    """
    name, ours, theirs = losses(outcomes, task)
    tried = []
    for column, values in columns.items():
        for rule, mask in parts(values):
            rows = int(mask.sum())
            if rows >= _FEWEST_ROWS and rows < len(mask):
                p_value = _larger((ours - theirs)[mask], units.of_row[mask])
                means = float(ours[mask].mean()), float(theirs[mask].mean())
                tried.append(ErrorSlice(column, rule, rows, *means, p_value))
    adjusted = holm([each.p_value for each in tried])
    found = [
        ErrorSlice(each.column, each.rule, each.rows, each.candidate, each.champion, value)
        for each, value in zip(tried, adjusted, strict=True)
        if value <= level
    ]
    return Search(name, len(tried), tuple(sorted(found, key=lambda each: each.p_value)))


def parts(values: NDArray[np.generic]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Bins or values of a column, each with its name and rows."""
    import numpy as np
    import pandas as pd

    null = np.asarray(pd.isna(values))
    if null.any():
        yield "is null", null
    if values.dtype.kind in "fiu":
        numbers = values.astype(np.float64)
        distinct = np.unique(numbers[~null])
        if len(distinct) > _BINS:
            edges = np.unique(np.quantile(numbers[~null], np.arange(_BINS + 1) / _BINS))
            for at, (low, high) in enumerate(pairwise(edges)):
                last = at == len(edges) - 2
                inside = (numbers >= low) & ((numbers <= high) if last else (numbers < high))
                yield f"{low:.4g} to {high:.4g}", inside
            return
        for value in distinct:
            yield f"= {value:.4g}", numbers == value
        return
    codes, distinct = pd.factorize(np.asarray(values, object))
    commonest = np.argsort(-np.bincount(codes[codes >= 0]), kind="stable")
    for code in commonest[:_MOST_VALUES]:
        yield f"= {distinct[code]}", codes == code


def _larger(difference: Floats, unit: NDArray[np.intp]) -> float:
    """P-value that the mean difference is above zero: a t-test over the sums of each unit."""
    import numpy as np
    from scipy import special

    mean = float(difference.mean())
    _, code = np.unique(unit, return_inverse=True)
    off = np.bincount(code, difference - mean)
    count = len(off)
    if count < 2 or mean <= 0:
        return 1.0
    error = math.sqrt(float((off**2).sum()) * count / (count - 1)) / len(difference)
    if error == 0:
        return 2.0**-count
    # No surer than the sign test of so many units can be.
    return max(float(special.stdtr(count - 1, -mean / error)), 2.0**-count)
