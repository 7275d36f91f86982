"""The record of scorings: written before anything else, so that a killed one can be finished."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Index,
    Integer,
    String,
    Table,
    Text,
    func,
    insert,
    select,
    update,
)

from headrace import clock
from headrace.catalog.store import Store, UtcDateTime, metadata

Status = Literal["pending", "done", "failed"]

scorings: Final = Table(
    "headrace_scorings",
    metadata,
    Column("id", String(64), primary_key=True),
    # Counts up with each scoring of a table: the version of the Delta transaction.
    Column("number", Integer, nullable=False),
    Column("table", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("spec_digest", String(64), nullable=False),
    Column("model_name", Text, nullable=False),
    Column("model_version", BigInteger, nullable=False),
    Column("model_id", String(255), nullable=False),
    Column("run_id", String(64)),
    Column("input_table", Text, nullable=False),
    Column("input_version", BigInteger, nullable=False),
    Column("columns", JSON, nullable=False),
    Column("version_before", BigInteger),
    Column("version", BigInteger),
    Column("mode", String(16)),
    Column("scored", BigInteger),
    Column("unchanged", BigInteger),
    Column("removed", BigInteger),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("error", Text),
    Column("scorer", String(128)),
    Index("ix_headrace_scorings_table", "table", "number", unique=True),
)


@dataclass(frozen=True)
class Record:
    """One scoring, as far as it has come.

    Attributes:
        id: made with ``new_id("score")``; also the marker of its Delta commit.
        number: counts the scorings of the table from 1.
        table: qualified name of the table of predictions.
        status: ``pending`` until the commit is in the table and in the lineage.
        spec_digest: of the ``PredictionSpec``.
        model_name, model_version, model_id: the immutable model version.
        run_id: the run that trained it.
        input_table, input_version, columns: what was scored, and the columns read.
        version_before: version of the table of predictions when the scoring began.
        version: the version that holds the result; ``version_before`` if nothing changed.
        mode: ``overwrite``, ``append``, ``merge``, or ``None`` if nothing changed.
        scored, unchanged, removed: rows.
        error: why it failed.
        scorer: what predicted the rows, see ``scorers.Chosen``; ``None`` until it is chosen.
    """

    id: str
    number: int
    table: str
    status: Status
    spec_digest: str
    model_name: str
    model_version: int
    model_id: str
    run_id: str | None
    input_table: str
    input_version: int
    columns: list[str]
    version_before: int | None
    version: int | None
    mode: str | None
    scored: int | None
    unchanged: int | None
    removed: int | None
    started_at: datetime
    finished_at: datetime | None
    error: str | None
    scorer: str | None


def begin(store: Store, **facts: Any) -> Record:
    """Record that a scoring begins; gives it the next number of its table."""
    with store.begin() as connection:
        highest = select(func.max(scorings.c.number)).where(scorings.c.table == facts["table"])
        facts |= {
            "number": (connection.scalar(highest) or 0) + 1,
            "status": "pending",
            "started_at": clock.now(),
        }
        connection.execute(insert(scorings).values(**facts))
        found = connection.execute(select(scorings).where(scorings.c.id == facts["id"])).one()
    return Record(**found._mapping)


def change(store: Store, record: Record, **facts: Any) -> Record:
    """Record further facts of a scoring."""
    if facts.get("status") in ("done", "failed"):
        facts["finished_at"] = clock.now()
    with store.begin() as connection:
        connection.execute(update(scorings).where(scorings.c.id == record.id).values(**facts))
        found = connection.execute(select(scorings).where(scorings.c.id == record.id)).one()
    return Record(**found._mapping)


def last(store: Store, table: str, *statuses: Status) -> Record | None:
    """The newest scoring of a table with one of the statuses, or ``None``."""
    query = (
        select(scorings)
        .where(scorings.c.table == table, scorings.c.status.in_(statuses))
        .order_by(scorings.c.number.desc())
        .limit(1)
    )
    with store.reading() as connection:
        found = connection.execute(query).one_or_none()
    return Record(**found._mapping) if found else None


def get(store: Store, scoring_id: str) -> Record | None:
    """The scoring of that id, or ``None``."""
    with store.reading() as connection:
        found = connection.execute(
            select(scorings).where(scorings.c.id == scoring_id)
        ).one_or_none()
    return Record(**found._mapping) if found else None
