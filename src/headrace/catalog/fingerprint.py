"""Checksums of raw files, calculated once for each state of a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, and_, insert, select

from headrace import clock
from headrace.catalog.errors import RawFileError
from headrace.catalog.operation import RawFile
from headrace.catalog.tables import files

if TYPE_CHECKING:
    from headrace.catalog.store import Store

# A file changed within the clock's resolution after its checksum was taken keeps its
# modification time. A checksum counts only for a file that had been still for this long.
_SETTLED = timedelta(seconds=2)


def fingerprint(store: Store, path: Path) -> RawFile:
    """Size, checksum and modification time of a file, with a cache in the database.

    Raises:
        RawFileError: the file cannot be read, or changes while it is read.
    """
    path = path.absolute()
    size, modified = _state(path)
    query = (
        select(files.c.sha256)
        .where(
            files.c.path == str(path),
            files.c.size == size,
            files.c.modified == modified,
            files.c.seen_at >= modified + _SETTLED,
        )
        .limit(1)
    )
    with store.reading() as connection:
        known = connection.scalar(query)
    if known is not None:
        return RawFile(str(path), size, known, modified)
    try:
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RawFileError(path, error.strerror or str(error)) from error
    if _state(path) != (size, modified):
        raise RawFileError(path, "it is being written while its checksum is taken")
    found = RawFile(str(path), size, checksum, modified)
    with store.begin() as connection:
        remember(connection, [found])
    return found


def remember(connection: Connection, found: Iterable[RawFile]) -> list[int]:
    """Keys of the files in the database, in order; rows are made for those it lacks."""
    keys = []
    for file in found:
        is_same = and_(
            files.c.path == file.path,
            files.c.size == file.size,
            files.c.modified == file.modified,
            files.c.sha256 == file.sha256,
        )
        key = connection.scalar(select(files.c.id).where(is_same))
        if key is None:
            row = insert(files).values(
                path=file.path,
                size=file.size,
                sha256=file.sha256,
                modified=file.modified,
                seen_at=clock.now(),
            )
            key = connection.scalar(row.returning(files.c.id))
        keys.append(int(key))
    return keys


def _state(path: Path) -> tuple[int, datetime]:
    try:
        status = path.stat()
    except OSError as error:
        raise RawFileError(path, error.strerror or str(error)) from error
    microseconds = status.st_mtime_ns // 1000
    return status.st_size, datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)
