"""Statements and the signed head of their chain, in the database."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, Text

from headrace.catalog.store import UtcDateTime, metadata

statements = Table(
    "headrace_evidence",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    # Of a change of keys there is no version.
    Column("model", String(255)),
    Column("version", Integer),
    Column("alias", String(255)),
    Column("envelope", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_headrace_evidence_digest", "digest", unique=True),
    Index("ix_headrace_evidence_model", "model", "version", "sequence"),
)

heads = Table(
    "headrace_evidence_head",
    metadata,
    # One row.
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    # The key that signs next.
    Column("keyid", String(64), nullable=False),
    # The three above, signed: without the key nobody can wind the chain back.
    Column("envelope", Text, nullable=False),
)
