"""Removing what no version that is kept needs: data files, and the log of versions long past.

Two steps: ``plan`` looks, ``apply`` removes. A process that is killed in between, or while it
removes, leaves a table that reads as before; the next sweep removes the rest.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from headrace import clock
from headrace.crash import crash_point
from headrace.lakehouse.checkpoints import checkpoint_version, checkpoints, read_checkpoint
from headrace.lakehouse.errors import CorruptTableError
from headrace.lakehouse.log import COMMIT_NAME, actions
from headrace.lakehouse.opening import delta_errors, directory, open_table
from headrace.lakehouse.timeline import Timeline, added, timeline

_CRC: Final = re.compile(r"(\d{20})\.crc")
#: The log is not begun anew for fewer commits than this.
_WORTH_A_CHECKPOINT: Final = 10
_COMPACTED: Final = re.compile(r"(\d{20})\.\d{20}\.compacted\.json")


@dataclass(frozen=True)
class Cost:
    """What a kept version costs beyond what the table needs anyway.

    Attributes:
        files: files that only kept versions need, and this is one of them.
        bytes: of these.
        exclusive: bytes that would be freed if this version alone were let go.
    """

    files: int = 0
    bytes: int = 0
    exclusive: int = 0


@dataclass(frozen=True)
class Sweep:
    """What a sweep removes.

    Attributes:
        location: directory of the table.
        newest: the version that was the newest when it was planned.
        files: data files in the directory before, with their bytes.
        removed: those to remove.
        log: names of files in ``_delta_log`` to remove, in the order of their versions.
        log_bytes: of these.
        isolated: versions that lose the commits before them, and need a checkpoint first: kept
            ones, and the one that the rest of the log begins at.
        costs: of each kept version.
        kept_bytes: of the files that only kept versions need, each counted once.
        lost: kept versions that the log no longer leads to. Which files they need cannot be
            told, so nothing is removed.
    """

    location: Path
    newest: int
    files: Mapping[str, int]
    removed: Mapping[str, int] = field(default_factory=dict)
    log: tuple[str, ...] = ()
    log_bytes: int = 0
    isolated: tuple[int, ...] = ()
    costs: Mapping[int, Cost] = field(default_factory=dict)
    kept_bytes: int = 0
    lost: tuple[int, ...] = ()


def plan(
    location: str | Path,
    retention: timedelta,
    *,
    log_retention: timedelta | None = None,
    keep: Collection[int] = (),
    since: int | None = None,
    orphans: bool = True,
) -> Sweep:
    """Find what neither the newest version, nor one of the retention's time, nor a kept one needs.

    Args:
        location: directory of the table.
        retention: how long files stay after the version that needed them last was replaced. A
            file that no commit names stays as long after it was written: its writer may still
            be at it.
        log_retention: how long versions can be told apart; the log stays whole if not given.
        keep: versions that stay readable, however old.
        since: versions from this one on stay readable, and so does what each of them added.
        orphans: also files that no commit names, such as a writer leaves that is killed.

    Raises:
        NotADeltaTableError: there is no table.
        CorruptTableError: its log cannot be read.
    """
    path = directory(location)
    now = clock.now()
    # Before the log: a file that is committed meanwhile is named by the log that is read after.
    there = dict(_listing(path))
    found = timeline(path)
    versions = sorted(set(keep))
    lost = tuple(version for version in versions if not found.readable(version))
    sizes = {name: size for name, (size, _) in there.items()}
    if lost:
        return Sweep(path, found.newest, sizes, lost=lost)
    cutoff = _milliseconds(now - retention)
    since = found.newest if since is None else min(since, found.newest)
    recent = _recent(found, cutoff, since)
    kept = found.needs(versions)
    named = {life.path for life in found.lives} | found.tombstones.keys()
    removed = {
        name: size
        for name, (size, modified) in there.items()
        if name not in recent
        and name not in kept
        and (name in named or (orphans and modified <= cutoff))
    }
    only = {name: needed for name, needed in kept.items() if name not in recent}
    log: tuple[str, ...] = ()
    isolated: tuple[int, ...] = ()
    if log_retention is not None:
        longest = max(log_retention, retention)
        start = min(_first_since(found, _milliseconds(now - longest)), since)
        log, isolated = _log(path, found, start, cutoff, versions)
    return Sweep(
        path,
        found.newest,
        sizes,
        removed,
        log,
        sum(_size(path / "_delta_log" / name) for name in log),
        isolated,
        _costs(versions, only, sizes),
        sum(sizes.get(name, 0) for name in only),
    )


def apply(sweep: Sweep) -> None:
    """Remove what was planned; what is gone already is no error.

    Raises:
        CorruptTableError: a checkpoint that a kept version needs does not hold its files; the
            log stays whole.
        StorageError: the directory cannot be written.
    """
    if sweep.isolated:
        wanted = timeline(sweep.location)
        for version in sweep.isolated:
            _isolate(sweep.location, version, wanted.files(version))
        crash_point("sweep.isolated")
    taken_back = _named_since(sweep.location, sweep.newest)
    with delta_errors(sweep.location):
        for name in sweep.removed.keys() - taken_back:
            (sweep.location / name).unlink(missing_ok=True)
        _prune(sweep.location, {str(Path(name).parent) for name in sweep.removed})
        crash_point("sweep.removed")
        for name in sweep.log:
            (sweep.location / "_delta_log" / name).unlink(missing_ok=True)


def data_files(location: str | Path) -> dict[str, int]:
    """Size of each file in a table's directory that can be its own, by relative path."""
    return {name: size for name, (size, _) in _listing(directory(location))}


