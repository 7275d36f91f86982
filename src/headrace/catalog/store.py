"""The database: SQLite in one file by default, PostgreSQL for a team.

Packages declare their tables on ``metadata`` in their own ``store.py`` and add a numbered
migration in ``headrace.catalog.migrations`` that creates them.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import (
    Connection,
    DateTime,
    Dialect,
    Engine,
    MetaData,
    Table,
    TypeDecorator,
    create_engine,
    event,
    literal,
    make_url,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError

from headrace.catalog.errors import DatabaseUnavailableError

metadata: Final = MetaData()

_LOCK_SECONDS: Final = 30
_POSTGRESQL: Final = ("postgres", "postgresql")
_READ_ONLY: Final = "headrace_read_only"


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: takes any time zone, gives UTC. SQLite keeps no zone, so none is stored there."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Raises ValueError for a time without a zone: its moment would be a guess."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class Store:
    """One database. ``begin()`` writes, ``reading()`` reads; both are transactions.

    Threads may share a store, and so may a forked child: it opens connections of its own.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._process = os.getpid()

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the database, make it if it is new, and bring its tables up to date.

        Raises:
            DatabaseUnavailableError: no such server, file, driver or permission.
            DatabaseTooNewError: a newer Headrace has migrated it.
        """
        from headrace.catalog import migrations

        try:
            store = cls(_engine(url))
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            address = url.rpartition("@")[2]  # without a password, as far as one can tell
            raise DatabaseUnavailableError(address, str(error)) from error
        try:
            if store.dialect == "sqlite":
                _use_wal(store.engine)
            migrations.upgrade(store)
        except BaseException as error:
            store.close()
            if isinstance(error, DatabaseError):
                raise DatabaseUnavailableError(store.url, str(error.orig).strip()) from error
            if isinstance(error, sqlite3.Error):
                raise DatabaseUnavailableError(store.url, str(error)) from error
            raise
        return store

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    @property
    def url(self) -> str:
        """The address, without its password."""
        return self.engine.url.render_as_string(hide_password=True)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction that may write: committed at the end, rolled back on an exception.

        On SQLite it holds the write lock from its start, so that two processes wait for each
        other instead of failing when both turn from reading to writing.
        """
        self._after_fork()
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads: one consistent state, and no wait for writers."""
        self._after_fork()
        with self.engine.connect() as connection:
            options: dict[str, Any] = {_READ_ONLY: True}
            if self.dialect == "postgresql":
                # There each statement would see another state.
                options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            connection = connection.execution_options(**options)
            with connection.begin():
                yield connection

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Held by one process at a time, across transactions; released when the process ends."""
        if self.dialect == "postgresql":
            with self.engine.connect() as connection:
                key = {"key": zlib.crc32(name.encode())}
                connection.execute(text("SELECT pg_advisory_lock(:key)"), key)
                try:
                    yield
                finally:
                    connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
            return
        with Path(f"{self.engine.url.database}.{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def close(self) -> None:
        """Close the connections. The store opens new ones when it is used again."""
        self.engine.dispose()

    def _after_fork(self) -> None:
        if os.getpid() != self._process:
            # The parent's connections stay open: closing them here would end its transactions.
            self.engine.dispose(close=False)
            self._process = os.getpid()


def insert_or_skip(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless one with its key is there; whether it was inserted."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).values(**values).on_conflict_do_nothing()
    # The drivers count rows differently here; the row itself they give alike.
    return connection.execute(statement.returning(literal(1))).first() is not None


def driver_url(url: str) -> str:
    """The address with its driver: of PostgreSQL's several, the one that the extra installs."""
    scheme, separator, rest = url.partition("://")
    return f"postgresql+psycopg://{rest}" if scheme in _POSTGRESQL and separator else url


def _engine(url: str) -> Engine:
    address = make_url(driver_url(url))
    if address.get_backend_name() == "sqlite":
        engine = create_engine(address, connect_args={"timeout": _LOCK_SECONDS})
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    # A server that vanishes without a word must not hold up the plane for two hours.
    timeouts = {"connect_timeout": 10, "tcp_user_timeout": _LOCK_SECONDS * 1000}
    return create_engine(address, pool_pre_ping=True, connect_args=timeouts)


def _configure_sqlite(connection: Any, _record: object) -> None:
    # The driver must not begin transactions itself: it would begin them as readers.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin_sqlite(connection: Connection) -> None:
    reads_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if reads_only else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def _use_wal(engine: Engine) -> None:
    """Switch the file to a write-ahead log. The mode stays with the file, for MLflow too."""
    deadline = time.monotonic() + _LOCK_SECONDS
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        while True:
            try:
                cursor.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                # SQLite does not wait for the lock here, unlike everywhere else.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.02)
    finally:
        raw.close()
