"""Control tables of pins: what model versions need, and what was found of it last."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, String, Table, Text

from headrace.catalog.store import UtcDateTime, metadata

#: A row stays when its pin is released: a version that is registered again is not pinned again.
pins = Table(
    "headrace_pins",
    metadata,
    Column("model", String(255), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("table_version", BigInteger, primary_key=True),
    Column("kind", String(16), nullable=False),
    # Of the table that was read; none where another one had taken its place already.
    Column("table_id", String(64)),
    Column("why", String(64), nullable=False),
    Column("pinned_at", UtcDateTime, nullable=False),
    Column("released_at", UtcDateTime),
    Column("released_by", Text),
    Column("reason", Text),
    Index("ix_headrace_pins_name", "name", "released_at"),
)

#: What the last look at a table's pinned versions found; good while the listing is the same.
pin_checks = Table(
    "headrace_pin_checks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("listing", String(64), nullable=False),
    Column("found", JSON, nullable=False),
    Column("checked_at", UtcDateTime, nullable=False),
)
