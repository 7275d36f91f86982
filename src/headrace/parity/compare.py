"""Answers against the recorded ones: pure, and without pandas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.kernels import report_on_disk
from headrace.kernels.proof import distances
from headrace.parity.report import Disagreement, ParityReport, failed

if TYPE_CHECKING:
    from headrace.parity.record import Recorded

#: Of a model without a proven kernel: the same library may sum in another order when it gets
#: another number of rows, and nothing else.
TOLERANCE: Final = 1e-9
_EXAMPLES: Final = 5


@dataclass(frozen=True)
class Tolerance:
    """What counts as the same answer.

    Attributes:
        score: distance of two scores, relative to scores above 1.
        margin: a label may differ where the row is this close to another label.
    """

    score: float = TOLERANCE
    margin: float = TOLERANCE


def tolerance_of(model: Path) -> Tolerance:
    """What the model's kernel promises; without a proven one the default."""
    report = report_on_disk(model)
    if report is None or not report.proven or report.tolerance is None:
        return Tolerance()
    return Tolerance(report.tolerance, report.tolerance if report.margin is None else report.margin)


def compare(
    recorded: Recorded,
    scores: Sequence[float | None],
    labels: Sequence[Any] | None,
    tolerance: Tolerance,
    route: str,
    by: str | None = None,
) -> ParityReport:
    """Compare answers with the recorded ones, row by row.

    Args:
        recorded: what the training process answered.
        scores: one a row, ``None`` where there was none.
        labels: one a row; not looked at where none were recorded.
        tolerance: what counts as the same.
        route, by: how the rows went and what answered, for the report.
    """
    import numpy as np

    counts = {len(scores), recorded.rows if labels is None else len(labels)}
    if counts != {recorded.rows}:
        why = f"{len(scores)} answers to {recorded.rows} rows"
        return failed(route, why, recorded, by)
    missing = np.array([score is None for score in scores], bool)
    found = np.array([np.nan if score is None else score for score in scores], np.float64)
    apart = distances(recorded.scores, found)
    wrong = missing | ~(apart <= tolerance.score)
    mislabelled = _mislabelled(recorded, labels, tolerance.margin)
    either = wrong | mislabelled
    examples = []
    for row in np.flatnonzero(either)[:_EXAMPLES].tolist():
        if wrong[row]:
            score = float(recorded.scores[row])
            examples.append(Disagreement(row, "score", score, scores[row]))
        else:
            label = None if labels is None else labels[row]
            examples.append(Disagreement(row, "label", (recorded.labels or [])[row], label))
    largest = float(apart.max(initial=0.0))
    return ParityReport(
        route=route,
        rows=recorded.rows,
        agreed=not examples,
        difference=largest if np.isfinite(largest) else None,
        disagreements=int(either.sum()),
        tolerance=tolerance.score,
        margin=tolerance.margin,
        examples=tuple(examples),
        reason=_reason(examples, int(either.sum()), recorded.rows, tolerance),
        record=recorded.digest,
        by=by,
    )


def _mislabelled(recorded: Recorded, labels: Sequence[Any] | None, margin: float) -> Any:
    """Rows that are not close to another label, and have one."""
    import numpy as np

    if recorded.labels is None:
        return np.zeros(recorded.rows, bool)
    given = [None] * recorded.rows if labels is None else list(labels)
    pairs = zip(recorded.labels, given, strict=True)
    differs = np.array([type(a) is not type(b) or a != b for a, b in pairs], bool)
    near = np.zeros(recorded.rows, bool) if recorded.margins is None else recorded.margins <= margin
    return differs & ~near


def _reason(
    examples: list[Disagreement], count: int, rows: int, tolerance: Tolerance
) -> str | None:
    if not examples:
        return None
    what = f"{count} of {rows} rows differ by more than {tolerance.score:g}"
    if all(example.output == "label" for example in examples):
        what = f"{count} of {rows} rows get another label"
    return f"{what}; {examples[0]}"
