"""What one executed action read and wrote."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

AccessKind = Literal["table", "path", "model"]
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
        mode: the write's mode (``append``, ``overwrite``, ``merge``, ``delete``, ``update``).
        files: the raw files it read.
        source: ``file:line`` of the user's code.
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