def missing(location: str | Path, versions: Collection[int]) -> dict[int, list[str] | None]:
    """Files that each version needs and that are gone, or of another size than its log says.

    ``None`` for a version that the log does not lead to.

    Raises:
        NotADeltaTableError: there is no table.
        CorruptTableError: its log cannot be read.
    """
    path = directory(location)
    found = timeline(path)
    there = {name: size for name, (size, _) in _listing(path)}
    answer: dict[int, list[str] | None] = {}
    for version in versions:
        if not found.readable(version):
            answer[version] = None
            continue
        needed = found.files(version)
        answer[version] = sorted(
            name for name, size in needed.items() if not _present(name, size, there)
        )
    return answer


def listing_digest(location: str | Path) -> str:
    """Digest of the names and sizes of a table's data files and of its log.

    The same digest means that nothing was written to the table, and nothing removed.
    """
    import hashlib

    path = directory(location)
    digest = hashlib.sha256()
    for name, (size, _) in sorted(_listing(path)):
        digest.update(f"{name}\0{size}\n".encode())
    log = path / "_delta_log"
    for name in sorted(entry.name for entry in log.iterdir()) if log.is_dir() else ():
        digest.update(f"{name}\n".encode())
    return digest.hexdigest()


def _present(name: str, size: int, there: Mapping[str, int]) -> bool:
    if name.startswith("/"):
        return Path(name).exists()
    # A deletion vector is a part of its file, whose size the log does not tell.
    return name in there and (size == 0 or there[name] == size)


