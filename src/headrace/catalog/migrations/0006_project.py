"""Runs and what became of their steps."""

from __future__ import annotations

from sqlalchemy import Column, Connection, Float, Integer, MetaData, String, Table, Text

from headrace.catalog.store import UtcDateTime


def upgrade(connection: Connection) -> None:
    """Create the tables of the project's runs."""
    metadata = MetaData()
    Table(
        "headrace_runs",
        metadata,
        Column("id", String(64), primary_key=True),
        Column("started_at", UtcDateTime, nullable=False),
        Column("finished_at", UtcDateTime),
        Column("state", String(16), nullable=False),
    )
    Table(
        "headrace_run_steps",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("run_id", String(64), nullable=False, index=True),
        Column("step", String(512), nullable=False),
        Column("state", String(16), nullable=False),
        Column("seconds", Float, nullable=False),
        Column("message", Text, nullable=False),
    )
    metadata.create_all(connection)
