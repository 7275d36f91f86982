"""Endpoints, deployments, traffic, rollouts, and counts of requests."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from headrace.catalog.store import UtcDateTime


def upgrade(connection: Connection) -> None:
    """Create the tables of the endpoints."""
    metadata = MetaData()
    _desired(metadata)
    _traffic(metadata)
    _requests(metadata)
    metadata.create_all(connection)


def _desired(metadata: MetaData) -> None:
    Table(
        "headrace_endpoints",
        metadata,
        Column("name", String(64), primary_key=True),
        Column("model", String(512), nullable=False),
        Column("key_columns", JSON, nullable=False),
        Column("revision", Integer, nullable=False),
        Column("created_at", UtcDateTime, nullable=False),
    )
    Table(
        "headrace_deployments",
        metadata,
        Column("id", String(64), primary_key=True),
        Column("endpoint", String(64), nullable=False),
        Column("colour", String(8), nullable=False),
        Column("model_name", Text, nullable=False),
        Column("model_version", BigInteger, nullable=False),
        Column("model_id", String(255), nullable=False),
        Column("state", String(16), nullable=False),
        Column("reason", Text),
        Column("created_at", UtcDateTime, nullable=False),
        Column("updated_at", UtcDateTime, nullable=False),
        Index("ix_headrace_deployments_endpoint", "endpoint", "created_at"),
    )


def _traffic(metadata: MetaData) -> None:
    Table(
        "headrace_traffic",
        metadata,
        Column("endpoint", String(64), primary_key=True),
        Column("revision", Integer, primary_key=True, autoincrement=False),
        Column("shares", JSON, nullable=False),
        Column("seed", BigInteger, nullable=False),
        Column("changed_at", UtcDateTime, nullable=False),
        Column("changed_by", Text, nullable=False),
    )
    Table(
        "headrace_rollouts",
        metadata,
        Column("deployment", String(64), primary_key=True),
        Column("endpoint", String(64), nullable=False),
        Column("steps", JSON, nullable=False),
        Column("every_seconds", Float, nullable=False),
        Column("step", Integer, nullable=False),
        Column("next_at", UtcDateTime),
        Column("state", String(16), nullable=False),
        Index("ix_headrace_rollouts_endpoint", "endpoint"),
    )


def _requests(metadata: MetaData) -> None:
    Table(
        "headrace_request_counts",
        metadata,
        Column("endpoint", String(64), primary_key=True),
        Column("deployment", String(64), primary_key=True),
        Column("served", BigInteger, nullable=False),
        Column("scored_rows", BigInteger, nullable=False),
        Column("failed", BigInteger, nullable=False),
        Column("rejected", BigInteger, nullable=False),
    )
    Table(
        "headrace_shipments",
        metadata,
        Column("writer", String(64), primary_key=True),
        Column("endpoint", String(64), primary_key=True),
        Column("sequence", BigInteger, nullable=False),
        Column("shipped_at", UtcDateTime, nullable=False),
    )
