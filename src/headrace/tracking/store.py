"""Training records and frozen hold-outs in the database."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    insert,
    select,
    update,
)

from headrace.catalog.store import UtcDateTime, metadata

if TYPE_CHECKING:
    from headrace.catalog import Store

Status = Literal["running", "finished", "failed", "killed"]

trainings = Table(
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

holdouts = Table(
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


@dataclass(frozen=True)
class TrainingRecord:
    """One training, as the database keeps it.

    Attributes:
        run_id: the MLflow run.
        model: registered model name.
        status: ``finished`` only when everything of the run is on disk.
        spec: the training spec as JSON.
        spec_digest, code_digest, environment_digest: sha256 of what it was made of.
        table_name, table_version: the rows it read.
        task: ``binary``, ``multiclass`` or ``regression``; known once the label was read.
        model_id: MLflow's immutable id of the logged model.
        holdout_digest: the frozen hold-out.
        train_rows: rows trained on.
        seconds: time in the training function.
        metrics: by name, with the prefixes ``train_`` and ``holdout_``.
        error: why it failed.
    """

    run_id: str
    model: str
    status: Status
    spec: str
    spec_digest: str
    code_digest: str
    environment_digest: str
    table_name: str
    table_version: int
    started_at: datetime
    task: str | None = None
    model_id: str | None = None
    holdout_digest: str | None = None
    train_rows: int | None = None
    seconds: float | None = None
    metrics: dict[str, float] | None = None
    error: str | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True)
class HoldoutRecord:
    """One frozen hold-out.

    Attributes:
        digest: sha256 over model, table, version, rule, classes, identities and labels.
        model: registered model name.
        table_name, table_version: where the rows are read again.
        rule: the rule that chose them, for a person.
        key: columns of the identity; empty if rows are identified by their digest.
        hashed: columns that the row digest is made of, where it is used.
        label: the label column.
        labels: the classes in the order of their codes; ``None`` for a regression.
        rows: how many rows.
    """

    digest: str
    model: str
    table_name: str
    table_version: int
    rule: str
    key: list[str]
    hashed: list[str] | None
    label: str
    labels: list[Any] | None
    rows: int
    created_at: datetime


def start(store: Store, record: TrainingRecord) -> None:
    """Record that a training began."""
    with store.begin() as connection:
        connection.execute(insert(trainings).values(**asdict(record)))


def finish(store: Store, run_id: str, **values: object) -> None:
    """Record how a training ended."""
    with store.begin() as connection:
        connection.execute(update(trainings).where(trainings.c.run_id == run_id).values(**values))


def last(
    store: Store, model: str, status: Status = "finished", run_id: str | None = None
) -> TrainingRecord | None:
    """The newest training of a model with that status, or the one of a run."""
    query = select(trainings).where(trainings.c.model == model, trainings.c.status == status)
    if run_id is not None:
        query = query.where(trainings.c.run_id == run_id)
    query = query.order_by(trainings.c.started_at.desc(), trainings.c.run_id.desc()).limit(1)
    with store.reading() as connection:
        row = connection.execute(query).mappings().one_or_none()
    return TrainingRecord(**row) if row else None


def with_status(store: Store, status: Status) -> list[TrainingRecord]:
    """All trainings with that status, oldest first."""
    query = select(trainings).where(trainings.c.status == status).order_by(trainings.c.started_at)
    with store.reading() as connection:
        return [TrainingRecord(**row) for row in connection.execute(query).mappings()]


def keep_holdout(store: Store, record: HoldoutRecord) -> None:
    """Record a hold-out. The same rows again change nothing."""
    with store.begin() as connection:
        known = select(holdouts.c.digest).where(holdouts.c.digest == record.digest)
        if connection.execute(known).one_or_none() is None:
            connection.execute(insert(holdouts).values(**asdict(record)))


def holdout(store: Store, digest: str) -> HoldoutRecord | None:
    """The hold-out with that digest."""
    query = select(holdouts).where(holdouts.c.digest == digest)
    with store.reading() as connection:
        row = connection.execute(query).mappings().one_or_none()
    return HoldoutRecord(**row) if row else None
