"""Before a version may take an alias: batch scoring answers as the training did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace import parity
from headrace.environments import EnvironmentBuildError, LockNotFoundError, ensure, lock_of
from headrace.errors import HeadraceError
from headrace.gate.findings import Parity
from headrace.kernels import report_on_disk
from headrace.parity import environment, store
from headrace.parity.report import ParityReport, failed
from headrace.scoring.sample import SampleScores, fetched, score_rows
from headrace.settings import setting

if TYPE_CHECKING:
    from headrace.parity import Recorded
    from headrace.parity.environment import EnvironmentReport
    from headrace.registry import ModelVersion
    from headrace.workspace import Workspace

ROUTE = "batch"


@dataclass(frozen=True)
class ParityCheck:
    """What was compared before a promotion.

    Attributes:
        batch: the recorded rows, scored on the engine.
        environment: what would score them, against what trained; ``None`` where that is the
            engine's own, on another machine.
    """

    batch: ParityReport
    environment: EnvironmentReport | None

    @property
    def finding(self) -> Parity:
        """For the gate's rule, which refuses what does not agree."""
        batch = self.batch
        lines: tuple[str, ...] = ()
        if self.environment is not None:
            lines = tuple(str(each) for each in self.environment.differences if each.blocks)
        return Parity(
            route=batch.route,
            by=batch.by,
            rows=batch.rows,
            disagreements=batch.disagreements,
            difference=batch.difference,
            tolerance=batch.tolerance,
            margin=batch.margin,
            reason=batch.reason,
            record=batch.record,
            environment=lines,
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "batch": self.batch.as_json(),
            "environment": None if self.environment is None else self.environment.as_json(),
        }


def check(workspace: Workspace, version: ModelVersion) -> ParityCheck:
    """Score the recorded rows on the engine, compare, and keep the report.

    Nothing that is wrong with the model is raised: it is a reason to refuse the promotion.
    """
    path = fetched(workspace, version)
    compared = _environment(path)
    batch = _batch(workspace, version, path)
    subject = store.Subject(version.name, version.version)
    store.keep(workspace.store, subject, [batch])
    return ParityCheck(batch, compared)


def _batch(workspace: Workspace, version: ModelVersion, path: Path) -> ParityReport:
    recorded: Recorded | None = None
    try:
        recorded = parity.recorded(path)
        if recorded is None:
            why = "the training recorded no answers; train it again: headrace run --full"
            return failed(ROUTE, why)
        scored = score_rows(workspace, version, recorded.inputs)
    except HeadraceError as error:
        return failed(ROUTE, f"{error.what} {error.why or ''}".strip(), recorded)
    return _compared(recorded, scored, path)


def _compared(recorded: Recorded, scored: SampleScores, path: Path) -> ParityReport:
    answers = scored.answers
    if "score" not in answers.column_names:
        named = ", ".join(answers.column_names)
        return failed(ROUTE, f"there is no score among the answers: {named}", recorded)
    labels = answers.column("label").to_pylist() if "label" in answers.column_names else None
    return parity.compare(
        recorded,
        answers.column("score").to_pylist(),
        labels,
        parity.tolerance_of(path),
        ROUTE,
        scored.scorer,
    )


def _environment(path: Path) -> EnvironmentReport | None:
    """What batch scoring and the plane would score with, against the lock that trained."""
    try:
        lock = lock_of(path)
        report = report_on_disk(path)
        if report is not None and report.proven:
            recorded = parity.recorded(path)
            return environment.compare_runtime(recorded, environment.runtime_here(), lock.digest)
        if setting("HEADRACE_ENGINE") != "sail":
            return None
        installed = environment.installed_in(ensure(lock))
    except (LockNotFoundError, EnvironmentBuildError, parity.ParityError) as error:
        line = environment.EnvironmentDifference(error.where or str(path), None, error.why)
        return environment.EnvironmentReport("worker", "", "unknown", (line,))
    return environment.compare_environment(lock, installed, "worker")
