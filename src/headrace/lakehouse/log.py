"""Versions, history and time travel, from the commits of the Delta log."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from headrace.lakehouse.checkpoints import checkpoint_ids, checkpoints
from headrace.lakehouse.errors import (
    CorruptTableError,
    NotADeltaTableError,
    TimestampOutOfRangeError,
    VersionNotFoundError,
)
from headrace.lakehouse.opening import directory, open_table

COMMIT_NAME = re.compile(r"(\d{20})\.json")
#: Delta operations that rearrange files or settings and change no row.
UPKEEP: Final = frozenset(
    {"OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES"}
)


@dataclass(frozen=True)
class Commit:
    """One version of a table.

    Attributes:
        version: its number.
        timestamp: when it was made, in UTC, to the millisecond.
        operation: such as ``WRITE``, ``MERGE`` or ``OPTIMIZE``.
        metrics: what the writer counted; names differ between engines.
        user_metadata: the marker of the commit, if it has one.
    """

    version: int
    timestamp: datetime
    operation: str
    metrics: dict[str, Any]
    user_metadata: str | None


def exists(location: str | Path) -> bool:
    """Whether a Delta table lies there."""
    return latest_version(location) is not None


def latest_version(location: str | Path) -> int | None:
    """The newest version, or ``None`` where there is no table."""
    commits, bases = _listing(directory(location))
    return max((*commits, *bases), default=None)


def table_id(location: str | Path) -> str | None:
    """What a table was given when it was made; ``None`` where there is no table.

    A table that was dropped and made again in the same place has the versions of the one before,
    and another id.
    """
    path = directory(location)
    commits, bases = _listing(path)
    if not commits and not bases:
        return None
    if 0 in commits:
        for action in actions(path, 0):
            if "metaData" in action:
                return str(action["metaData"]["id"])
    return str(open_table(path).metadata().id)


def table_ids(location: str | Path) -> set[str]:
    """Every id of a version that the log leads to: some writers replace a table under a new one.

    Raises:
        CorruptTableError: a file of the log is damaged.
    """
    path = directory(location)
    commits, _ = _listing(path)
    found = {
        str(action["metaData"]["id"])
        for version in commits
        for action in actions(path, version)
        if "metaData" in action
    }
    log = path / "_delta_log"
    names = [entry.name for entry in log.iterdir()] if log.is_dir() else []
    for files in checkpoints(names).values():
        found |= checkpoint_ids(path, files)
    return found


def check_version(location: str | Path, version: int) -> int:
    """The version itself, if it can be read.

    Raises:
        VersionNotFoundError: it lies outside the versions that the log can show, and has no
            checkpoint of its own.
        NotADeltaTableError: there is no table.
    """
    first, last = version_range(location)
    if not first <= version <= last and not _apart(directory(location), version):
        raise VersionNotFoundError(str(directory(location)), version, first, last)
    return version


def _apart(path: Path, version: int) -> bool:
    """Whether a checkpoint leads to a version although the log between it and the newest is gone."""
    commits, bases = _listing(path)
    base = max((each for each in bases if each <= version), default=None)
    return base is not None and set(range(base + 1, version + 1)) <= set(commits)


def version_range(location: str | Path) -> tuple[int, int]:
    """The oldest and the newest of the versions that follow each other without a gap.

    Older ones that are kept apart, each with a checkpoint of its own, do not count.

    Raises:
        NotADeltaTableError: there is no table.
        CorruptTableError: commits are missing from the log.
    """
    path = directory(location)
    commits, bases = _listing(path)
    if not commits and not bases:
        raise NotADeltaTableError(str(path), "there is no commit in its _delta_log")
    last = max((*commits, *bases))
    # A version can be read from a checkpoint at or before it and every commit after that.
    run = last
    present = set(commits)
    while run in present:
        run -= 1
    if run < 0:
        return 0, last
    reachable = [version for version in bases if version >= run]
    if not reachable:
        raise CorruptTableError(str(path), f"commit {run} is missing from the log")
    return min(reachable), last


def version_at(location: str | Path, moment: datetime) -> int:
    """The last version committed at or before a moment.

    As in Spark, commits count in the order of their versions: a clock that was set back does
    not make a later version look older.

    Raises:
        TimestampOutOfRangeError: the moment is before the first or after the last commit.
        NotADeltaTableError: there is no table.
        ValueError: the moment has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    first, last = version_range(location)
    times: list[datetime] = []
    for version in range(first, last + 1):
        when = _commit(directory(location), version).timestamp
        if times and when <= times[-1]:
            when = times[-1] + timedelta(milliseconds=1)
        times.append(when)
    if not times[0] <= moment <= times[-1]:
        raise TimestampOutOfRangeError(str(directory(location)), moment, times[0], times[-1])
    return first + bisect_right(times, moment) - 1


