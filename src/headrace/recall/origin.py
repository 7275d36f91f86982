"""What a recall begins at: raw files by their contents, or a version of a table."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import or_, select

from headrace import clock, lakehouse
from headrace.catalog import InvalidNameError, TableName
from headrace.catalog.tables import accesses, files, operation_files
from headrace.engine.files import listing
from headrace.errors import HeadraceError
from headrace.recall.errors import (
    SeveralContentsError,
    UnknownColumnError,
    UnknownContentError,
    UnknownOriginError,
    UnknownVersionError,
)
from headrace.recall.records import under
from headrace.recall.store import quarantined

if TYPE_CHECKING:
    from headrace.workspace import Workspace

FileState = Literal["unchanged", "changed", "gone"]

_TABLE: Final = re.compile(r"(?P<table>[^@/]+)@(?P<version>\d+)(?:\.(?P<column>.+))?")


@dataclass(frozen=True)
class OriginFile:
    """One raw file, as it was read.

    Attributes:
        ids: its keys in the database: one for each time that it was found touched.
        state: whether the path still holds these bytes.
    """

    path: str
    size: int
    sha256: str
    ids: tuple[int, ...]
    state: FileState


@dataclass(frozen=True)
class Copy:
    """A file of the same bytes under another path, and how many operations read it."""

    path: str
    of: str
    operations: int


@dataclass(frozen=True)
class Origin:
    """What a recall begins at.

    Attributes:
        text: as it was asked for.
        label: what to call it.
        files: raw files; empty for a table.
        table, version: of a table.
        columns: in lower case; empty for all that there is.
        copies: what else holds the same bytes; not followed unless they are among ``files``.
        others: other contents that the path was read with, as checksums.
        quarantined: id of the recall that keeps one of the files.
    """

    text: str
    label: str
    files: tuple[OriginFile, ...] = ()
    table: str | None = None
    version: int | None = None
    columns: tuple[str, ...] = ()
    copies: tuple[Copy, ...] = ()
    others: tuple[str, ...] = ()
    quarantined: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The origin as plain values."""
        return {
            "text": self.text,
            "label": self.label,
            "table": self.table,
            "version": self.version,
            "columns": list(self.columns) or None,
            "files": [
                {"path": f.path, "size": f.size, "sha256": f.sha256, "state": f.state}
                for f in self.files
            ],
            "copies": [vars(copy) for copy in self.copies],
            "other_contents": list(self.others),
            "quarantined": self.quarantined,
        }


def parse(
    workspace: Workspace,
    text: str,
    *,
    columns: Sequence[str] = (),
    sha256: str | None = None,
    copies: bool = False,
) -> Origin:
    """What a text stands for: ``TABLE@VERSION``, ``TABLE@VERSION.column``, or a path.

    A path is relative to the working directory or to the project's; a directory stands for all
    files below it. A table without a version stands for its newest.

    Args:
        workspace: the project.
        text: what was typed.
        columns: follow these columns alone.
        sha256: which contents of the path are meant; a prefix will do.
        copies: follow files of the same bytes under other paths too.

    Raises:
        RecallError: a subclass says what is not known.
    """
    wanted = tuple(dict.fromkeys(name.lower() for name in columns))
    match = _TABLE.fullmatch(text)
    if match is not None and (name := _table_name(workspace, match["table"])) is not None:
        more = (match["column"].lower(),) if match["column"] else ()
        return _table(workspace, text, name, int(match["version"]), (*wanted, *more))
    for path in _places(workspace, text):
        rows = _recorded(workspace, path)
        if rows:
            return _files(workspace, text, path, rows, wanted, sha256, copies)
    for path in _places(workspace, text):
        if Path(path).exists():
            return _unread(workspace, text, path, wanted)
    name = _table_name(workspace, text)
    if name is not None:
        newest = _newest(workspace, name)
        if newest is None:
            raise UnknownVersionError(name, 0, None)
        return _table(workspace, text, name, newest, wanted)
    raise UnknownOriginError(text, _spellings(workspace, text))


def _table(
    workspace: Workspace, text: str, name: str, version: int, columns: tuple[str, ...]
) -> Origin:
    newest = _newest(workspace, name)
    if newest is None or version > newest:
        raise UnknownVersionError(name, version, newest)
    label = f"{name}@{version}"
    entry = workspace.catalog.find(name)
    if columns and entry is not None and entry.location is not None:
        _check_columns(label, columns, _columns_of(entry.location, version))
    return Origin(text, label, table=name, version=version, columns=columns)


