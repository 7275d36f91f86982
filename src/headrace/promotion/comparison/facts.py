"""All that a comparison shows, as numbers."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from headrace.gate import statistics
from headrace.gate.calibration import calibration
from headrace.gate.error_slices import Search, search
from headrace.gate.metrics import METRICS, Outcome, is_probability
from headrace.gate.spec import GateSpec
from headrace.promotion.comparison.changes import Changes, changes, run_files
from headrace.promotion.judge import SEED, Judged, prepare
from headrace.promotion.scores import column_values
from headrace.promotion.slices import reports, slices
from headrace.tracking import TrainingSpec
from headrace.tracking import store as trainings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.gate.findings import Calibration, SliceReport
    from headrace.registry import ModelVersion
    from headrace.workspace import Workspace

_RESAMPLES: Final = 1000
_BARS: Final = 20


@dataclass(frozen=True)
class MetricGain:
    """One metric of both.

    Attributes:
        name: of the metric.
        candidate, champion: values.
        gain: positive where the candidate is better, also for losses.
        low, high: its paired bootstrap interval.
        decides: whether it is the gate's metric.
    """

    name: str
    candidate: float
    champion: float
    gain: float
    low: float
    high: float
    decides: bool


@dataclass(frozen=True)
class Importance:
    """How much of a model rests on a feature.

    Attributes:
        feature: its name.
        candidate, champion: its share of all importance, 0 to 1; ``None`` where it is no input.
    """

    feature: str
    candidate: float | None
    champion: float | None

    @property
    def shift(self) -> float:
        """The candidate's share less the champion's."""
        return (self.candidate or 0.0) - (self.champion or 0.0)


@dataclass(frozen=True)
class Histogram:
    """Shares of rows by score, from ``low`` to ``high`` in bars of equal width.

    Attributes:
        of: which rows: ``positive``, ``negative``, or ``all`` (of a regression, by error).
        low, high: ends of the axis.
        candidate, champion: share of the rows in each bar.
    """

    of: str
    low: float
    high: float
    candidate: tuple[float, ...]
    champion: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """Two versions on the candidate's frozen rows.

    Attributes:
        candidate, champion: ``name/version``.
        task, rows, holdout: what was measured on, the last one in words.
        confidence: level of the intervals, and of what is called certain.
        metrics: every metric of the task that has a value, the gate's first.
        slices: the gate's metric in the gate's slices.
        error_slices: parts of single columns in which the candidate errs more.
        importance: by feature, the largest shift first; empty with a note in ``notes`` where
            the two cannot be compared.
        calibrations: candidate and champion; ``None`` where scores are no probabilities.
        histograms: of the scores.
        same_label: share of rows with the same label; ``None`` in a regression.
        correlation: of the two scores (Pearson); ``None`` where one is constant.
        changes: what differs in the making.
        notes: what is not shown, and why.
    """

    candidate: str
    champion: str
    task: str
    rows: int
    holdout: str
    confidence: float
    metrics: tuple[MetricGain, ...]
    slices: tuple[SliceReport, ...]
    error_slices: Search
    importance: tuple[Importance, ...]
    calibrations: tuple[Calibration | None, Calibration | None]
    histograms: tuple[Histogram, ...]
    same_label: float | None
    correlation: float | None
    changes: Changes
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        body = asdict(self)
        body["slices"] = [each.model_dump(mode="json") for each in self.slices]
        body["calibrations"] = [
            None if each is None else each.model_dump(mode="json") for each in self.calibrations
        ]
        return body


def compare(
    workspace: Workspace,
    candidate: ModelVersion,
    champion: ModelVersion,
    gate: GateSpec | None = None,
) -> Comparison:
    """Score both on the candidate's frozen rows, and read what their runs recorded.

    Args:
        workspace: the project.
        candidate: whose hold-out it is.
        champion: what it is compared with.
        gate: for its metric, slices and confidence; a plain one if not given.

    Raises:
        GateError: the two cannot be compared; a subclass says why.
        HoldoutLostError: the frozen rows cannot be read.
    """
    record = trainings.last(workspace.store, candidate.name, run_id=candidate.run_id)
    spec = None if record is None else TrainingSpec.model_validate_json(record.spec)
    if spec is None or record is None:
        spec, task = _unknown(candidate), ""
    else:
        task = str(record.task)
    gate = gate or GateSpec(metric={"regression": "rmse", "multiclass": "f1"}.get(task, "roc_auc"))
    case = prepare(workspace, spec, gate, candidate, champion)
    ours, theirs = case.outcomes
    parts = list(slices(case.training, gate.slices, case.held))
    shifts, notes = _importance(workspace, candidate, champion)
    return Comparison(
        candidate=str(candidate),
        champion=str(champion),
        task=case.task,
        rows=len(case.held.y),
        holdout=f"{case.held.record.rule} of {case.held.record.table_name} at version "
        f"{case.held.record.table_version}",
        confidence=gate.confidence,
        metrics=tuple(sorted(_metrics(case), key=lambda each: not each.decides)),
        slices=reports(
            gate,
            parts,
            case.outcomes,
            case.task,
            case.units,
            grouped=spec.group is not None,
            seed=SEED,
        ),
        error_slices=search(
            _columns(case), (ours, theirs), case.task, case.units, level=1 - gate.confidence
        ),
        importance=shifts,
        calibrations=(
            (calibration(ours), calibration(theirs)) if case.task == "binary" else (None, None)
        ),
        histograms=tuple(_histograms(case)),
        same_label=_same_label(case),
        correlation=_correlation(ours, theirs),
        changes=changes(workspace, candidate, champion),
        notes=tuple(notes),
    )


def _unknown(candidate: ModelVersion) -> TrainingSpec:
    """A spec that says nothing, for a version whose own is not on record; ``prepare`` refuses it."""
    return TrainingSpec.model_validate(
        {
            "name": candidate.name,
            "train": "unknown.py:train",
            "table": candidate.tags.get("headrace.table", "unknown"),
            "label": candidate.tags.get("headrace.label", "unknown"),
            "holdout": {"hash": 0.5},
        }
    )


def _metrics(case: Judged) -> Iterator[MetricGain]:
    ours, theirs = case.outcomes
    for name, metric in METRICS.items():
        if case.task not in metric.tasks:
            continue
        if math.isnan(metric.value(ours)) or math.isnan(metric.value(theirs)):
            continue
        found = statistics.compare(
            metric,
            ours,
            theirs,
            case.units,
            confidence=case.gate.confidence,
            resamples=min(case.gate.resamples, _RESAMPLES),
            seed=SEED,
        )
        yield MetricGain(
            name=name,
            candidate=found.candidate,
            champion=found.champion,
            gain=found.gain + 0.0,  # and not -0
            low=found.interval.low,
            high=found.interval.high,
            decides=name == case.gate.metric,
        )


def _columns(case: Judged) -> dict[str, Any]:
    """Inputs of either model, and the gate's slices; times are left out."""
    names = dict.fromkeys((*case.gate.slices, *(n for c in case.contenders for n in c.inputs)))
    found = {name: column_values(case.held.rows, name) for name in names}
    return {name: values for name, values in found.items() if values.dtype.kind not in "mM"}


