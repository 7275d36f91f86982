"""Control tables of the request log: what has been shipped, and how many requests it held."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table, text

from headrace.catalog.store import UtcDateTime, metadata

#: Requests per deployment ("" before one was chosen), added in the transaction that moves
#: ``shipments`` on, so that none is counted twice.
request_counts = Table(
    "headrace_request_counts",
    metadata,
    Column("endpoint", String(64), primary_key=True),
    Column("deployment", String(64), primary_key=True),
    Column("served", BigInteger, nullable=False),
    Column("scored_rows", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("logged", BigInteger, nullable=False, server_default=text("0")),
)

#: How far the spool of one plane process has been shipped, per endpoint.
shipments = Table(
    "headrace_shipments",
    metadata,
    Column("writer", String(64), primary_key=True),
    Column("endpoint", String(64), primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("shipped_at", UtcDateTime, nullable=False),
)
