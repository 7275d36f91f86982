"""The lineage: what each executed action read and wrote, at which version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Connection, and_, func, insert, select

from headrace.catalog import flows
from headrace.catalog.fingerprint import fingerprints, keys_of
from headrace.catalog.names import TableName
from headrace.catalog.operation import Access, Operation, RawFile
from headrace.catalog.store import insert_or_skip
from headrace.catalog.tables import accesses, files, operation_files, operations, replacing

if TYPE_CHECKING:
    from headrace.catalog.store import Store

_AT_A_TIME = 500  # below the number of bound values that any SQLite accepts


class Lineage:
    """Recorded operations of one database."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: list[Callable[[Operation], None]] = []

    def subscribe(self, listener: Callable[[Operation], None]) -> None:
        """Call ``listener`` with each operation that this object records, once it is recorded.

        It runs in the thread that recorded the operation, so it must return at once, and it must
        not raise.
        """
        self._listeners.append(listener)

    def record(self, operation: Operation) -> None:
        """Record one operation, in one transaction. Recording the same id again does nothing."""
        row: dict[str, object] = {
            "id": operation.id,
            "kind": operation.kind,
            "subject": operation.subject,
            "session_id": operation.session_id,
            "run_id": operation.run_id,
            "started_at": operation.started_at,
            "finished_at": operation.finished_at,
            "mode": operation.mode,
            "source": operation.source,
        }
        replaces = operation.mode == "overwrite"
        touched = [
            *_access_rows(operation.id, "read", operation.reads),
            *_access_rows(operation.id, "write", operation.writes, replaces),
        ]
        with self._store.begin() as connection:
            row["flow_set"] = flows.keep(connection, operation.flows)
            if not insert_or_skip(connection, operations, row):
                return
            if touched:
                connection.execute(insert(accesses), touched)
            file_ids = dict.fromkeys(keys_of(connection, operation.files))
            if file_ids:
                connection.execute(
                    insert(operation_files),
                    [
                        {"operation_id": operation.id, "file_id": file_id, "position": position}
                        for position, file_id in enumerate(file_ids)
                    ],
                )
        for listener in self._listeners:
            listener(operation)

    def operation(self, operation_id: str) -> Operation | None:
        """The operation of that id, or ``None``."""
        found = self._select(operations.c.id == operation_id)
        return found[0] if found else None

    def operations(
        self,
        *,
        subject: str | None = None,
        session_id: str | None = None,
        run_id: str | None = None,
        kind: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> list[Operation]:
        """Operations that meet every condition given, newest first.

        Args:
            subject: the table, model or endpoint it was made for.
            session_id: the Spark session.
            run_id: the MLflow run.
            kind: such as ``refresh``.
            since: finished at or after this moment.
            until: finished at or before this moment.
            limit: at most so many.
        """
        conditions: list[ColumnElement[bool]] = [
            column == value
            for column, value in (
                (operations.c.subject, subject),
                (operations.c.session_id, session_id),
                (operations.c.run_id, run_id),
                (operations.c.kind, kind),
            )
            if value is not None
        ]
        if since is not None:
            conditions.append(operations.c.finished_at >= since)
        if until is not None:
            conditions.append(operations.c.finished_at <= until)
        return self._select(*conditions, limit=limit)

    def producers(self, table: TableName | str, version: int) -> list[Operation]:
        """Every recorded operation whose rows that version of the table can hold, newest first.

        Walks back from ``version`` to the last operation that replaced all rows (mode
        ``overwrite``); appends, merges, updates and deletes on the way are included. Where a
        table was dropped and made again under its name, only the writes of the newer one count.
        """
        name = str(table if isinstance(table, TableName) else TableName.parse(table))
        wrote = and_(
            accesses.c.name == name,
            accesses.c.direction == "write",
            accesses.c.version <= version,
        )
        joined = accesses.join(operations)
        with self._store.reading() as connection:
            born = connection.scalar(
                select(func.max(operations.c.started_at))
                .select_from(joined)
                .where(wrote, accesses.c.version == 0)
            )
            if born is not None:
                wrote = and_(wrote, operations.c.finished_at >= born)
            replaced = connection.scalar(
                select(func.max(accesses.c.version)).select_from(joined).where(wrote, replacing)
            )
        if replaced is not None:
            wrote = and_(wrote, accesses.c.version >= replaced)
        writers = select(accesses.c.operation_id).select_from(joined).where(wrote)
        return self._select(operations.c.id.in_(writers))

    def consumers(self, table: TableName | str, version: int | None = None) -> list[Operation]:
        """Every recorded operation that read the table (that version of it), newest first."""
        name = str(table if isinstance(table, TableName) else TableName.parse(table))
        read = select(accesses.c.operation_id).where(
            accesses.c.name == name, accesses.c.direction == "read"
        )
        if version is not None:
            read = read.where(accesses.c.version == version)
        return self._select(operations.c.id.in_(read))

    def fingerprint(self, path: str | Path) -> RawFile:
        """Size, checksum and modification time of a raw file.

        The checksum of a file whose size and modification time have not changed is not
        calculated again.

        Raises:
            RawFileError: the file cannot be read.
        """
        return self.fingerprints([path])[0]

    def fingerprints(self, paths: Iterable[str | Path]) -> list[RawFile]:
        """As ``fingerprint``, of many files in one look at the database, in order."""
        return fingerprints(self._store, [Path(path) for path in paths])

    def _select(
        self, *conditions: ColumnElement[bool], limit: int | None = None
    ) -> list[Operation]:
        query = (
            select(operations)
            .where(and_(True, *conditions))
            .order_by(operations.c.finished_at.desc(), operations.c.id.desc())
            .limit(limit)
        )
        with self._store.reading() as connection:
            rows = connection.execute(query).all()
            ids = [row.id for row in rows]
            touched = _accesses_of(connection, ids)
            raw = _files_of(connection, ids)
            columns = flows.of_sets(connection, (row.flow_set for row in rows))
        return [
            Operation(
                id=row.id,
                kind=row.kind,
                subject=row.subject,
                session_id=row.session_id,
                run_id=row.run_id,
                started_at=row.started_at,
                finished_at=row.finished_at,
                reads=tuple(touched.get((row.id, "read"), ())),
                writes=tuple(touched.get((row.id, "write"), ())),
                mode=row.mode,
                files=tuple(raw.get(row.id, ())),
                source=row.source,
                flows=columns.get(row.flow_set, ()),
            )
            for row in rows
        ]


def _access_rows(
    operation_id: str,
    direction: str,
    touched: Sequence[Access],
    replaces: bool | None = None,
) -> list[dict[str, object]]:
    return [
        {
            "operation_id": operation_id,
            "direction": direction,
            "position": position,
            "kind": access.kind,
            "name": access.name,
            "version": access.version,
            "columns": None if access.columns is None else list(access.columns),
            "location": access.location,
            "replaces": replaces,
        }
        for position, access in enumerate(touched)
    ]


def _accesses_of(connection: Connection, ids: Sequence[str]) -> dict[tuple[str, str], list[Access]]:
    found: dict[tuple[str, str], list[Access]] = {}
    for start in range(0, len(ids), _AT_A_TIME):
        query = (
            select(accesses)
            .where(accesses.c.operation_id.in_(ids[start : start + _AT_A_TIME]))
            .order_by(accesses.c.operation_id, accesses.c.direction, accesses.c.position)
        )
        for row in connection.execute(query):
            access = Access(
                kind=row.kind,
                name=row.name,
                version=row.version,
                columns=None if row.columns is None else tuple(row.columns),
                location=row.location,
            )
            found.setdefault((row.operation_id, row.direction), []).append(access)
    return found


def _files_of(connection: Connection, ids: Sequence[str]) -> dict[str, list[RawFile]]:
    found: dict[str, list[RawFile]] = {}
    for start in range(0, len(ids), _AT_A_TIME):
        query = (
            select(operation_files.c.operation_id, files)
            .join(files)
            .where(operation_files.c.operation_id.in_(ids[start : start + _AT_A_TIME]))
            .order_by(operation_files.c.operation_id, operation_files.c.position)
        )
        for row in connection.execute(query):
            raw = RawFile(path=row.path, size=row.size, sha256=row.sha256, modified=row.modified)
            found.setdefault(row.operation_id, []).append(raw)
    return found
