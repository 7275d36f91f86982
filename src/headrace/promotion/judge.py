"""The gate: candidate and champion on the same frozen rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from headrace.gate import rule
from headrace.gate.calibration import calibration
from headrace.gate.conditions import meets
from headrace.gate.exact import wins_by_chance
from headrace.gate.findings import Bound, Difference, Findings
from headrace.gate.metrics import METRICS, Outcome, Task, Units
from headrace.gate.paired import pairs
from headrace.gate.statistics import (
    Comparison,
    compare,
    groups_as_units,
    rows_as_units,
    support,
)
from headrace.promotion import parity_check
from headrace.promotion.costs import latency, size
from headrace.promotion.errors import MetricTaskError, MetricUndefinedError
from headrace.promotion.leaks import leak_checks
from headrace.promotion.scores import column_values, contender, frozen_rows, outcome, task_of
from headrace.promotion.slices import Slice, groups_apart, reports, slices
from headrace.tracking.errors import HoldoutOneClassError

if TYPE_CHECKING:
    from headrace.gate.findings import SliceReport
    from headrace.gate.spec import GateSpec
    from headrace.gate.verdict import Verdict
    from headrace.promotion.scores import Contender
    from headrace.registry import ModelVersion
    from headrace.tracking import TrainingSpec
    from headrace.tracking.holdout import HoldoutRows
    from headrace.workspace import Workspace

SEED: Final = 20260101
"""Of all draws: the same rows and models give the same verdict."""


@dataclass(frozen=True)
class Judged:
    """What a judgement works on.

    Attributes:
        training, gate: the spec and the rule.
        held: the frozen rows.
        task: what the labels are.
        units: what a resample draws together.
        contenders: the candidate, and the champion if there is one.
        outcomes: what each said of the rows.
    """

    training: TrainingSpec
    gate: GateSpec
    held: HoldoutRows
    task: Task
    units: Units
    contenders: tuple[Contender, ...]
    outcomes: tuple[Outcome, ...]


def judge(
    workspace: Workspace,
    training: TrainingSpec,
    gate: GateSpec,
    candidate: ModelVersion,
    champion: ModelVersion | None,
) -> Verdict:
    """Compare a candidate with the champion on the candidate's frozen hold-out.

    It is promoted if its metric is better, by a paired bootstrap interval that lies above
    ``min_gain`` or by an exact test where there is one; if every bound is met, overall and in
    each slice with enough rows; if it is worse in no slice; if nothing leaked that training
    should not have known; and if batch scoring answers as the training did. Rows of a group are resampled together. A first model has bounds to
    meet and nobody to beat.

    Changes nothing but the kept reports of parity; ``promote`` carries the verdict out.

    Raises:
        GateError: the two cannot be compared; a subclass says why.
        HoldoutLostError: the frozen rows cannot be read.
        HoldoutOneClassError: they hold one class.
    """
    case = prepare(workspace, training, gate, candidate, champion)
    found = Findings(
        task=case.task,
        champion=None if champion is None else champion.version,
        metric=gate.metric,
        candidate=_value(case, gate.metric, case.outcomes[0], candidate),
        difference=None if champion is None else _difference(case, champion),
        **_parts(case, candidate),
        **_reliability(case),
        leaks=leak_checks(workspace, training, gate, case.contenders[0], case.held),
        latency=latency(workspace, case.contenders[0], case.held) if gate.latency_p99 else None,
        size=size(workspace, candidate) if gate.max_size else None,
        parity=parity_check.check(workspace, candidate).finding,
        rows=len(case.held.y),
        holdout_digest=case.held.record.digest,
    )
    return rule.decide(gate, found, model=training.name, version=candidate.version)


def prepare(
    workspace: Workspace,
    training: TrainingSpec,
    gate: GateSpec,
    candidate: ModelVersion,
    champion: ModelVersion | None,
) -> Judged:
    """Load and score what ``judge`` compares; raises as it does."""
    contenders = [contender(workspace, each) for each in (candidate, champion) if each is not None]
    columns = {*gate.slices, *(each.column for each in gate.fairness)}
    beside = {*columns, *([training.group] if training.group else [])}
    held = frozen_rows(workspace, contenders, beside)
    task = task_of(held.record)
    _check(training, gate, task, held)
    return Judged(
        training=training,
        gate=gate,
        held=held,
        task=task,
        units=_units(training, held),
        contenders=tuple(contenders),
        outcomes=tuple(outcome(each, held, task) for each in contenders),
    )


def _check(training: TrainingSpec, gate: GateSpec, task: Task, held: HoldoutRows) -> None:
    fair = (each.metric for each in gate.fairness)
    for name in (gate.metric, *gate.min, *gate.slice_floors, *fair):
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


def _value(case: Judged, metric: str, found: Outcome, version: ModelVersion) -> float:
    value = METRICS[metric].value(found)
    if math.isnan(value):
        raise MetricUndefinedError(case.training.name, str(version), metric)
    return value


def _difference(case: Judged, champion: ModelVersion) -> Difference:
    gate, metric = case.gate, METRICS[case.gate.metric]
    ours, theirs = case.outcomes
    found: Comparison = compare(
        metric,
        ours,
        theirs,
        case.units,
        confidence=gate.confidence,
        resamples=gate.resamples,
        seed=SEED,
    )
    if math.isnan(found.champion) or not found.interval.resamples:
        raise MetricUndefinedError(case.training.name, str(champion), gate.metric)
    exact = None if case.training.group or gate.min_gain else pairs(metric, ours, theirs)
    return Difference(
        champion=found.champion,
        gain=found.gain,
        low=found.interval.low,
        high=found.interval.high,
        confidence=found.interval.confidence,
        resamples=found.interval.resamples,
        units=found.units,
        support=support(case.units, ours.truth if case.task == "binary" else None),
        grouped_by=case.training.group,
        pairs=exact,
        p_value=None if exact is None else wins_by_chance(exact.wins, exact.losses),
    )


def _reliability(case: Judged) -> dict[str, Any]:
    if case.task != "binary":
        return {}
    names = ("calibration", "champion_calibration")
    return {name: calibration(each) for name, each in zip(names, case.outcomes, strict=False)}


def _parts(case: Judged, candidate: ModelVersion) -> dict[str, Any]:
    """Slices, bounds and fairness."""
    parts = list(slices(case.training, case.gate.slices, case.held))
    told = reports(
        case.gate,
        parts,
        case.outcomes,
        case.task,
        case.units,
        grouped=case.training.group is not None,
        seed=SEED,
    )
    return {
        "slices": told,
        "bounds": tuple(_bounds(case, candidate, parts, told)),
        "fairness": groups_apart(case.training, case.gate, case.held, case.outcomes[0], case.task),
    }


def _bounds(
    case: Judged, candidate: ModelVersion, parts: list[Slice], told: tuple[SliceReport, ...]
) -> Iterator[Bound]:
    found = case.outcomes[0]
    for name, bound in case.gate.min.items():
        value = _value(case, name, found, candidate)
        met = meets(name, value, bound)
        yield Bound(metric=name, bound=bound, value=value, met=met, rows=len(found.truth))
    for part, report in zip(parts, told, strict=True):
        if not report.judged:
            continue
        for name, bound in case.gate.slice_floors.items():
            value = _value(case, name, found.part(part.mask), candidate)
            yield Bound(
                metric=name,
                bound=bound,
                value=value,
                met=meets(name, value, bound),
                rows=report.rows,
                column=part.column,
                slice=part.value,
            )
