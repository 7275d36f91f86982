"""The parts of a hold-out that are judged by themselves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from headrace.gate.conditions import enough
from headrace.gate.exact import holm
from headrace.gate.fairness import fairness
from headrace.gate.findings import Fairness, SliceReport, SliceTest
from headrace.gate.metrics import METRICS, Outcome, Task, Units
from headrace.gate.paired import worse_in
from headrace.promotion.errors import TooManySlicesError
from headrace.promotion.scores import column_values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headrace.gate.spec import GateSpec
    from headrace.tracking import TrainingSpec
    from headrace.tracking.holdout import HoldoutRows

_MOST: Final = 50


@dataclass(frozen=True)
class Slice:
    """Rows that share the value of a column.

    Attributes:
        column, value: which; a null is ``null``.
        mask: shape (n,).
    """

    column: str
    value: str
    mask: NDArray[np.bool_]


def slices(training: TrainingSpec, columns: Iterable[str], held: HoldoutRows) -> Iterator[Slice]:
    """One for each value of each column.

    Raises:
        TooManySlicesError: a column has more than 50 values.
    """
    import pandas as pd

    for column in columns:
        values = pd.Series(column_values(held.rows, column))
        codes, distinct = pd.factorize(values, sort=True, use_na_sentinel=False)
        if len(distinct) > _MOST:
            raise TooManySlicesError(training.name, column, len(distinct), _MOST)
        for code, value in enumerate(distinct):
            yield Slice(column, "null" if pd.isna(value) else str(value), codes == code)


def reports(
    gate: GateSpec,
    parts: Sequence[Slice],
    outcomes: Sequence[Outcome],
    task: Task,
    units: Units,
    *,
    grouped: bool,
    seed: int,
) -> tuple[SliceReport, ...]:
    """The gate's metric in each slice, and where there is a champion whether it is worse there.

    Args:
        gate: the rule.
        parts: the slices.
        outcomes: of the candidate, and of the champion if there is one.
        task: what the labels are.
        units: what a resample draws together.
        grouped: whether these are groups.
        seed: of the draws.
    """
    plain = [_report(gate, part, outcomes, task) for part in parts]
    if len(outcomes) < 2:
        return tuple(plain)
    asked = [
        at
        for at, each in enumerate(plain)
        if each.judged and each.candidate is not None and each.champion is not None
    ]
    found = worse_in(
        [parts[at].mask for at in asked],
        METRICS[gate.metric],
        outcomes[0],
        outcomes[1],
        units,
        grouped=grouped,
        level=1 - gate.confidence,
        seed=seed,
    )
    adjusted = holm([each.p_value for each in found])
    for at, each, value in zip(asked, found, adjusted, strict=True):
        test = SliceTest(
            gain=each.gain,
            p_value=each.p_value,
            adjusted=value,
            worse=value <= 1 - gate.confidence,
            pairs=each.pairs,
        )
        plain[at] = plain[at].model_copy(update={"test": test})
    return tuple(plain)


def _report(gate: GateSpec, part: Slice, outcomes: Sequence[Outcome], task: Task) -> SliceReport:
    values = [METRICS[gate.metric].value(each.part(part.mask)) for each in outcomes]
    told = [None if math.isnan(value) else value for value in values]
    rows = int(part.mask.sum())
    positives = int(outcomes[0].truth[part.mask].sum()) if task == "binary" else None
    return SliceReport(
        column=part.column,
        slice=part.value,
        rows=rows,
        positives=positives,
        judged=enough(gate, rows, positives),
        candidate=told[0],
        champion=told[1] if len(told) > 1 else None,
    )


def groups_apart(
    training: TrainingSpec, gate: GateSpec, held: HoldoutRows, outcome: Outcome, task: Task
) -> tuple[Fairness, ...]:
    """What each fairness rule of the gate finds.

    Raises:
        TooManySlicesError: a column has more than 50 values.
    """
    return tuple(
        fairness(
            gate,
            rule,
            [(part.value, part.mask) for part in slices(training, [rule.column], held)],
            outcome,
            task,
        )
        for rule in gate.fairness
    )
