"""Batch scorings."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from headrace.catalog.store import UtcDateTime


def upgrade(connection: Connection) -> None:
    """Create the table of batch scorings."""
    metadata = MetaData()
    Table(
        "headrace_scorings",
        metadata,
        Column("id", String(64), primary_key=True),
        Column("number", Integer, nullable=False),
        Column("table", Text, nullable=False),
        Column("status", String(16), nullable=False),
        Column("spec_digest", String(64), nullable=False),
        Column("model_name", Text, nullable=False),
        Column("model_version", BigInteger, nullable=False),
        Column("model_id", String(255), nullable=False),
        Column("run_id", String(64)),
        Column("input_table", Text, nullable=False),
        Column("input_version", BigInteger, nullable=False),
        Column("columns", JSON, nullable=False),
        Column("version_before", BigInteger),
        Column("version", BigInteger),
        Column("mode", String(16)),
        Column("scored", BigInteger),
        Column("unchanged", BigInteger),
        Column("removed", BigInteger),
        Column("started_at", UtcDateTime, nullable=False),
        Column("finished_at", UtcDateTime),
        Column("error", Text),
        Index("ix_headrace_scorings_table", "table", "number", unique=True),
    )
    metadata.create_all(connection)
