"""Verdicts and moves of aliases in the database."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Index, Integer, String, Table, Text

from headrace.catalog.store import UtcDateTime, metadata

verdicts = Table(
    "headrace_verdicts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("model", String(255), nullable=False),
    Column("version", Integer, nullable=False),
    Column("champion", Integer),
    Column("alias", String(255), nullable=False),
    Column("promoted", Boolean, nullable=False),
    Column("gate_digest", String(64), nullable=False),
    Column("body", JSON, nullable=False),
    Column("judged_at", UtcDateTime, nullable=False),
    Index("ix_headrace_verdicts_model", "model", "version", "judged_at"),
)

alias_moves = Table(
    "headrace_alias_moves",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("model", String(255), nullable=False),
    Column("alias", String(255), nullable=False),
    Column("from_version", Integer),
    Column("to_version", Integer, nullable=False),
    Column("verdict", String(64)),
    Column("reason", Text, nullable=False),
    Column("moved_at", UtcDateTime, nullable=False),
    Index("ix_headrace_alias_moves_model", "model", "alias", "moved_at"),
)