def _importance(
    workspace: Workspace, candidate: ModelVersion, champion: ModelVersion
) -> tuple[tuple[Importance, ...], list[str]]:
    tables = []
    for version in (candidate, champion):
        home = run_files(workspace, version)
        path = None if home is None else home / "importance" / "importance.json"
        if path is None or not path.is_file():
            return (), [f"importance is not shown: the run of {version} recorded none here"]
        rows = json.loads(path.read_text())
        tables.append((rows, any("spread" in row for row in rows)))
    (ours, permuted), (theirs, other) = tables
    if permuted != other:
        return (), ["importance is not shown: the two were measured in different ways"]
    one, two = _shares(ours), _shares(theirs)
    shifts = [Importance(name, one.get(name), two.get(name)) for name in {**one, **two}]
    return tuple(sorted(shifts, key=lambda each: (-abs(each.shift), each.feature))), []


def _shares(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Importance as a share of all; what a permutation improved counts as none."""
    values = {str(row["feature"]): max(float(row["importance"]), 0.0) for row in rows}
    total = sum(values.values()) or 1.0
    return {name: value / total for name, value in values.items()}


def _histograms(case: Judged) -> Iterator[Histogram]:
    import numpy as np

    ours, theirs = case.outcomes
    if case.task == "regression":
        errors = [each.score - each.truth for each in (ours, theirs)]
        edge = float(np.quantile(np.abs(np.concatenate(errors)), 0.99)) or 1.0
        yield _histogram("all", (-edge, edge), *errors)
        return
    if case.task == "multiclass":
        return
    both = [ours.score, theirs.score]
    ends = (0.0, 1.0)
    if not all(is_probability(score) for score in both):
        ends = (float(min(s.min() for s in both)), float(max(s.max() for s in both)))
    for of, value in (("positive", 1), ("negative", 0)):
        yield _histogram(of, ends, *(score[ours.truth == value] for score in both))


def _histogram(of: str, ends: tuple[float, float], ours: Any, theirs: Any) -> Histogram:
    import numpy as np

    shares = []
    for values in (ours, theirs):
        counts, _ = np.histogram(np.clip(values, *ends), _BARS, ends)
        shares.append(tuple(float(count) for count in counts / max(len(values), 1)))
    return Histogram(of, *ends, *shares)


def _same_label(case: Judged) -> float | None:
    if case.task == "regression":
        return None
    ours, theirs = case.outcomes
    return float((ours.label == theirs.label).mean())


def _correlation(ours: Outcome, theirs: Outcome) -> float | None:
    import numpy as np

    if ours.score.std() == 0 or theirs.score.std() == 0:
        return None
    return float(np.corrcoef(ours.score, theirs.score)[0, 1])
