"""Which table versions a model version cannot be built again without.

These are what its training run read, and the version its hold-out was frozen at. What those
tables were made from is not among them: a run that is repeated reads what the run read, and
nothing further up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from headrace import lakehouse
from headrace.catalog import Access
from headrace.pins import mlflow_registry
from headrace.tracking import store as trainings

if TYPE_CHECKING:
    from headrace.catalog import Operation
    from headrace.workspace import Workspace

TRAINED: Final = "trained on"
HOLDOUT: Final = "hold-out"


@dataclass(frozen=True)
class Need:
    """One table version that is needed.

    Attributes:
        access: the table, or the path of one without a name, and its version.
        why: ``trained on``, ``hold-out``, or both.
        table_id: of the table that was read; ``None`` where it is no longer there.
    """

    access: Access
    why: str
    table_id: str | None


def needed(workspace: Workspace, run_id: str | None, tags: Mapping[str, str]) -> list[Need]:
    """What the version of a run needs, each table version once.

    Args:
        workspace: the project.
        run_id: the run that made the model; the tags alone count without one.
        tags: of the version.
    """
    found: dict[tuple[str, str, int], Need] = {}
    read_until: dict[tuple[str, str, int], datetime] = {}
    for operation in _reads(workspace, run_id) if run_id else ():
        for access in operation.reads:
            if access.kind != "model" and access.version is not None:
                key = (access.kind, access.name, access.version)
                found.setdefault(key, Need(access, TRAINED, None))
                read_until.setdefault(key, operation.finished_at)
    if not found and "headrace.table_version" in tags:
        _add(found, tags["headrace.table"], int(tags["headrace.table_version"]), TRAINED)
    frozen = trainings.holdout(workspace.store, tags.get("headrace.holdout_digest", ""))
    if frozen is not None:
        _add(found, frozen.table_name, frozen.table_version, HOLDOUT)
    return [_identified(workspace, need, read_until.get(key)) for key, need in found.items()]


def location_of(workspace: Workspace, access: Access) -> str | None:
    """Directory of the table as it is now; ``None`` where there is none, or it is remote."""
    if access.kind == "path":
        at: str | None = access.name
    else:
        entry = workspace.catalog.find(access.name)
        at = entry.location if entry is not None else None
    return None if at is None or is_remote(at) else at


def is_remote(location: str) -> bool:
    """Whether a location is an address that only engines reach."""
    return "://" in location and not location.startswith("file:")


def _add(found: dict[tuple[str, str, int], Need], name: str, version: int, why: str) -> None:
    key = ("table", name, version)
    known = found.get(key)
    if known is None:
        found[key] = Need(Access("table", name, version), why, None)
    elif why not in known.why:
        found[key] = replace(known, why=f"{known.why}, {why}")


def _reads(workspace: Workspace, run_id: str) -> Iterable[Operation]:
    """Operations whose rows the run can have learned from.

    Those that carry its id; for a notebook also what its session collected before the run began.
    """
    during = [op for op in workspace.lineage.operations(run_id=run_id) if op.reads]
    if during:
        return during
    run = mlflow_registry.run(workspace.store, run_id)
    if run is None:
        return ()
    from headrace.engine import reads_of_run

    of_session = workspace.lineage.operations(session_id=run.session)
    return reads_of_run(of_session, run_id, run.started, run.previous_ended)


def _identified(workspace: Workspace, need: Need, read_until: datetime | None) -> Need:
    """With the table's id, unless the table was made after it was read."""
    location = location_of(workspace, need.access)
    if location is None:
        return need
    made = lakehouse.committed_at(location, need.access.version or 0)
    if made is not None and read_until is not None and made > read_until:
        return need
    return replace(need, table_id=lakehouse.table_id(location))
