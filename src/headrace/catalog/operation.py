"""What one executed action read and wrote."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

AccessKind = Literal["table", "path", "model"]
How = Literal["direct", "indirect", "unknown"]
OperationKind = Literal["write", "read", "refresh", "append", "train", "score", "request_log"]


@dataclass(frozen=True)
class Access:
    """One thing that an operation read or wrote.

    Attributes:
        kind: ``table``, ``path`` or ``model``.
        name: the qualified table name, the path, or ``models:/m-...``.
        version: the Delta version, where there is one.
        columns: the columns touched; ``None`` if that is not known or all of them.
        location: directory of the table's Delta log, where there is one.
    """

    kind: AccessKind
    name: str
    version: int | None = None
    columns: tuple[str, ...] | None = None
    location: str | None = None


@dataclass(frozen=True)
class ColumnFlow:
    """A column that an operation wrote, and one thing that it came from.

    Which rows there are counts as a column without a name: a filter on ``c`` is the flow of ``c``
    into no column, ``COUNT(*)`` is one from no column. Whatever reaches the rows of a table
    reaches every column of it.

    Attributes:
        column: the written column; ``None``: which rows were written, and so every column.
        source: position of the read in ``Operation.reads``.
        source_column: the column that was read; ``None``: which rows there are.
        how: ``direct``: values came from its values (or rows from its rows). ``indirect``: its
            values decided which rows or values these are, as filters, join keys, group, order and
            window keys do. ``unknown``: code that cannot be looked into saw it, so it can be
            either or neither; with no source column, the code saw all that was read there.
    """

    column: str | None
    source: int
    source_column: str | None
    how: How


@dataclass(frozen=True)
class RawFile:
    """One raw file as it was when it was read.

    Attributes:
        path: absolute path.
        size: bytes.
        sha256: checksum of the contents, hexadecimal.
        modified: modification time, to the microsecond.
    """

    path: str
    size: int
    sha256: str
    modified: datetime


@dataclass(frozen=True)
class Operation:
    """One executed action, recorded after it succeeded.

    Attributes:
        id: made with ``new_id("op")``.
        kind: what it was part of.
        subject: the table, model or endpoint it was made for; ``None`` for an ad-hoc action.
        session_id: the Spark session.
        run_id: the MLflow run that was active.
        started_at: when it began, with a time zone.
        finished_at: when it ended.
        reads: what it read, with versions.
        writes: what it wrote, with the versions that the writes made.
        mode: the write's mode (``append``, ``overwrite``, ``overwrite_part``, ``merge``,
            ``delete``, ``update``); after an ``overwrite`` no row of an earlier write is left.
        files: the raw files it read.
        source: ``file:line`` of the user's code.
        flows: where the written columns came from. Rows that an earlier version of the written
            table held, and that stay in it, are no part of them. A write with reads and
            without flows is one of which they are not known: each column can come from all.
    """

    id: str
    kind: OperationKind
    subject: str | None
    session_id: str | None
    run_id: str | None
    started_at: datetime
    finished_at: datetime
    reads: tuple[Access, ...] = ()
    writes: tuple[Access, ...] = ()
    mode: str | None = None
    files: tuple[RawFile, ...] = ()
    source: str | None = None
    flows: tuple[ColumnFlow, ...] = ()
