"""Numbered steps that bring the database up to date.

Each module ``NNNN_name.py`` here has ``upgrade(connection)``, which creates or alters tables
with its own frozen copy of their columns: a migration that has run somewhere never changes.
All pending steps run in one transaction, under a lock that other processes wait for.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    String,
    Table,
    func,
    insert,
    inspect,
    select,
    text,
)

from headrace import clock
from headrace.catalog.errors import DatabaseTooNewError
from headrace.catalog.store import UtcDateTime, metadata

if TYPE_CHECKING:
    from headrace.catalog.store import Store

applied: Final = Table(
    "headrace_migrations",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String(255), nullable=False),
    Column("applied_at", UtcDateTime, nullable=False),
)

_LOCK_KEY: Final = 0x68656164  # "head": any number that is the same in every process


@dataclass(frozen=True)
class Migration:
    """One numbered step."""

    number: int
    name: str
    upgrade: Callable[[Connection], None]


def known() -> list[Migration]:
    """The migrations of this version, in order."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        match = re.fullmatch(r"(\d{4})_(\w+)", module.name)
        if match:
            loaded = importlib.import_module(f"{__name__}.{module.name}")
            found.append(Migration(int(match[1]), match[2], loaded.upgrade))
    return sorted(found, key=lambda migration: migration.number)


def upgrade(store: Store) -> list[Migration]:
    """Apply what the database lacks; the migrations applied, in order.

    Raises:
        DatabaseTooNewError: the database holds a migration that this version does not know.
    """
    with store.reading() as connection:
        if not _pending(connection, store):
            return []
    with store.begin() as connection:
        if store.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        pending = _pending(connection, store)
        applied.create(connection, checkfirst=True)
        for migration in pending:
            migration.upgrade(connection)
            connection.execute(
                insert(applied).values(
                    number=migration.number, name=migration.name, applied_at=clock.now()
                )
            )
        return pending


def _pending(connection: Connection, store: Store) -> list[Migration]:
    migrations = known()
    done: set[int] = set()
    if inspect(connection).has_table(applied.name):
        done = set(connection.scalars(select(applied.c.number)))
        newest = connection.scalar(select(func.max(applied.c.number))) or 0
        if newest > migrations[-1].number:
            raise DatabaseTooNewError(store.url, newest, migrations[-1].number)
    return [migration for migration in migrations if migration.number not in done]
