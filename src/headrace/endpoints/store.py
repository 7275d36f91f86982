"""Control tables of the endpoints. They are the truth; the scoring plane follows them."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Float, Index, Integer, String, Table, Text

from headrace.catalog.store import UtcDateTime, metadata

#: ``revision`` rises with each change to anything of the endpoint, so that the plane learns from
#: one small query whether there is something to read.
endpoints = Table(
    "headrace_endpoints",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("model", String(512), nullable=False),
    Column("key_columns", JSON, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("spec", JSON),
)

deployments = Table(
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

traffic = Table(
    "headrace_traffic",
    metadata,
    Column("endpoint", String(64), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("shares", JSON, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    Column("changed_by", Text, nullable=False),
)

#: One row a deployment that takes over step by step; ``step`` counts the steps made.
rollouts = Table(
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

#: What was decided of a rollout, by its rules or by hand, and on which numbers.
decisions = Table(
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
