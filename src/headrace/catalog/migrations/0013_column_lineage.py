"""Which columns each written column came from, and which writes replaced a table's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, Text, text

if TYPE_CHECKING:
    from sqlalchemy import Connection


def upgrade(connection: Connection) -> None:
    """Create the tables; mark the writes that are recorded already."""
    metadata = MetaData()
    flow_sets = Table(
        "headrace_flow_sets",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("digest", String(64), nullable=False, unique=True),
    )
    Table(
        "headrace_column_flows",
        metadata,
        Column("flow_set", ForeignKey(flow_sets.c.id, ondelete="CASCADE"), primary_key=True),
        Column("position", Integer, primary_key=True),
        Column("column", Text),
        Column("source", Integer, nullable=False),
        Column("source_column", Text),
        Column("how", String(8), nullable=False),
    )
    metadata.create_all(connection)
    for statement in _STATEMENTS:
        connection.execute(text(statement))


_STATEMENTS = (
    "ALTER TABLE headrace_operations ADD COLUMN flow_set INTEGER"
    " REFERENCES headrace_flow_sets (id)",
    "ALTER TABLE headrace_accesses ADD COLUMN replaces BOOLEAN",
    "UPDATE headrace_accesses SET replaces = operation_id IN"
    " (SELECT id FROM headrace_operations WHERE mode = 'overwrite') WHERE direction = 'write'",
    "CREATE INDEX ix_headrace_accesses_replaces ON headrace_accesses (name, version)"
    " WHERE replaces",
)
