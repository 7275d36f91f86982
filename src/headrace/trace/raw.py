"""Raw files: whether they are still what was read, and which of them hold rows of one entity."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from headrace import clock
from headrace.catalog import Lineage, RawFile, RawFileError
from headrace.trace.errors import key_text
from headrace.trace.scan import CannotNarrowError, count_rows

if TYPE_CHECKING:
    from headrace.settings import Paths

Status = Literal["unchanged", "changed since", "gone"]


@dataclass(frozen=True)
class Entity:
    """Whose raw rows, and from when: what a trace is narrowed to.

    Attributes:
        columns: value of each column that names the entity, such as ``device_id``.
        time: the column that says when, such as ``window_end``.
        moment: its value, in UTC.
        lookback: how far back a feature row looks; ``None`` if that is not known.
    """

    columns: Mapping[str, Any]
    time: str | None = None
    moment: datetime | None = None
    lookback: timedelta | None = None

    def __str__(self) -> str:
        text = key_text(self.columns)
        if self.moment is None:
            return text
        if self.lookback is None:
            return f"{text} up to {clock.iso(self.moment)}"
        return f"{text} in ({clock.iso(self.moment - self.lookback)}, {clock.iso(self.moment)}]"


@dataclass(frozen=True)
class Narrowed:
    """The raw files of one table, narrowed to an entity or not.

    Attributes:
        files: the files kept, with the number of rows of the entity in each, ``None`` where
            they were not counted.
        left_out: files that hold no row of it.
        how: one sentence: what was kept, or why nothing could be left out.
        narrowed: whether anything was counted.
    """

    files: tuple[tuple[RawFile, int | None], ...]
    left_out: int
    how: str
    narrowed: bool


def narrow(files: Sequence[RawFile], entity: Entity | None, why_not: str = "") -> Narrowed:
    """Keep the files that truly hold rows of the entity in its window.

    Args:
        files: the raw files of one table.
        entity: what to keep; ``None`` keeps all, for the reason ``why_not``.

    A file that cannot be looked into (gone, another format, no such column) is kept.
    """
    if entity is None or not entity.columns:
        return _all(files, why_not or "the key of the row is not known")
    kept: list[tuple[RawFile, int | None]] = []
    reasons: dict[str, None] = {}
    times: set[str] = set()
    for file in files:
        try:
            count = count_rows(Path(file.path), entity)
        except CannotNarrowError as error:
            reasons[error.reason] = None
            kept.append((file, None))
            continue
        times.update(count.times)
        if count.rows:
            kept.append((file, count.rows))
    unread = [file for file, rows in kept if rows is None]
    if len(unread) == len(files):
        return _all(files, "; ".join(reasons))
    if not kept:
        return _all(files, f"no file holds rows of {entity}")
    how = f"rows of {entity if times else key_text(entity.columns)}"
    if times:
        how += f" by {' or '.join(sorted(times))}"
    if unread:
        how += f"; {len(unread):,} kept unread: {'; '.join(reasons)}"
    return Narrowed(tuple(kept), len(files) - len(kept), how, narrowed=True)


def _all(files: Sequence[RawFile], reason: str) -> Narrowed:
    return Narrowed(tuple((file, None) for file in files), 0, f"not narrowed: {reason}", False)


def statuses(lineage: Lineage, files: Sequence[RawFile], *, anew: bool) -> list[Status]:
    """Whether each file is still the one that was read, by size and checksum.

    Args:
        lineage: keeps the checksums known.
        files: as they were read.
        anew: read each file again; otherwise the known checksum counts where size and
            modification time are those of the file.
    """
    there = [file.path for file in files if Path(file.path).is_file()]
    now: dict[str, tuple[int, str]] = {}
    try:
        if not anew:
            known = lineage.fingerprints(there)
            now = {file.path: (file.size, file.sha256) for file in known}
    except RawFileError:
        # One went, or is being written, while it was looked at: the next lines find out which.
        anew = True
    if anew:
        now = {path: found for path in there if (found := _read(path))}
    return [_status(file, now.get(file.path)) for file in files]


def _status(then: RawFile, now: tuple[int, str] | None) -> Status:
    if now is None:
        return "gone"
    return "unchanged" if now == (then.size, then.sha256) else "changed since"


def _read(path: str) -> tuple[int, str] | None:
    """Size and checksum; ``None`` if the file cannot be read."""
    try:
        with Path(path).open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
            return file.tell(), checksum
    except OSError:
        return None


def facts(paths: Paths, lineage: Lineage, narrowed: Narrowed) -> dict[str, Any]:
    """The facts of a node of kind ``files``."""
    listed: list[dict[str, Any]] = []
    # A few files are read again; of many, those whose size and time are the same are not.
    files = [file for file, _ in narrowed.files]
    states = statuses(lineage, files, anew=narrowed.narrowed)
    for (file, rows), state in zip(narrowed.files, states, strict=True):
        entry: dict[str, Any] = {
            "path": shown(paths, file.path),
            "size": file.size,
            "sha256": file.sha256,
            "modified": clock.iso(file.modified),
            "status": state,
        }
        if rows is not None:
            entry["rows"] = rows
        listed.append(entry)
    counts = Counter(entry["status"] for entry in listed)
    return {
        "count": len(listed),
        "bytes": sum(file.size for file, _ in narrowed.files),
        "left_out": narrowed.left_out,
        "narrowed": narrowed.narrowed,
        "how": narrowed.how,
        "status": {name: counts[name] for name in _STATUSES if counts[name]},
        "files": listed,
    }


_STATUSES: Final[tuple[Status, ...]] = ("unchanged", "changed since", "gone")


def shown(paths: Paths, path: str) -> str:
    """A path relative to the project where it lies inside, else as it is."""
    for root in (paths.root, paths.root.resolve()):
        if Path(path).is_relative_to(root):
            return Path(path).relative_to(root).as_posix()
    return path