def _listing(path: Path, below: str = "") -> Iterator[tuple[str, tuple[int, int]]]:
    """Size and modification time of each file that can belong to the table, by relative path.

    As in Delta's own vacuum, names that begin with an underscore or a dot are not the table's,
    but for partitions and the change feed. Neither are those of another table that lies inside.
    """
    try:
        entries = list(os.scandir(path / below))
    except FileNotFoundError:
        return
    if below and any(entry.name == "_delta_log" for entry in entries):
        return
    for entry in entries:
        hidden = entry.name.startswith(("_", "."))
        name = f"{below}/{entry.name}" if below else entry.name
        if entry.is_dir(follow_symlinks=False):
            if not hidden or entry.name == "_change_data" or "=" in entry.name:
                yield from _listing(path, name)
        elif not hidden and entry.is_file(follow_symlinks=False):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield name, (status.st_size, status.st_mtime_ns // 1_000_000)


def _recent(found: Timeline, cutoff: int, since: int) -> set[str]:
    """Files that the newest version needs, or that one needed after the cutoff or since another."""
    recent = {
        life.path
        for life in found.lives
        if life.last is None
        or life.last >= since
        or (life.removed is not None and life.removed > cutoff)
    }
    recent.update(path for path, removed in found.tombstones.items() if removed > cutoff)
    return recent


def _costs(
    versions: Collection[int], only: Mapping[str, set[int]], sizes: Mapping[str, int]
) -> dict[int, Cost]:
    files = dict.fromkeys(versions, 0)
    held = dict.fromkeys(versions, 0)
    alone = dict.fromkeys(versions, 0)
    for name, needed in only.items():
        size = sizes.get(name, 0)
        for version in needed:
            files[version] += 1
            held[version] += size
            if len(needed) == 1:
                alone[version] += size
    return {v: Cost(files[v], held[v], alone[v]) for v in versions}


def _log(
    path: Path, found: Timeline, start: int, young: int, keep: Collection[int]
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Log files that no version from a first one on and no kept one needs; see ``Sweep``.

    The log begins at a checkpoint then, except for kept versions: each of them has a checkpoint
    of its own. Readers that start from a checkpoint look at nothing before it, so the gaps
    between are never read.
    """
    log = path / "_delta_log"
    names = sorted(entry.name for entry in log.iterdir())
    bases = checkpoints(names)
    first = found.ranges[-1][0]
    begin = max((base for base in bases if first <= base <= start), default=first)
    if start - begin >= _WORTH_A_CHECKPOINT:
        begin = start
    apart = {version for version in keep if version < begin}
    removed = [
        (version, name)
        for name in names
        if (version := _log_version(name)) is not None and version < begin and version not in apart
    ]
    unfinished = [
        name
        for name in names
        if name.startswith("_commit_") and name.endswith(".tmp") and _modified(log / name) <= young
    ]
    isolated = tuple(sorted({*apart, begin} - bases.keys())) if removed else ()
    return (*(name for _, name in sorted(removed)), *unfinished), isolated


def _first_since(found: Timeline, cutoff: int) -> int:
    """The version that was the newest at the cutoff, or the last one that changed rows.

    Whether rows changed since an older version can be told as long as that one is there.
    """
    first, last = found.ranges[-1]
    times = _ascending([found.commits.get(version, 0) for version in range(first, last + 1)])
    current = first + max(bisect_right(times, cutoff) - 1, 0)
    return min(current, found.changed)


def _log_version(name: str) -> int | None:
    for pattern in (COMMIT_NAME, _CRC, _COMPACTED):
        if match := pattern.fullmatch(name):
            return int(match[1])
    return checkpoint_version(name)


def _ascending(times: list[int]) -> list[int]:
    """A clock that was set back does not make a later version look older."""
    highest, made = 0, []
    for moment in times:
        highest = max(highest, moment)
        made.append(highest)
    return made


def _isolate(path: Path, version: int, files: Mapping[str, int]) -> None:
    """Give a version a checkpoint of its own, on the disk and with the right files in it."""
    log = path / "_delta_log"
    table = open_table(path, version)
    with delta_errors(path):
        table.create_checkpoint()
    # It points to this version now, and nobody should begin there.
    (log / "_last_checkpoint").unlink(missing_ok=True)
    names = checkpoints([entry.name for entry in log.iterdir()]).get(version, [])
    if added(path, read_checkpoint(path, names)) != set(files):
        raise CorruptTableError(str(path), f"the checkpoint of version {version} lacks files")
    for name in names:
        _flush(log / name)
    _flush(log)


def _named_since(path: Path, version: int) -> set[str]:
    """Files that commits after a version name: one may have taken an old file back."""
    named: set[str] = set()
    while (path / "_delta_log" / f"{version + 1:020}.json").exists():
        version += 1
        named |= added(path, actions(path, version))
    return named


def _prune(path: Path, emptied: set[str]) -> None:
    """Remove directories that hold nothing now."""
    for name in sorted(emptied - {"."}, key=len, reverse=True):
        folder = path / name
        while folder != path:
            try:
                folder.rmdir()
            except OSError:
                break  # something is in it, or it is gone
            folder = folder.parent


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns // 1_000_000
    except FileNotFoundError:
        return 1 << 62


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
