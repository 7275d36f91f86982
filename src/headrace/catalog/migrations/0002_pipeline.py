"""Refreshes of pipeline tables, files that streams have read, and counts of expectations."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from headrace.catalog.store import UtcDateTime


def upgrade(connection: Connection) -> None:
    """Create the tables of the pipeline."""
    metadata = MetaData()
    refreshes = Table(
        "headrace_refreshes",
        metadata,
        Column("id", String(64), primary_key=True),
        Column("dataset", Text, nullable=False),
        Column("status", String(16), nullable=False),
        Column("epoch", Integer, nullable=False),
        Column("batch", Integer),
        Column("code", String(64), nullable=False),
        Column("settings", JSON, nullable=False),
        Column("inputs", JSON, nullable=False),
        Column("prepared", JSON(none_as_null=True)),
        Column("version", BigInteger),
        Column("rows", BigInteger),
        Column("dropped", BigInteger),
        Column("started_at", UtcDateTime, nullable=False),
        Column("finished_at", UtcDateTime),
        Column("error", Text),
        Index("ix_headrace_refreshes_dataset", "dataset", "status", "id"),
    )
    Table(
        "headrace_stream_files",
        metadata,
        Column("dataset", String(600), primary_key=True),
        Column("epoch", Integer, primary_key=True),
        Column("flow", String(600), primary_key=True),
        Column("path", Text, primary_key=True),
        Column("size", BigInteger, nullable=False),
        Column("modified_ns", BigInteger, nullable=False),
        Column("sha256", String(64), nullable=False),
        Column("batch", Integer, nullable=False),
    )
    Table(
        "headrace_expectations",
        metadata,
        Column("refresh_id", ForeignKey(refreshes.c.id, ondelete="CASCADE"), primary_key=True),
        Column("name", String(255), primary_key=True),
        Column("action", String(16), nullable=False),
        Column("condition", Text, nullable=False),
        Column("passed", BigInteger, nullable=False),
        Column("failed", BigInteger, nullable=False),
    )
    metadata.create_all(connection)
