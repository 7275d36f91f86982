"""How far a metric lies apart between groups. Pure functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from headrace.gate.conditions import enough, is_fair
from headrace.gate.consistency import spread
from headrace.gate.findings import Fairness, FairnessValue
from headrace.gate.metrics import METRICS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headrace.gate.metrics import Outcome, Task
    from headrace.gate.spec import FairnessRule, GateSpec


def fairness(
    gate: GateSpec,
    rule: FairnessRule,
    groups: Sequence[tuple[str, NDArray[np.bool_]]],
    outcome: Outcome,
    task: Task,
) -> Fairness:
    """A metric in each group, and how far the judged ones lie apart.

    A group with fewer than ``min_positives`` rows of either class is told and not judged; nor is
    one in which the metric has no value.

    Args:
        gate: says how many rows a group needs.
        rule: which metric, and the bounds.
        groups: name and rows of each.
        outcome: of the candidate.
        task: what the labels are.
    """
    values = []
    for name, mask in groups:
        part = outcome.part(mask)
        rows = len(part.truth)
        positives = int(part.truth.sum()) if task == "binary" else None
        value = METRICS[rule.metric].value(part) if rows else float("nan")
        values.append(
            FairnessValue(
                slice=name,
                rows=rows,
                positives=positives,
                judged=enough(gate, rows, positives),
                value=None if math.isnan(value) else value,
            )
        )
    found = Fairness(
        column=rule.column,
        metric=rule.metric,
        values=tuple(values),
        gap=None,
        ratio=None,
        met=True,
    )
    gap, ratio = spread(found)
    found = found.model_copy(update={"gap": gap, "ratio": ratio})
    return found.model_copy(update={"met": is_fair(rule, found)})
