"""From which version to which a table needs each of its files: one pass over its log."""

from __future__ import annotations

import uuid
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from headrace.lakehouse.checkpoints import checkpoints, read_checkpoint
from headrace.lakehouse.errors import CorruptTableError, NotADeltaTableError
from headrace.lakehouse.files import file_path
from headrace.lakehouse.log import COMMIT_NAME, actions, changes_rows

_Z85: Final = (
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
)


@dataclass(frozen=True, slots=True)
class Life:
    """Versions that need one file.

    Attributes:
        path: relative to the table's directory; absolute where the file lies elsewhere.
        size: bytes by the log; 0 for a deletion vector, which shares its file with others.
        first: the first version that needs it, as far as the log goes back.
        last: the last one; ``None`` while the newest needs it.
        removed: when the version after ``last`` was made, in milliseconds since 1970.
        changes: it holds a change feed, which no version is read from.
    """

    path: str
    size: int
    first: int
    last: int | None = None
    removed: int | None = None
    changes: bool = False


@dataclass
class Timeline:
    """What a table's log says of its files.

    Attributes:
        lives: of each file; several where a version took a file back.
        ranges: the versions that can be read, as ``(first, last)``, ascending.
        commits: when each version was made, in milliseconds since 1970, where its commit is there.
        tombstones: files that only a checkpoint still names, and when they were removed.
        changed: the newest version that changed rows or columns.
    """

    lives: list[Life] = field(default_factory=list)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    commits: dict[int, int] = field(default_factory=dict)
    tombstones: dict[str, int] = field(default_factory=dict)
    changed: int = 0

    @property
    def newest(self) -> int:
        """The newest version."""
        return self.ranges[-1][1]

    def readable(self, version: int) -> bool:
        """Whether the log leads to that version."""
        at = bisect_right(self.ranges, (version, 1 << 62)) - 1
        return at >= 0 and self.ranges[at][0] <= version <= self.ranges[at][1]

    def files(self, version: int) -> dict[str, int]:
        """The files that a version is read from, with their sizes by the log."""
        return {
            life.path: life.size
            for life in self.lives
            if life.first <= version
            and (life.last is None or version <= life.last)
            and not life.changes
        }

    def needs(self, versions: Sequence[int]) -> dict[str, set[int]]:
        """The files that the versions are read from, each with the versions that need it.

        Args:
            versions: ascending.
        """
        found: dict[str, set[int]] = {}
        for life in self.lives:
            if life.changes:
                continue
            low = bisect_left(versions, life.first)
            high = len(versions) if life.last is None else bisect_right(versions, life.last)
            if low < high:
                found.setdefault(life.path, set()).update(versions[low:high])
        return found


def timeline(location: Path) -> Timeline:
    """Read the whole log of a table.

    Raises:
        NotADeltaTableError: there is no log.
        CorruptTableError: the newest version cannot be read, or a commit is damaged.
    """
    log = location / "_delta_log"
    names = [entry.name for entry in log.iterdir()] if log.is_dir() else []
    commits = {int(match[1]) for name in names if (match := COMMIT_NAME.fullmatch(name))}
    bases = checkpoints(names)
    if not commits and not bases:
        raise NotADeltaTableError(str(location), "there is no commit in its _delta_log")
    replay = _Replay(location)
    for version in sorted(commits | bases.keys()):
        if version in commits and replay.continues(version):
            replay.commit(version)
        elif version in bases:
            replay.restart(version, read_checkpoint(location, bases[version]))
            if version in commits:
                replay.note(version)
        else:
            replay.stop()
    if replay.at is None:
        raise CorruptTableError(str(location), "commits are missing from the log")
    return replay.finish()


