"""The gate: candidate and champion on the same frozen rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from headrace.gate import rule
from headrace.gate.conditions import enough, meets
from headrace.gate.findings import Bound, Difference, Findings, LeakCheck, LeakName, SliceReport
from headrace.gate.metrics import METRICS, Outcome, Task, Units
from headrace.gate.statistics import (
    Comparison,
    compare,
    groups_as_units,
    rows_as_units,
    support,
)
from headrace.promotion.errors import MetricTaskError, MetricUndefinedError, TooManySlicesError
from headrace.promotion.scores import column_values, contender, frozen_rows, outcome, task_of
from headrace.tracking.errors import HoldoutOneClassError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.gate.spec import GateSpec
    from headrace.gate.verdict import Verdict
    from headrace.registry import ModelVersion
    from headrace.tracking import TrainingSpec
    from headrace.tracking.holdout import HoldoutRows
    from headrace.workspace import Workspace

_MOST_SLICES: Final = 50
_SEED: Final = 20260101  # fixed: the same rows and models give the same verdict


@dataclass(frozen=True)
class _Slice:
    column: str
    value: str
    mask: Any


def judge(
    workspace: Workspace,
    training: TrainingSpec,
    gate: GateSpec,
    candidate: ModelVersion,
    champion: ModelVersion | None,
) -> Verdict:
    """Compare a candidate with the champion on the candidate's frozen hold-out.

    It is promoted if its metric is better by a paired bootstrap interval that lies above
    ``min_gain``, and every bound is met, overall and in each slice with enough rows. Rows of a
    group are resampled together. A first model has bounds to meet and nobody to beat.

    Changes nothing; ``promote`` carries the verdict out.

    Raises:
        GateError: the two cannot be compared; a subclass says why.
        HoldoutLostError: the frozen rows cannot be read.
        HoldoutOneClassError: they hold one class.
    """
    contenders = [contender(workspace, each) for each in (candidate, champion) if each is not None]
    beside = {*gate.slices, *([training.group] if training.group else [])}
    held = frozen_rows(workspace, contenders, beside)
    task = task_of(held.record)
    _check(training, gate, task, held)
    outcomes = [outcome(each, held, task) for each in contenders]
    measured = METRICS[gate.metric].value(outcomes[0])
    if math.isnan(measured):
        raise MetricUndefinedError(training.name, str(candidate), gate.metric)
    difference = None
    if champion is not None:
        units = _units(training, held)
        difference = _difference(training, gate, champion, units, outcomes, task)
    parts = list(_slices(training, gate, held))
    reports = tuple(_report(gate, part, outcomes, task) for part in parts)
    found = Findings(
        task=task,
        champion=None if champion is None else champion.version,
        metric=gate.metric,
        candidate=measured,
        difference=difference,
        bounds=tuple(_bounds(training, gate, candidate, outcomes[0], parts, reports)),
        slices=reports,
        leaks=_leaks(),
        rows=len(held.y),
        holdout_digest=held.record.digest,
    )
    return rule.decide(gate, found, model=training.name, version=candidate.version)


def _leaks() -> tuple[LeakCheck, ...]:
    names: tuple[LeakName, ...] = ("rows", "groups", "label", "times", "horizon")
    return tuple(
        LeakCheck(
            check=name, columns=(), measure="", value=None, rows=0, of=0, note="not looked at"
        )
        for name in names
    )


def _check(training: TrainingSpec, gate: GateSpec, task: Task, held: HoldoutRows) -> None:
    for name in (gate.metric, *gate.min, *gate.slice_floors):
        if task not in METRICS[name].tasks:
            known = [each.name for each in METRICS.values() if task in each.tasks]
            raise MetricTaskError(training.name, name, task, known)
    if task != "regression" and held.y.nunique() < 2:
        labels = held.record.labels or [None]
        value = labels[int(held.y.iloc[0])]
        raise HoldoutOneClassError(
            training.name, held.record.label, value, len(held.y), held.record.rule
        )


def _units(training: TrainingSpec, held: HoldoutRows) -> Units:
    if training.group is None:
        return rows_as_units(len(held.y))
    return groups_as_units(column_values(held.rows, training.group))


def _difference(
    training: TrainingSpec,
    gate: GateSpec,
    champion: ModelVersion,
    units: Units,
    outcomes: list[Outcome],
    task: Task,
) -> Difference:
    found: Comparison = compare(
        METRICS[gate.metric],
        outcomes[0],
        outcomes[1],
        units,
        confidence=gate.confidence,
        resamples=gate.resamples,
        seed=_SEED,
    )
    if math.isnan(found.champion) or not found.interval.resamples:
        raise MetricUndefinedError(training.name, str(champion), gate.metric)
    return Difference(
        champion=found.champion,
        gain=found.gain,
        low=found.interval.low,
        high=found.interval.high,
        confidence=found.interval.confidence,
        resamples=found.interval.resamples,
        units=found.units,
        support=support(units, outcomes[0].truth if task == "binary" else None),
        grouped_by=training.group,
    )


def _slices(training: TrainingSpec, gate: GateSpec, held: HoldoutRows) -> Iterator[_Slice]:
    import pandas as pd

    for column in gate.slices:
        values = pd.Series(column_values(held.rows, column))
        codes, distinct = pd.factorize(values, sort=True, use_na_sentinel=False)
        if len(distinct) > _MOST_SLICES:
            raise TooManySlicesError(training.name, column, len(distinct), _MOST_SLICES)
        for code, value in enumerate(distinct):
            name = "null" if pd.isna(value) else str(value)
            yield _Slice(column, name, codes == code)


def _report(gate: GateSpec, part: _Slice, outcomes: list[Outcome], task: Task) -> SliceReport:
    values = [_value(gate.metric, each.part(part.mask)) for each in outcomes]
    rows = int(part.mask.sum())
    positives = int(outcomes[0].truth[part.mask].sum()) if task == "binary" else None
    return SliceReport(
        column=part.column,
        slice=part.value,
        rows=rows,
        positives=positives,
        judged=enough(gate, rows, positives),
        candidate=values[0],
        champion=values[1] if len(values) > 1 else None,
    )


def _value(metric: str, part: Outcome) -> float | None:
    value = METRICS[metric].value(part)
    return None if math.isnan(value) else value


def _bounds(
    training: TrainingSpec,
    gate: GateSpec,
    candidate: ModelVersion,
    found: Outcome,
    parts: list[_Slice],
    reports: tuple[SliceReport, ...],
) -> Iterator[Bound]:
    for name, bound in gate.min.items():
        value = METRICS[name].value(found)
        if math.isnan(value):
            raise MetricUndefinedError(training.name, str(candidate), name)
        met = meets(name, value, bound)
        yield Bound(metric=name, bound=bound, value=value, met=met, rows=len(found.truth))
    for part, report in zip(parts, reports, strict=True):
        if not report.judged:
            continue
        for name, bound in gate.slice_floors.items():
            value = METRICS[name].value(found.part(part.mask))
            if math.isnan(value):
                raise MetricUndefinedError(training.name, str(candidate), name)
            yield Bound(
                metric=name,
                bound=bound,
                value=value,
                met=meets(name, value, bound),
                rows=report.rows,
                column=part.column,
                slice=part.value,
            )
