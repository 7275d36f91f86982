"""A project as it is: tables, models, endpoints, predictions, and the last run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace import lakehouse, pins
from headrace.clock import iso
from headrace.endpoints import endpoint_names, endpoint_status
from headrace.pipeline.store import latest_counts
from headrace.project import store
from headrace.project.lock import run_holder
from headrace.project.notices import notices
from headrace.promotion import last_decision, overridden
from headrace.registry import champion, versions

if TYPE_CHECKING:
    from headrace.endpoints import EndpointStatus
    from headrace.pins import BrokenPin
    from headrace.pipeline.store import ExpectationCount
    from headrace.project.config import Project
    from headrace.project.notices import Notice
    from headrace.promotion import Verdict
    from headrace.workspace import Workspace


@dataclass(frozen=True)
class TableStatus:
    """A Delta table of the catalog.

    Attributes:
        version: its newest Delta version; ``None`` if its log is gone.
        rows: of that version.
        changed_at: when that version was committed.
        expectations: counts of its newest refresh.
    """

    name: str
    version: int | None
    rows: int | None
    changed_at: datetime | None
    location: str
    expectations: tuple[ExpectationCount, ...] = ()


@dataclass(frozen=True)
class ModelStatus:
    """A model of the project: which version is in production, and what the gate said last.

    Attributes:
        state: what became of the verdict: refused, waiting for approvals, promoted.
        overridden: whether a person put the champion there, and not the gate.
    """

    name: str
    versions: int
    champion: int | None
    verdict: Verdict | None
    state: str | None = None
    overridden: bool = False


@dataclass(frozen=True)
class Status:
    """Everything ``headrace status`` shows."""

    project: str
    root: str
    tables: tuple[TableStatus, ...]
    models: tuple[ModelStatus, ...]
    endpoints: tuple[EndpointStatus, ...]
    last_run: store.RunRecord | None
    run_holder: str | None
    broken_pins: tuple[BrokenPin, ...] = ()
    notices: tuple[Notice, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The status as plain values."""
        return {
            "project": self.project,
            "root": self.root,
            "tables": [
                {
                    "name": table.name,
                    "version": table.version,
                    "rows": table.rows,
                    "changed_at": iso(table.changed_at) if table.changed_at else None,
                    "location": table.location,
                    "expectations": [asdict(count) for count in table.expectations],
                }
                for table in self.tables
            ],
            "models": [
                {
                    "name": model.name,
                    "versions": model.versions,
                    "champion": model.champion,
                    "verdict": model.verdict.as_json() if model.verdict else None,
                    "state": model.state,
                    "overridden": model.overridden,
                }
                for model in self.models
            ],
            "endpoints": [endpoint.as_json() for endpoint in self.endpoints],
            "broken_pins": [pin.as_json() for pin in self.broken_pins],
            "notices": [notice.as_json() for notice in self.notices],
            "last_run": self._run_json(),
            "run_in_progress": self.run_holder,
        }

    def _run_json(self) -> dict[str, Any] | None:
        run = self.last_run
        if run is None:
            return None
        return {
            "id": run.id,
            "state": run.state,
            "started_at": iso(run.started_at),
            "finished_at": iso(run.finished_at) if run.finished_at else None,
            "steps": [
                {"step": step, "state": state, "message": message}
                for step, state, message in run.steps
            ],
        }


def status(workspace: Workspace, project: Project) -> Status:
    """Read the stores; runs no query and starts no engine."""
    return Status(
        project=project.name,
        root=str(workspace.paths.root),
        tables=tuple(_tables(workspace)),
        models=tuple(_model(workspace, name) for name in project.models),
        endpoints=tuple(endpoint_status(workspace, name) for name in endpoint_names(workspace)),
        last_run=store.last_run(workspace.store),
        run_holder=run_holder(workspace.paths),
        notices=tuple(notices(workspace, project)),
        broken_pins=tuple(pins.broken(workspace.store, workspace.catalog)),
    )


def _tables(workspace: Workspace) -> list[TableStatus]:
    found = []
    for entry in workspace.catalog.list():
        if entry.location is None:
            continue
        version = lakehouse.latest_version(entry.location)
        if version is None:
            found.append(TableStatus(str(entry.name), None, None, None, entry.location))
            continue
        newest = lakehouse.history(entry.location, limit=1)[0]
        rows = lakehouse.row_count(entry.location, version)
        counts = latest_counts(workspace.store, str(entry.name))
        found.append(
            TableStatus(
                str(entry.name), version, rows, newest.timestamp, entry.location, tuple(counts)
            )
        )
    return found


def _model(workspace: Workspace, name: str) -> ModelStatus:
    holder, decided = champion(workspace, name), last_decision(workspace, name)
    return ModelStatus(
        name,
        len(versions(workspace, name)),
        holder.version if holder else None,
        None if decided is None else decided.verdict,
        None if decided is None else decided.state,
        overridden(workspace, name) is not None,
    )
