"""Approvals in the database: signed envelopes, and what they say, to look them up."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, Text

from headrace.catalog.store import UtcDateTime, metadata

approvals = Table(
    "headrace_approvals",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("model", String(255), nullable=False),
    Column("version", Integer, nullable=False),
    Column("alias", String(255), nullable=False),
    Column("evidence", String(64), nullable=False),
    Column("approver", Text, nullable=False),
    Column("expires", UtcDateTime, nullable=False),
    Column("envelope", Text, nullable=False),
    Column("approved_at", UtcDateTime, nullable=False),
    Index("ix_headrace_approvals_model", "model", "version", "sequence"),
    sqlite_autoincrement=True,
)
