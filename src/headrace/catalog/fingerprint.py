"""Checksums of raw files, calculated once for each state of a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Row, select

from headrace import clock
from headrace.catalog.errors import RawFileError
from headrace.catalog.operation import RawFile
from headrace.catalog.store import insert_or_skip
from headrace.catalog.tables import files

if TYPE_CHECKING:
    from headrace.catalog.store import Store

# A file changed within the clock's resolution after its checksum was taken keeps its
# modification time. A checksum counts only for a file that had been still for this long.
_SETTLED: Final = timedelta(seconds=2)
_AT_A_TIME: Final = 500  # below the number of bound values that any SQLite accepts

_KEY: Final = ("path", "size", "modified", "sha256")
_State = tuple[str, int, datetime]


def fingerprints(store: Store, paths: Iterable[Path]) -> list[RawFile]:
    """Size, checksum and modification time of files, in order, with a cache in the database.

    Raises:
        RawFileError: a file cannot be read, or changes while it is read.
    """
    states = [_state(path.absolute()) for path in paths]
    with store.reading() as connection:
        known = {
            (row.path, row.size, row.modified): row.sha256
            for row in _rows(connection, [state[0] for state in states])
            if row.seen_at >= row.modified + _SETTLED
        }
    new: list[tuple[RawFile, datetime]] = []
    found = []
    for state in states:
        if state not in known:
            seen_at = clock.now()
            known[state] = _checksum(state)
            new.append((_raw(state, known[state]), seen_at))
        found.append(_raw(state, known[state]))
    if new:
        with store.begin() as connection:
            for file, seen_at in new:
                _insert(connection, file, seen_at)
                is_it = [files.c[name] == getattr(file, name) for name in _KEY]
                connection.execute(files.update().where(*is_it).values(seen_at=seen_at))
    return found


def keys_of(connection: Connection, found: Sequence[RawFile]) -> list[int]:
    """Keys of the files in the database, in order; rows are made for those it lacks."""
    known = _keys(connection, found)
    for file in found:
        if file not in known:
            # The modification time as the time of the look keeps it from use as a cache.
            _insert(connection, file, file.modified)
    known = _keys(connection, found)
    return [known[file] for file in found]


def _keys(connection: Connection, found: Sequence[RawFile]) -> dict[RawFile, int]:
    rows = _rows(connection, [file.path for file in found])
    return {_raw((row.path, row.size, row.modified), row.sha256): row.id for row in rows}


def _rows(connection: Connection, paths: Sequence[str]) -> list[Row[Any]]:
    rows: list[Row[Any]] = []
    for start in range(0, len(paths), _AT_A_TIME):
        some = paths[start : start + _AT_A_TIME]
        rows += connection.execute(select(files).where(files.c.path.in_(some)))
    return rows


def _insert(connection: Connection, file: RawFile, seen_at: datetime) -> None:
    values = {name: getattr(file, name) for name in _KEY}
    insert_or_skip(connection, files, values | {"seen_at": seen_at})


def _raw(state: _State, checksum: str) -> RawFile:
    path, size, modified = state
    return RawFile(path, size, checksum, modified)


def _checksum(state: _State) -> str:
    path = Path(state[0])
    try:
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RawFileError(path, error.strerror or str(error)) from error
    if _state(path) != state:
        raise RawFileError(path, "it is being written while its checksum is taken")
    return checksum


def _state(path: Path) -> _State:
    try:
        status = path.stat()
    except OSError as error:
        raise RawFileError(path, error.strerror or str(error)) from error
    modified = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=status.st_mtime_ns // 1000)
    return str(path), status.st_size, modified
