"""Trainings, frozen hold-outs, verdicts and moves of aliases."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
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
    """Create the tables of tracking and promotion."""
    metadata = MetaData()
    _tracking(metadata)
    _promotion(metadata)
    metadata.create_all(connection)


def _tracking(metadata: MetaData) -> None:
    Table(
        "headrace_trainings",
        metadata,
        Column("run_id", String(64), primary_key=True),
        Column("model", String(255), nullable=False),
        Column("status", String(16), nullable=False),
        Column("spec", Text, nullable=False),
        Column("spec_digest", String(64), nullable=False),
        Column("code_digest", String(64), nullable=False),
        Column("environment_digest", String(64), nullable=False),
        Column("table_name", Text, nullable=False),
        Column("table_version", BigInteger, nullable=False),
        Column("task", String(16)),
        Column("model_id", String(64)),
        Column("holdout_digest", String(64)),
        Column("train_rows", Integer),
        Column("seconds", Float),
        Column("metrics", JSON(none_as_null=True)),
        Column("error", Text),
        Column("started_at", UtcDateTime, nullable=False),
        Column("finished_at", UtcDateTime),
        Index("ix_headrace_trainings_model", "model", "status", "started_at"),
    )
    Table(
        "headrace_holdouts",
        metadata,
        Column("digest", String(64), primary_key=True),
        Column("model", String(255), nullable=False),
        Column("table_name", Text, nullable=False),
        Column("table_version", BigInteger, nullable=False),
        Column("rule", Text, nullable=False),
        Column("key", JSON, nullable=False),
        Column("hashed", JSON(none_as_null=True)),
        Column("label", Text, nullable=False),
        Column("labels", JSON(none_as_null=True)),
        Column("rows", Integer, nullable=False),
        Column("created_at", UtcDateTime, nullable=False),
    )


def _promotion(metadata: MetaData) -> None:
    Table(
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
    Table(
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
