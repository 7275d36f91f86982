"""All that is known of one version: its record, the reports, and its environment now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace import clock
from headrace.endpoints.records import model_directory
from headrace.environments import Environment, LockNotFoundError, built, lock_of
from headrace.kernels import report_on_disk
from headrace.parity.environment import (
    compare_environment,
    compare_runtime,
    installed_in,
    runtime_here,
)
from headrace.parity.errors import ParityError
from headrace.parity.record import recorded
from headrace.parity.store import Kept, reports_of

if TYPE_CHECKING:
    from headrace.parity.environment import EnvironmentReport
    from headrace.registry import ModelVersion
    from headrace.workspace import Workspace


@dataclass(frozen=True)
class VersionParity:
    """What is known of a version.

    Attributes:
        model: ``name/version``.
        recorded: what the training recorded, in a sentence.
        reports: of each way the rows went, newest first.
        environment: what serves against what trained; ``None`` where it is not known yet.
    """

    model: str
    recorded: str
    reports: tuple[Kept, ...]
    environment: EnvironmentReport | None

    @property
    def agreed(self) -> bool | None:
        """Whether nothing disagrees; ``None`` where nothing was compared."""
        found = [kept.report.agreed for kept in self.reports]
        if self.environment is not None:
            found.append(None if self.environment.agreed else False)
        if False in found:
            return False
        return True if True in found else None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "model": self.model,
            "recorded": self.recorded,
            "agreed": self.agreed,
            "reports": [
                {
                    **kept.report.as_json(),
                    "endpoint": kept.subject.endpoint,
                    "deployment": kept.subject.deployment,
                    "at": clock.iso(kept.at),
                }
                for kept in self.reports
            ],
            "environment": None if self.environment is None else self.environment.as_json(),
        }


def version_parity(workspace: Workspace, version: ModelVersion) -> VersionParity:
    """What has been compared of a version, and its environment as it is now."""
    path = model_directory(workspace.store, version.model_id)
    return VersionParity(
        model=str(version),
        recorded=_recorded(path),
        reports=tuple(reports_of(workspace.store, version.name, version.version)),
        environment=None if path is None else environment_of(path),
    )


def environment_of(path: Path) -> EnvironmentReport | None:
    """What would serve a model here, against what trained it; nothing is built for it.

    Returns:
        ``None`` where its environment has not been built yet, or it names none.
    """
    try:
        lock = lock_of(path)
        report = report_on_disk(path)
        if report is not None and report.proven:
            return compare_runtime(recorded(path), runtime_here(), lock.digest)
        environment: Environment | None = built(lock)
        if environment is None:
            return None
        return compare_environment(lock, installed_in(environment), "worker")
    except (LockNotFoundError, ParityError):
        return None


def _recorded(path: Path | None) -> str:
    if path is None:
        return "its files are not on this machine"
    try:
        found = recorded(path)
    except ParityError as error:
        return f"{error.what} {error.why}"
    if found is None:
        return "the training recorded no answers"
    return (
        f"the training recorded the answers to {found.rows} of {found.of:,} rows of the hold-out "
        f"(by {found.answered_by}, Python {found.python})"
    )
