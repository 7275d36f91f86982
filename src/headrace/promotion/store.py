"""Verdicts and moves of aliases in the database.

Their order is that of ``sequence``: a clock can jump.
"""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Index, Integer, String, Table, Text

from headrace.catalog.store import UtcDateTime, metadata

verdicts = Table(
    "headrace_verdicts",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False),
    Column("model", String(255), nullable=False),
    Column("version", Integer, nullable=False),
    Column("champion", Integer),
    Column("alias", String(255), nullable=False),
    Column("promoted", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("evidence", String(64)),
    Column("gate_digest", String(64), nullable=False),
    Column("body", JSON, nullable=False),
    Column("judged_by", Text, nullable=False),
    Column("judged_at", UtcDateTime, nullable=False),
    Index("ix_headrace_verdicts_id", "id", unique=True),
    Index("ix_headrace_verdicts_model", "model", "version", "sequence"),
    sqlite_autoincrement=True,
)

alias_moves = Table(
    "headrace_alias_moves",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False),
    Column("model", String(255), nullable=False),
    Column("alias", String(255), nullable=False),
    Column("from_version", Integer),
    # None: the alias was taken away.
    Column("to_version", Integer),
    Column("model_id", String(64)),
    Column("kind", String(16), nullable=False),
    Column("verdict", String(64)),
    Column("evidence", String(64)),
    Column("reason", Text, nullable=False),
    Column("moved_by", Text, nullable=False),
    Column("moved_at", UtcDateTime, nullable=False),
    Index("ix_headrace_alias_moves_id", "id", unique=True),
    Index("ix_headrace_alias_moves_model", "model", "alias", "sequence"),
    sqlite_autoincrement=True,
)
