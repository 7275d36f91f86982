"""Compaction, checkpoints, and the removal of what no version that is kept needs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace import lakehouse, pins
from headrace.crash import crash_point
from headrace.errors import HeadraceError
from headrace.lakehouse import sweep
from headrace.locks import exclusive
from headrace.maintenance.errors import NothingToMaintainError
from headrace.maintenance.needs import is_request_log, served, unread
from headrace.maintenance.report import PinCost, TableReport

if TYPE_CHECKING:
    from headrace.catalog import Entry
    from headrace.maintenance.spec import MaintenanceSpec
    from headrace.workspace import Workspace

#: A checkpoint is written once so many commits have come after the one before.
CHECKPOINT_COMMITS: Final = 10

log = logging.getLogger(__name__)

Further = Callable[[str], Collection[int]]


def nothing(_table: str) -> Collection[int]:
    """No further versions."""
    return ()


@dataclass(frozen=True)
class _Job:
    workspace: Workspace
    spec: MaintenanceSpec
    dry_run: bool
    compact: bool
    further: Further
    unread: dict[str, int]


def maintain(
    workspace: Workspace,
    spec: MaintenanceSpec,
    tables: Iterable[str] | None = None,
    dry_run: bool = False,
    *,
    compact: bool = True,
    further: Further = nothing,
) -> list[TableReport]:
    """Keep tables small: merge small files, checkpoint, remove what nothing needs any more.

    What is needed: the newest version, every version of the retention, the versions that models
    are pinned to, what streaming tables have not read yet, and files that no commit names and
    that are younger than the retention. It is safe beside readers and writers, and to be killed:
    what is left over goes the next time. A table that fails does not stop the others.

    Args:
        workspace: the project.
        spec: the retention.
        tables: names; all tables of the catalog if not given.
        dry_run: change nothing, and tell what would be removed.
        compact: merge small files. A compaction is a commit: an overwrite that runs at the same
            time loses to it, so leave it out while the project runs.
        further: gives, for the qualified name of a table, more versions to keep, such as those
            that are shared.

    Returns:
        One report a table, by name.

    Raises:
        TableNotFoundError: a name that there is not; nothing was done.
        NothingToMaintainError: a view; nothing was done.
    """
    chosen = _chosen(workspace, tables)
    if not dry_run:
        synced = pins.sync(workspace, spec.pins, served(workspace))
        for pin in synced.released:
            log.info("%s of %s: pin released, %s", pin.table_version, pin.name, pin.reason)
    waiting = unread(workspace, max(spec.log_retention, spec.retention))
    job = _Job(workspace, spec, dry_run, compact, further, waiting)
    return [_guarded(job, entry) for entry in chosen]


def _chosen(workspace: Workspace, tables: Iterable[str] | None) -> list[Entry]:
    if tables is None:
        return [entry for entry in workspace.catalog.list() if entry.kind == "table"]
    found = {str(e.name): e for e in (workspace.catalog.resolve(name) for name in tables)}
    for name, entry in found.items():
        if entry.kind == "view":
            raise NothingToMaintainError(name)
    return [found[name] for name in sorted(found)]


def _guarded(job: _Job, entry: Entry) -> TableReport:
    name = str(entry.name)
    if not entry.managed or entry.location is None:
        return TableReport(name, "skipped", "it lies outside the warehouse, with its owner")
    if is_request_log(job.workspace, entry):
        return TableReport(name, "skipped", "the shipper of the request log keeps it small")
    locks = job.workspace.paths.state / "locks"
    locks.mkdir(mode=0o700, exist_ok=True)
    try:
        with exclusive(locks / f"maintain {name}.lock") as held:
            if not held:
                return TableReport(name, "busy", "another process maintains it")
            return _maintained(job, entry, Path(entry.location))
    except (HeadraceError, OSError) as error:
        why = getattr(error, "why", None)
        reason = str(error).splitlines()[0] + (f" {why}" if why else "")
        log.warning("%s was not maintained: %s", name, reason)
        return TableReport(name, "failed", reason)


def _maintained(job: _Job, entry: Entry, location: Path) -> TableReport:
    name = str(entry.name)
    before = lakehouse.data_files(location)
    # First: what follows opens the table several times, and reads each commit since the last one.
    if not job.dry_run and _commits_since_checkpoint(location) >= CHECKPOINT_COMMITS:
        lakehouse.checkpoint(location)
        crash_point("maintenance.checkpointed")
    small = lakehouse.small_files(location)
    report = TableReport(
        name,
        "planned" if job.dry_run else "done",
        files_before=len(before),
        bytes_before=sum(before.values()),
        compacted=small,
    )
    if small and not job.compact:
        report = replace(report, compacted=0, reason="small files stay: the project runs")
    elif small and not job.dry_run:
        lakehouse.compact(location)
        crash_point("maintenance.compacted")
    with pins.changing(job.workspace.store):
        held = pins.kept(job.workspace.store, entry)
        planned = _planned(job, name, location, {pin.table_version for pin in held})
        if planned.lost:
            return _held_back(report, planned, held)
        if not job.dry_run:
            sweep.apply(planned)
    removed = sum(planned.removed.values())
    return replace(
        report,
        version=planned.newest,
        files_after=len(planned.files) - len(planned.removed),
        bytes_after=sum(planned.files.values()) - removed,
        freed=removed + planned.log_bytes,
        log_files=len(planned.log),
        pinned_bytes=planned.kept_bytes,
        pins=_costs(held, planned),
    )


def _planned(job: _Job, name: str, location: Path, pinned: set[int]) -> sweep.Sweep:
    retention: timedelta = job.spec.retention_of(name)
    return sweep.plan(
        location,
        retention,
        log_retention=max(job.spec.log_retention, retention),
        keep=pinned | set(job.further(name)),
        since=job.unread.get(name),
    )


def _held_back(report: TableReport, planned: sweep.Sweep, held: list[pins.Pin]) -> TableReport:
    """Nothing is removed: which files the lost versions need cannot be told."""
    lost = sorted({str(pin) for pin in held if pin.table_version in planned.lost})
    versions = ", ".join(str(version) for version in planned.lost)
    release = f"; headrace pins release {lost[0]} lets go" if lost else ""
    return replace(
        report,
        state="failed",
        version=planned.newest,
        files_after=len(planned.files),
        bytes_after=sum(planned.files.values()),
        reason=f"nothing was removed: the log no longer leads to version {versions}, which is "
        f"kept for {', '.join(lost) or 'others'}{release}",
    )


def _commits_since_checkpoint(location: Path) -> int:
    names = [entry.name for entry in (location / "_delta_log").iterdir()]
    newest = lakehouse.latest_version(location) or 0
    return newest - max(lakehouse.checkpoints(names), default=-1)


def _costs(held: list[pins.Pin], planned: sweep.Sweep) -> tuple[PinCost, ...]:
    holders: dict[int, set[tuple[str, int]]] = {}
    for pin in held:
        holders.setdefault(pin.table_version, set()).add((pin.model, pin.version))
    costs = []
    for pin in held:
        cost = planned.costs[pin.table_version]
        alone = cost.exclusive if len(holders[pin.table_version]) == 1 else 0
        costs.append(PinCost(pin.model, pin.version, pin.table_version, cost.bytes, alone))
    return tuple(costs)