def _columns_of(location: str, version: int) -> list[str]:
    try:
        return list(lakehouse.schema(location, version).names)
    except HeadraceError:
        # Its log no longer shows the version: the columns are taken as they were typed.
        return []


def _check_columns(label: str, columns: Iterable[str], known: Sequence[str]) -> None:
    lower = {name.lower() for name in known}
    for column in columns:
        if known and column not in lower:
            raise UnknownColumnError(label, column, known)


def _table_name(workspace: Workspace, text: str) -> str | None:
    """The qualified name, if a table of it is there or was written once."""
    try:
        name = str(TableName.parse(text))
    except InvalidNameError:
        return None
    if workspace.catalog.find(name) is not None:
        return name
    query = select(accesses.c.name).where(accesses.c.name == name).limit(1)
    with workspace.store.reading() as connection:
        found: str | None = connection.scalar(query)
    return found


def _newest(workspace: Workspace, name: str) -> int | None:
    """The highest version that the table has, or had."""
    query = (
        select(accesses.c.version)
        .where(accesses.c.name == name, accesses.c.version.is_not(None))
        .order_by(accesses.c.version.desc())
        .limit(1)
    )
    with workspace.store.reading() as connection:
        recorded = connection.scalar(query)
    entry = workspace.catalog.find(name)
    there = None
    if entry is not None and entry.location is not None and "://" not in entry.location:
        there = lakehouse.latest_version(entry.location)
    return max((each for each in (recorded, there) if each is not None), default=None)


def _places(workspace: Workspace, text: str) -> list[str]:
    """Absolute paths that a text can stand for."""
    path = Path(text).expanduser()
    starts = [Path.cwd(), workspace.paths.root]
    found = [Path(start, path) for start in starts] if not path.is_absolute() else [path]
    plain = [Path(os.path.normpath(each)) for each in found]
    return list(dict.fromkeys(str(each) for each in (*plain, *(p.resolve() for p in plain))))


def _recorded(workspace: Workspace, path: str) -> list[Any]:
    """Files at or below a path that an operation has read, the newest state first."""
    below = under(workspace.store, files.c.path, path)
    read = select(operation_files.c.file_id).where(operation_files.c.file_id == files.c.id)
    query = select(files).where(or_(files.c.path == path, below), read.exists())
    with workspace.store.reading() as connection:
        return list(connection.execute(query.order_by(files.c.path, files.c.modified.desc())))


def _files(
    workspace: Workspace,
    text: str,
    path: str,
    rows: Sequence[Any],
    columns: tuple[str, ...],
    sha256: str | None,
    copies: bool,
) -> Origin:
    label = shown(workspace, path)
    others: tuple[str, ...] = ()
    if rows[0].path == path:
        rows, others = _one_content(workspace, label, rows, sha256)
    elif sha256 is not None:
        known = list(dict.fromkeys(row.sha256 for row in rows))
        rows = [row for row in rows if row.sha256.startswith(sha256.lower())]
        if not rows:
            raise UnknownContentError(label, sha256, known)
    found = [*_grouped(rows)]
    same = _copies(workspace, found)
    if copies:
        found += _grouped([row for row in same if row.path not in {f.path for f in found}])
        same = []
    _check_columns(label, columns, _parquet_columns(found))
    listed = _listed(workspace, found, same)
    kept = quarantined(workspace.store, [each.path for each in found if each.state == "gone"])
    recall = kept[0] if kept else None
    return Origin(text, label, tuple(found), None, None, columns, listed, others, recall)


def _unread(workspace: Workspace, text: str, path: str, columns: tuple[str, ...]) -> Origin:
    """Files of which no operation is known to have read these bytes; one can have, all the same."""
    found = [
        OriginFile(str(each), each.stat().st_size, sha256, (), "unchanged")
        for each in listing(path)
        if (sha256 := digest(each)) is not None
    ]
    label = shown(workspace, path)
    _check_columns(label, columns, _parquet_columns(found))
    copies = _listed(workspace, found, _copies(workspace, found))
    return Origin(text, label, tuple(found), None, None, columns, copies)


