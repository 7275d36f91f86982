"""Evidence: signed statements in one chain."""

from __future__ import annotations

from sqlalchemy import Column, Connection, Index, Integer, MetaData, String, Table, Text

from headrace.catalog.store import UtcDateTime


def upgrade(connection: Connection) -> None:
    """Create the tables."""
    metadata = MetaData()
    Table(
        "headrace_evidence",
        metadata,
        Column("sequence", Integer, primary_key=True, autoincrement=False),
        Column("digest", String(64), nullable=False),
        Column("kind", String(16), nullable=False),
        Column("model", String(255)),
        Column("version", Integer),
        Column("alias", String(255)),
        Column("envelope", Text, nullable=False),
        Column("created_at", UtcDateTime, nullable=False),
        Index("ix_headrace_evidence_digest", "digest", unique=True),
        Index("ix_headrace_evidence_model", "model", "version", "sequence"),
    )
    Table(
        "headrace_evidence_head",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("sequence", Integer, nullable=False),
        Column("digest", String(64), nullable=False),
        Column("keyid", String(64), nullable=False),
        Column("envelope", Text, nullable=False),
    )
    metadata.create_all(connection)
