"""What an endpoint's rollout decides, and the numbers it decided on."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Connection, Index, Integer, MetaData, String, Table, Text, text

from headrace.catalog.store import UtcDateTime


def upgrade(connection: Connection) -> None:
    """Keep the whole spec of an endpoint, and each decision of its rollouts."""
    connection.execute(text("ALTER TABLE headrace_endpoints ADD COLUMN spec JSON"))
    metadata = MetaData()
    Table(
        "headrace_rollout_decisions",
        metadata,
        Column("id", String(64), primary_key=True),
        Column("endpoint", String(64), nullable=False),
        Column("deployment", String(64), nullable=False),
        Column("at", UtcDateTime, nullable=False),
        Column("action", String(16), nullable=False),
        Column("reason", Text, nullable=False),
        Column("decided_by", Text, nullable=False),
        Column("step", Integer, nullable=False),
        Column("shares_before", JSON, nullable=False),
        Column("shares_after", JSON, nullable=False),
        Column("evidence", JSON, nullable=False),
        Index("ix_headrace_rollout_decisions_endpoint", "endpoint", "at"),
        Index("ix_headrace_rollout_decisions_deployment", "deployment", "action"),
    )
    metadata.create_all(connection)
