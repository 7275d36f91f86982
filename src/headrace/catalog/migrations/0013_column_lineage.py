"""Which columns each written column came from, and which writes replaced a table's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection


def upgrade(connection: Connection) -> None:
    """Create the tables; mark the writes that are recorded already."""
    metadata = MetaData()
    Table(
        "headrace_flow_sets",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("digest", String(64), nullable=False, unique=True),
        Column("flows", Text, nullable=False),
    )
    metadata.create_all(connection)
    for statement in _STATEMENTS:
        connection.execute(text(statement))
    accesses = Table(
        "headrace_accesses",
        MetaData(),
        Column("name", Text),
        Column("version", BigInteger),
        Column("replaces", Boolean),
    )
    Index(
        "ix_headrace_accesses_replaces",
        accesses.c.name,
        accesses.c.version,
        sqlite_where=accesses.c.replaces,
        postgresql_where=accesses.c.replaces,
    ).create(connection)


_STATEMENTS = (
    "ALTER TABLE headrace_operations ADD COLUMN flow_set INTEGER"
    " REFERENCES headrace_flow_sets (id)",
    "ALTER TABLE headrace_accesses ADD COLUMN replaces BOOLEAN",
    "UPDATE headrace_accesses SET replaces = operation_id IN"
    " (SELECT id FROM headrace_operations WHERE mode = 'overwrite') WHERE direction = 'write'",
)
