"""What happens to a scoring that did not end: finished if its commit was made, else forgotten."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headrace import clock, lakehouse
from headrace.catalog import Access, Operation
from headrace.crash import crash_point
from headrace.scoring import store
from headrace.scoring.flows import flows

if TYPE_CHECKING:
    from headrace.workspace import Workspace


def recover(workspace: Workspace, table: str) -> None:
    """Finish or forget what a killed process began. Call it with the table's lock held."""
    while record := store.last(workspace.store, table, "pending"):
        version = committed(workspace, record)
        if version is None:
            _forget(workspace, record, "the process was killed")
        else:
            finish(workspace, record, version)


def committed(workspace: Workspace, record: store.Record) -> int | None:
    """The version that holds the scoring's commit, or ``None`` if there is no such commit."""
    location = location_of(workspace, record.table)
    if not lakehouse.exists(location):
        return None
    after = -1 if record.version_before is None else record.version_before
    return lakehouse.commit_of(location, record.id, after=after)


def finish(
    workspace: Workspace,
    record: store.Record,
    version: int,
    inputs: Sequence[str] | None = None,
) -> store.Record:
    """Name the table, record the lineage, and close the record. Safe to repeat.

    Args:
        workspace: the project.
        record: of the scoring.
        version: the version that holds its commit.
        inputs: columns that the model takes; ``None`` where they are not known.
    """
    location = location_of(workspace, record.table)
    staging = Path(location) / record.id
    # After a merge the staged files are copies; otherwise those under "changed" are the table's.
    leftover = staging if record.mode == "merge" else staging / "removed"
    shutil.rmtree(leftover, ignore_errors=True)
    workspace.catalog.create_table(record.table, location)
    source = workspace.catalog.find(record.input_table)
    workspace.lineage.record(
        Operation(
            id=record.id,
            kind="score",
            subject=record.table,
            session_id=None,
            run_id=None,
            started_at=record.started_at,
            finished_at=clock.now(),
            reads=(
                Access(
                    "table",
                    record.input_table,
                    record.input_version,
                    tuple(record.columns),
                    source.location if source else None,
                ),
                Access("model", f"models:/{record.model_id}"),
            ),
            writes=(Access("table", record.table, version, None, location),),
            mode=record.mode,
            flows=flows(lakehouse.schema(location, version).names, record.columns, inputs),
        )
    )
    crash_point("scoring.recorded")
    return store.change(workspace.store, record, status="done", version=version)


def abandon(workspace: Workspace, record: store.Record, error: BaseException) -> None:
    """Forget a scoring that failed, unless its commit was made: then the next one finishes it."""
    if committed(workspace, record) is None:
        _forget(workspace, record, cause(error))


def _forget(workspace: Workspace, record: store.Record, why: str) -> None:
    shutil.rmtree(Path(location_of(workspace, record.table)) / record.id, ignore_errors=True)
    store.change(workspace.store, record, status="failed", error=why)


def location_of(workspace: Workspace, table: str) -> str:
    """Where the table lies, or would lie."""
    entry = workspace.catalog.find(table)
    return str(
        entry.location if entry and entry.location else workspace.catalog.location_for(table)
    )


def cause(error: BaseException) -> str:
    """The line of an error that tells most: the last of a worker's traceback, else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1 if any(line.startswith("Traceback") for line in lines) else 0][:500]
