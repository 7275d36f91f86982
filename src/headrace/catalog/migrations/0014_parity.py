"""Reports of parity checks."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from headrace.catalog.store import UtcDateTime


def upgrade(connection: Connection) -> None:
    """Create the tables."""
    metadata = MetaData()
    Table(
        "headrace_parity",
        metadata,
        Column("id", String(64), primary_key=True),
        Column("model_name", String(255), nullable=False),
        Column("model_version", Integer, nullable=False),
        Column("endpoint", String(64)),
        Column("deployment", String(64)),
        Column("route", Text, nullable=False),
        Column("rows", Integer, nullable=False),
        Column("difference", Float),
        Column("disagreements", Integer, nullable=False),
        Column("agreed", Boolean),
        Column("reason", Text),
        Column("body", JSON, nullable=False),
        Column("at", UtcDateTime, nullable=False),
        Index("ix_headrace_parity_model", "model_name", "model_version", "at"),
        Index("ix_headrace_parity_endpoint", "endpoint", "at"),
    )
    metadata.create_all(connection)