def _one_content(
    workspace: Workspace, label: str, rows: Sequence[Any], sha256: str | None
) -> tuple[list[Any], tuple[str, ...]]:
    """The rows of the contents that are meant, and the checksums of the others."""
    known = list(dict.fromkeys(row.sha256 for row in rows))
    if sha256 is not None:
        chosen = [each for each in known if each.startswith(sha256.lower())]
        if len(chosen) != 1:
            raise UnknownContentError(label, sha256, known)
    elif len(known) == 1:
        chosen = known
    else:
        kept = quarantined(workspace.store, [rows[0].path])
        now = digest(Path(rows[0].path)) or (kept[1] if kept else None)
        if now not in known:
            why = "is gone" if now is None else f"is {now[:12]} now"
            when = [
                (each, clock.iso(max(r.seen_at for r in rows if r.sha256 == each)))
                for each in known
            ]
            raise SeveralContentsError(label, why, when)
        chosen = [now]
    meant = [row for row in rows if row.sha256 == chosen[0]]
    return meant, tuple(each for each in known if each != chosen[0])


def _grouped(rows: Iterable[Any]) -> list[OriginFile]:
    groups: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        groups.setdefault((row.path, row.sha256), []).append(row)
    return [
        OriginFile(path, same[0].size, sha, tuple(row.id for row in same), state(path, sha))
        for (path, sha), same in groups.items()
    ]


def _copies(workspace: Workspace, found: Sequence[OriginFile]) -> list[Any]:
    digests = sorted({file.sha256 for file in found})
    paths = {file.path for file in found}
    rows: list[Any] = []
    read = select(operation_files.c.file_id).where(operation_files.c.file_id == files.c.id)
    with workspace.store.reading() as connection:
        for start in range(0, len(digests), 500):
            some = digests[start : start + 500]
            rows += connection.execute(select(files).where(files.c.sha256.in_(some), read.exists()))
    return [row for row in rows if row.path not in paths]


def _listed(
    workspace: Workspace, found: Sequence[OriginFile], same: Sequence[Any]
) -> tuple[Copy, ...]:
    by_digest = {file.sha256: file.path for file in found}
    counts: dict[tuple[str, str], set[str]] = {}
    with workspace.store.reading() as connection:
        for row in same:
            query = select(operation_files.c.operation_id).where(
                operation_files.c.file_id == row.id
            )
            counts.setdefault((row.path, row.sha256), set()).update(connection.scalars(query))
    return tuple(
        Copy(shown(workspace, path), shown(workspace, by_digest[sha]), len(read))
        for (path, sha), read in sorted(counts.items())
    )


def state(path: str, sha256: str) -> FileState:
    """Whether a path still holds the bytes of a checksum."""
    now = digest(Path(path))
    if now is None:
        return "gone"
    return "unchanged" if now == sha256 else "changed"


def digest(path: Path) -> str | None:
    """The checksum of a file's bytes; ``None`` where there is no file.

    Raises:
        OSError: it is there and cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _parquet_columns(found: Sequence[OriginFile]) -> list[str]:
    """Columns of the first file that can tell them; none where none can."""
    import pyarrow
    from pyarrow import parquet

    for file in found:
        if file.state == "unchanged" and file.path.endswith(".parquet"):
            try:
                return list(parquet.read_schema(file.path).names)
            except (OSError, pyarrow.ArrowException):
                # A recalled file can well be one that cannot be read.
                return []
    return []


def covers(read: str, path: str) -> bool:
    """Whether a recorded read of a path or a pattern is of this file."""
    if read == path or path.startswith(read.rstrip("/") + "/"):
        return True
    if not any(mark in read for mark in "*?[{"):
        return False
    return "{" in read or fnmatch(path, read) or fnmatch(path, read.rstrip("/") + "/*")


def shown(workspace: Workspace, path: str) -> str:
    """A path as a person knows it: relative to the project where it lies inside."""
    root = workspace.paths.root
    return str(Path(path).relative_to(root)) if Path(path).is_relative_to(root) else path


def _spellings(workspace: Workspace, text: str) -> list[str]:
    """Names that the text may have meant."""
    parts = min(text.count(".") + 1, 3)
    names = [".".join(str(entry.name).split(".")[-parts:]) for entry in workspace.catalog.list()]
    query = select(files.c.path).order_by(files.c.id.desc()).limit(2000)
    with workspace.store.reading() as connection:
        paths = list(connection.scalars(query))
    return [*names, *(shown(workspace, path) for path in paths), *paths]
