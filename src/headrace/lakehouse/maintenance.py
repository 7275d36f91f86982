"""Keeping a table small: checkpoints, compaction, and files that no version needs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Final

from headrace.lakehouse.errors import RetentionTooShortError
from headrace.lakehouse.files import file_path
from headrace.lakehouse.opening import delta_errors, directory, open_table
from headrace.lakehouse.retry import retry

RETENTION_FLOOR: Final = timedelta(days=7)


def vacuum(
    location: str | Path,
    retention: timedelta,
    dry_run: bool = False,
    *,
    floor: timedelta = RETENTION_FLOOR,
    orphans: bool = False,
) -> list[str]:
    """Remove files that only versions older than the retention need.

    Time travel to those versions ends with it.

    Args:
        location: directory of the table.
        retention: how long the past stays readable, at least ``floor``.
        dry_run: remove nothing, and tell what would go.
        floor: ``RETENTION_FLOOR`` but for tables whose versions nobody goes back to.
        orphans: also files older than the retention that no commit names, such as a writer
            leaves that is killed before its commit.

    Returns:
        Absolute paths of the files removed.

    Raises:
        RetentionTooShortError: the retention is under the floor.
        NotADeltaTableError: there is no table.
    """
    path = directory(location)
    if retention < floor:
        raise RetentionTooShortError(str(path), retention, floor)
    hours = -(-retention // timedelta(hours=1))

    def action() -> list[str]:
        table = open_table(path)
        with delta_errors(path):
            gone: list[str] = table.vacuum(
                hours, dry_run=dry_run, enforce_retention_duration=False, full=orphans
            )
        return gone

    removed = retry(action, location=path, operation="vacuum")
    return sorted(str(file_path(path, file)) for file in removed)


def compact(location: str | Path, target_bytes: int | None = None) -> int:
    """Merge small files into larger ones, without a change to the rows; the newest version.

    Args:
        location: directory of the table.
        target_bytes: files of this size and above stay as they are; Delta's default if not
            given.

    Raises:
        DeltaConflictError: other writers won.
        NotADeltaTableError: there is no table.
    """
    path = directory(location)

    def action() -> int:
        table = open_table(path)
        with delta_errors(path):
            table.optimize.compact(target_size=target_bytes)
        newest: int = open_table(path).version()
        return newest

    return retry(action, location=path, operation="compaction")


def checkpoint(location: str | Path) -> None:
    """Write the table's state to a checkpoint, from which readers start.

    Raises:
        NotADeltaTableError: there is no table.
    """
    table = open_table(location)
    with delta_errors(directory(location)):
        table.create_checkpoint()