def history(location: str | Path, limit: int | None = None) -> list[Commit]:
    """Commits that the log still holds, newest first.

    Raises:
        NotADeltaTableError: there is no table.
        CorruptTableError: a commit cannot be read.
    """
    path = directory(location)
    version_range(path)
    return [_commit(path, version) for version in _listing(path)[0][::-1][:limit]]


def committed_at(location: str | Path, version: int) -> datetime | None:
    """When a version was made; ``None`` where its commit is no longer there."""
    path = directory(location)
    if not (path / "_delta_log" / f"{version:020}.json").exists():
        return None
    return _commit(path, version).timestamp


def last_change(location: str | Path) -> Commit:
    """The newest commit that changed rows or columns; the oldest one there is if none of them did.

    A compaction, or another value of a table property, makes a version whose rows are those of
    the version before.

    Raises:
        NotADeltaTableError: there is no table.
        CorruptTableError: a commit cannot be read.
    """
    path = directory(location)
    first, last = version_range(path)
    commits = set(_listing(path)[0])
    version = last
    while version > first and version - 1 in commits and not changes_rows(actions(path, version)):
        version -= 1
    return _commit(path, version)


def changes_rows(entries: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the actions of a commit change rows or columns, and not only files or settings."""
    operation = None
    for entry in entries:
        action = entry.get("add") or entry.get("remove")
        if action and action.get("dataChange", True):
            return True
        if information := entry.get("commitInfo"):
            operation = information.get("operation")
    return operation not in UPKEEP


def commit_of(location: str | Path, marker: str, after: int = -1) -> int | None:
    """The version later than ``after`` whose ``userMetadata`` is the marker, or ``None``."""
    return find_commit(directory(location), "userMetadata", marker, after)


def find_commit(path: Path, key: str, value: str, after: int = -1) -> int | None:
    """The newest version later than ``after`` whose commit information has that value."""
    for version in reversed(_listing(path)[0]):
        if version <= after:
            return None
        if _information(path, version).get(key) == value:
            return version
    return None


def find_transaction(path: Path, app_id: str, version: int) -> int | None:
    """The Delta version that holds the first ``txn`` of the application at or above a version."""
    found = None
    for commit in reversed(_listing(path)[0]):
        for action in actions(path, commit):
            txn = action.get("txn")
            if txn is not None and txn["appId"] == app_id:
                if txn["version"] < version:
                    return found
                found = commit
    return found


def actions(path: Path, version: int) -> Iterator[dict[str, Any]]:
    """The actions of one commit, in order.

    Raises:
        CorruptTableError: the commit is not there, or one of its lines is not JSON.
    """
    file = path / "_delta_log" / f"{version:020}.json"
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _parsed(path, file, number, line)
    except FileNotFoundError as error:
        raise CorruptTableError(str(path), f"{file.name} is missing from the log") from error
    except UnicodeDecodeError as error:
        raise CorruptTableError(str(path), f"{file.name} is not text: {error}") from error


def _parsed(path: Path, file: Path, number: int, line: str) -> dict[str, Any]:
    try:
        action = json.loads(line)
    except ValueError as error:
        raise CorruptTableError(str(path), f"{file.name}, line {number}: {error}") from error
    if not isinstance(action, dict):
        raise CorruptTableError(str(path), f"{file.name}, line {number}: no action")
    return action


def _commit(path: Path, version: int) -> Commit:
    information = _information(path, version)
    milliseconds = information.get("inCommitTimestamp", information.get("timestamp"))
    if milliseconds is None:
        file = path / "_delta_log" / f"{version:020}.json"
        milliseconds = int(file.stat().st_mtime * 1000)
    return Commit(
        version=version,
        timestamp=datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds),
        operation=str(information.get("operation", "")),
        metrics=dict(information.get("operationMetrics") or {}),
        user_metadata=information.get("userMetadata"),
    )


def _information(path: Path, version: int) -> dict[str, Any]:
    for action in actions(path, version):
        information = action.get("commitInfo")
        if isinstance(information, dict):
            return information
    return {}


def _listing(path: Path) -> tuple[list[int], list[int]]:
    """Versions of the commits and of the checkpoints in the log, ascending."""
    log = path / "_delta_log"
    names = [entry.name for entry in log.iterdir()] if log.is_dir() else []
    commits = [int(match[1]) for name in names if (match := COMMIT_NAME.fullmatch(name))]
    return sorted(commits), sorted(checkpoints(names))
