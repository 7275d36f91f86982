"""Reports in the database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
)

from headrace import clock
from headrace.catalog.store import UtcDateTime, metadata
from headrace.parity.report import ParityReport

if TYPE_CHECKING:
    from headrace.catalog import Store

#: One row for each way that a version's recorded rows were sent: the latest time.
reports = Table(
    "headrace_parity",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("model_name", String(255), nullable=False),
    Column("model_version", Integer, nullable=False),
    Column("endpoint", String(64)),
    Column("deployment", String(64)),
    Column("route", Text, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("difference", Float),
    Column("disagreements", Integer, nullable=False),
    Column("agreed", Boolean),
    Column("reason", Text),
    Column("body", JSON, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index("ix_headrace_parity_model", "model_name", "model_version", "at"),
    Index("ix_headrace_parity_endpoint", "endpoint", "at"),
)


@dataclass(frozen=True)
class Subject:
    """What was compared: a version, in a deployment of an endpoint or before it had one."""

    model: str
    version: int
    endpoint: str | None = None
    deployment: str | None = None


@dataclass(frozen=True)
class Kept:
    """A report as it is kept."""

    subject: Subject
    report: ParityReport
    at: datetime


def keep(store: Store, subject: Subject, found: Iterable[ParityReport]) -> None:
    """Keep reports on one subject, in the place of earlier ones of the same routes."""
    with store.begin() as connection:
        keep_with(connection, subject, found)


def keep_with(connection: Connection, subject: Subject, found: Iterable[ParityReport]) -> None:
    """``keep`` in the caller's transaction."""
    moment = clock.now()
    for report in found:
        identity = _identity(subject, report)
        connection.execute(delete(reports).where(reports.c.id == identity))
        connection.execute(
            insert(reports).values(
                id=identity,
                model_name=subject.model,
                model_version=subject.version,
                endpoint=subject.endpoint,
                deployment=subject.deployment,
                route=report.route,
                rows=report.rows,
                difference=report.difference,
                disagreements=report.disagreements,
                agreed=report.agreed,
                reason=report.reason,
                body=report.as_json(),
                at=moment,
            )
        )


def reports_of(store: Store, model: str, version: int) -> list[Kept]:
    """All reports on a version, newest first."""
    return _read(store, reports.c.model_name == model, reports.c.model_version == version)


def reports_of_deployment(store: Store, deployment: str) -> list[Kept]:
    """The reports on one deployment, newest first."""
    return _read(store, reports.c.deployment == deployment)


def reports_of_endpoint(store: Store, endpoint: str) -> list[Kept]:
    """The reports on all deployments of an endpoint, newest first."""
    return _read(store, reports.c.endpoint == endpoint)


def _read(store: Store, *conditions: object) -> list[Kept]:
    query = select(reports).where(*conditions)  # type: ignore[arg-type]
    with store.reading() as connection:
        rows = connection.execute(query.order_by(reports.c.at.desc(), reports.c.route)).all()
    return [
        Kept(
            Subject(row.model_name, row.model_version, row.endpoint, row.deployment),
            ParityReport.from_json(row.body),
            row.at,
        )
        for row in rows
    ]


def _identity(subject: Subject, report: ParityReport) -> str:
    parts = (subject.model, str(subject.version), subject.deployment or "", report.route)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
