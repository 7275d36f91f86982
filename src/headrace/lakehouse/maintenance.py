"""Keeping a table small: checkpoints, compaction, and files that no version needs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Final

from headrace.lakehouse import sweep
from headrace.lakehouse.errors import (
    RetentionTooShortError,
    TableHeldError,
    VersionNotFoundError,
)
from headrace.lakehouse.log import version_range
from headrace.lakehouse.opening import delta_errors, directory, open_table
from headrace.lakehouse.properties import is_held
from headrace.lakehouse.retry import retry
from headrace.lakehouse.timeline import timeline

RETENTION_FLOOR: Final = timedelta(days=7)
#: Delta's own size of compacted files, where a table sets no ``delta.targetFileSize``.
COMPACTED_BYTES: Final = 100 * 1024 * 1024
FEWEST_TO_COMPACT: Final = 8


def vacuum(
    location: str | Path,
    retention: timedelta,
    dry_run: bool = False,
    *,
    floor: timedelta = RETENTION_FLOOR,
    orphans: bool = False,
    keep: Collection[int] | None = None,
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
        keep: versions that stay readable, however old. A table that is held is not touched
            without it.

    Returns:
        Absolute paths of the files removed.

    Raises:
        RetentionTooShortError: the retention is under the floor.
        TableHeldError: versions of the table are needed, and ``keep`` does not name them.
        VersionNotFoundError: a version to keep is lost already.
        NotADeltaTableError: there is no table.
    """
    path = directory(location)
    if retention < floor:
        raise RetentionTooShortError(str(path), retention, floor)
    if keep is None and is_held(path):
        raise TableHeldError(str(path))
    planned = sweep.plan(path, retention, keep=keep or (), orphans=orphans)
    for version in planned.lost:
        raise VersionNotFoundError(str(path), version, *version_range(path))
    if not dry_run:
        sweep.apply(planned)
    return sorted(str(path / name) for name in planned.removed)


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


def small_files(location: str | Path, target_bytes: int = COMPACTED_BYTES) -> int:
    """Files of the newest version that are worth merging: many small ones in one partition.

    Zero where fewer than eight lie together: each merge writes their rows again, and those of a
    larger file that they are merged with.

    Raises:
        NotADeltaTableError: there is no table.
    """
    now = timeline(directory(location))
    found = Counter(
        tuple(part for part in name.split("/")[:-1] if "=" in part)  # the partition
        for name, size in now.files(now.newest).items()
        if 0 < size < target_bytes // 2
    )
    return sum(count for count in found.values() if count >= FEWEST_TO_COMPACT)


def checkpoint(location: str | Path) -> None:
    """Write the table's state to a checkpoint, from which readers start.

    Raises:
        NotADeltaTableError: there is no table.
    """
    path = directory(location)
    table = open_table(path)
    with delta_errors(path):
        table.create_checkpoint()
    forget_hint(path)


def forget_hint(location: str | Path, version: int = -1) -> None:
    """Remove ``_last_checkpoint`` where it points beyond a version.

    The file spares readers a look at the log's directory, and the protocol asks for none. Where
    it is, Sail 0.7.2 finds older versions only if they have a checkpoint of their own, or the
    version before them has one: the others are a missing commit file to it.
    """
    hint = directory(location) / "_delta_log" / "_last_checkpoint"
    try:
        newest = json.loads(hint.read_bytes()).get("version", -1)
    except FileNotFoundError:
        return
    except (ValueError, AttributeError):
        newest = version + 1  # no reader can use it
    if newest > version:
        hint.unlink(missing_ok=True)
