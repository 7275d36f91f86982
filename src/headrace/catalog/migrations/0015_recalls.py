"""Recalls and what they quarantined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

from headrace.catalog.store import UtcDateTime

if TYPE_CHECKING:
    from sqlalchemy import Connection


def upgrade(connection: Connection) -> None:
    """Create the tables; index what a recall looks up: places of tables, contents of files."""
    metadata = MetaData()
    recalls = Table(
        "headrace_recalls",
        metadata,
        Column("id", String(64), primary_key=True),
        Column("origin", JSON, nullable=False),
        Column("label", Text, nullable=False),
        Column("state", String(16), nullable=False),
        Column("reason", Text, nullable=False),
        Column("by", Text, nullable=False),
        Column("reached", JSON, nullable=False),
        Column("error", Text),
        Column("started_at", UtcDateTime, nullable=False),
        Column("finished_at", UtcDateTime),
        Index("ix_headrace_recalls_started", "started_at"),
    )
    Table(
        "headrace_recall_files",
        metadata,
        Column("recall", ForeignKey(recalls.c.id, ondelete="CASCADE"), primary_key=True),
        Column("position", Integer, primary_key=True),
        Column("path", Text, nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("sha256", String(64), nullable=False),
        Column("state", String(16), nullable=False),
        Column("place", Text, nullable=False),
    )
    Table(
        "headrace_recall_steps",
        metadata,
        Column("recall", ForeignKey(recalls.c.id, ondelete="CASCADE"), primary_key=True),
        Column("position", Integer, primary_key=True),
        Column("kind", String(16), nullable=False),
        Column("name", Text, nullable=False),
        Column("state", String(16), nullable=False),
        Column("message", Text),
        Column("facts", JSON, nullable=False),
        Column("finished_at", UtcDateTime),
        Index("ix_headrace_recall_steps_name", "kind", "name"),
    )
    metadata.create_all(connection)
    for statement in _INDEXES:
        connection.execute(text(statement))


_INDEXES = (
    "CREATE INDEX ix_headrace_accesses_location ON headrace_accesses (location, name)",
    "CREATE INDEX ix_headrace_files_sha256 ON headrace_files (sha256)",
)
