"""Pins: table versions that model versions need."""

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
    """Create the tables."""
    metadata = MetaData()
    Table(
        "headrace_pins",
        metadata,
        Column("model", String(255), primary_key=True),
        Column("version", Integer, primary_key=True),
        Column("name", Text, primary_key=True),
        Column("table_version", BigInteger, primary_key=True),
        Column("kind", String(16), nullable=False),
        Column("table_id", String(64)),
        Column("why", String(64), nullable=False),
        Column("pinned_at", UtcDateTime, nullable=False),
        Column("released_at", UtcDateTime),
        Column("released_by", Text),
        Column("reason", Text),
        Index("ix_headrace_pins_name", "name", "released_at"),
    )
    Table(
        "headrace_pin_checks",
        metadata,
        Column("name", Text, primary_key=True),
        Column("listing", String(64), nullable=False),
        Column("found", JSON, nullable=False),
        Column("checked_at", UtcDateTime, nullable=False),
    )
    metadata.create_all(connection)
