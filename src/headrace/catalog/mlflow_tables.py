"""MLflow's tables beside ours, made whole or not at all.

MLflow creates its tables on first use, in some forty migrations that are not one transaction on
SQLite: a process that is killed meanwhile leaves a database that MLflow refuses from then on,
and two that begin at once disturb each other.
"""

from __future__ import annotations

import logging
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import create_engine, inspect

from headrace.catalog import guards
from headrace.crash import crash_point

if TYPE_CHECKING:
    from headrace.catalog.store import Store

_MARK: Final = "alembic_version"  # holds the number of MLflow's last migration


def ensure_mlflow_tables(store: Store) -> None:
    """Create MLflow's tables if the database has none. Safe from several processes at once.

    They are guarded from then on; see ``guards``.
    """
    if not _exist(store):
        with store.lock("mlflow"):
            if not _exist(store):
                _create(store)
    guards.install(store)


def _create(store: Store) -> None:
    if store.dialect != "sqlite":
        _initialize(store.engine)
        return
    statements = _schema()
    with store.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        crash_point("mlflow-tables")


def _exist(store: Store) -> bool:
    with store.reading() as connection:
        return inspect(connection).has_table(_MARK)


@cache
def _schema() -> tuple[str, ...]:
    """The statements that make MLflow's tables, from a scratch database that MLflow made."""
    with tempfile.TemporaryDirectory(prefix="headrace-") as directory:
        path = Path(directory) / "mlflow.db"
        engine = create_engine(f"sqlite:///{path}")
        try:
            _initialize(engine)
        finally:
            engine.dispose()
        with closing(sqlite3.connect(path)) as connection:
            dumped = list(connection.iterdump())
    # The store opens and ends the transaction.
    return tuple(line for line in dumped if line not in ("BEGIN TRANSACTION;", "COMMIT;"))


def _initialize(engine: Any) -> None:
    from mlflow.store.db.utils import _initialize_tables

    with _quiet("alembic", "mlflow.store.db.utils"):
        _initialize_tables(engine)


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Without the lines that each migration logs at level INFO."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