class _Replay:
    """The state of a table while its log is read, in the order of the versions."""

    def __init__(self, location: Path) -> None:
        self._location = location
        self._found = Timeline()
        self._open: dict[tuple[str, str | None], tuple[int, int]] = {}  # size, first version
        self._began = 0
        self.at: int | None = None

    def continues(self, version: int) -> bool:
        return version == 0 if self.at is None else version == self.at + 1

    def restart(self, version: int, entries: Iterable[dict[str, Any]]) -> None:
        """Begin again at a checkpoint: what happened before it is not known."""
        self.stop()
        self._began = self.at = version
        for entry in entries:
            if "add" in entry:
                self._add(entry["add"], version)
            elif "remove" in entry:
                removed = entry["remove"].get("deletionTimestamp") or 0
                for path in filter(None, named(self._location, entry["remove"])):
                    known = self._found.tombstones.get(path, 0)
                    self._found.tombstones[path] = max(known, removed)
        self._found.changed = version

    def stop(self) -> None:
        """The log breaks off here; what the last version needed, it needs for good."""
        if self.at is None:
            return
        for (path, vector), (size, first) in self._open.items():
            self._ended(path, vector, size, first, self.at, None)
        self._open.clear()
        self._found.ranges.append((self._began, self.at))
        self.at = None

    def commit(self, version: int) -> None:
        if self.at is None:
            self._began = version
        entries = list(actions(self._location, version))
        when = self._when(version, entries)
        for entry in entries:
            if remove := entry.get("remove"):
                self._remove(remove, version, when)
        for entry in entries:
            if add := entry.get("add"):
                self._add(add, version)
            elif cdc := entry.get("cdc"):
                path, _ = named(self._location, cdc)
                life = Life(path, cdc["size"], version, version, when, changes=True)
                self._found.lives.append(life)
        if version == 0 or changes_rows(entries):
            self._found.changed = version
        self.at = version

    def note(self, version: int) -> None:
        """The time of a commit whose state came from a checkpoint."""
        self._when(version, list(actions(self._location, version)))

    def finish(self) -> Timeline:
        for (path, vector), (size, first) in self._open.items():
            self._ended(path, vector, size, first, None, None)
        assert self.at is not None  # noqa: S101  # looked at by the caller
        self._found.ranges.append((self._began, self.at))
        return self._found

    def _when(self, version: int, entries: list[dict[str, Any]]) -> int:
        information: Mapping[str, Any] = next(
            (e["commitInfo"] for e in entries if e.get("commitInfo")), {}
        )
        when = information.get("inCommitTimestamp", information.get("timestamp"))
        if when is None:
            file = self._location / "_delta_log" / f"{version:020}.json"
            when = int(file.stat().st_mtime * 1000)
        self._found.commits[version] = int(when)
        return int(when)

    def _add(self, add: Mapping[str, Any], version: int) -> None:
        key = named(self._location, add)
        size, first = self._open.get(key, (add["size"], version))
        self._open[key] = size, first

    def _remove(self, remove: Mapping[str, Any], version: int, when: int) -> None:
        path, vector = named(self._location, remove)
        gone = self._open.pop((path, vector), None)
        if gone is not None:
            # The version that needed it was the newest until the commit, whatever the writer says.
            removed = max(remove.get("deletionTimestamp") or 0, when)
            self._ended(path, vector, gone[0], gone[1], version - 1, removed)

    def _ended(
        self, path: str, vector: str | None, size: int, first: int, last: int | None, at: int | None
    ) -> None:
        self._found.lives.append(Life(path, size, first, last, at))
        if vector is not None:
            self._found.lives.append(Life(vector, 0, first, last, at))


def named(location: Path, action: Mapping[str, Any]) -> tuple[str, str | None]:
    """The file of an ``add``, ``remove`` or ``cdc``, and the file of its deletion vector."""
    vector = action.get("deletionVector")
    if not vector or vector["storageType"] == "i":
        return _relative(location, action["path"]), None
    text = str(vector["pathOrInlineDv"])
    if vector["storageType"] == "u":
        text = _vector_path(text)
    return _relative(location, action["path"]), _relative(location, text)


def added(location: Path, entries: Iterable[Mapping[str, Any]]) -> set[str]:
    """The files that actions add, deletion vectors among them."""
    return {
        path
        for entry in entries
        if entry.get("add")
        for path in named(location, entry["add"])
        if path is not None
    }


def _relative(location: Path, text: str) -> str:
    """A path of the log, relative to the table's directory if it lies inside."""
    if "%" not in text and ":" not in text and not text.startswith("/"):
        return text
    path = file_path(location, text)
    inside = path.is_relative_to(location)
    return path.relative_to(location).as_posix() if inside else str(path)


def _vector_path(text: str) -> str:
    """Where a deletion vector lies: a prefix, then its UUID in the Z85 alphabet.

    Delta protocol, "Derived Fields" of the deletion vector descriptor.
    """
    prefix, encoded = text[:-20], text[-20:]
    groups = []
    for start in range(0, 20, 5):
        number = 0
        for letter in encoded[start : start + 5]:
            number = number * 85 + _Z85.index(letter)
        groups.append(number.to_bytes(4, "big"))
    name = f"deletion_vector_{uuid.UUID(bytes=b''.join(groups))}.bin"
    return f"{prefix}/{name}" if prefix else name
