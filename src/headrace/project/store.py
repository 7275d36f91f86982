"""Runs of ``headrace run`` and what became of their steps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Float, Integer, String, Table, Text, insert, select, update

from headrace.catalog.store import Store, UtcDateTime, metadata
from headrace.clock import now

runs = Table(
    "headrace_runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("state", String(16), nullable=False),
)

run_steps = Table(
    "headrace_run_steps",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run_id", String(64), nullable=False, index=True),
    Column("step", String(512), nullable=False),
    Column("state", String(16), nullable=False),
    Column("seconds", Float, nullable=False),
    Column("message", Text, nullable=False),
)


@dataclass(frozen=True)
class RunRecord:
    """The last run: when, how it ended (``running`` if its process died), and its steps."""

    id: str
    started_at: datetime
    finished_at: datetime | None
    state: str
    steps: tuple[tuple[str, str, str], ...]


def start_run(store: Store, run_id: str) -> None:
    """Record that a run began."""
    with store.begin() as connection:
        connection.execute(insert(runs).values(id=run_id, started_at=now(), state="running"))


def record_step(
    store: Store, run_id: str, step: str, state: str, seconds: float, message: str
) -> None:
    """Record how one step ended."""
    with store.begin() as connection:
        connection.execute(
            insert(run_steps).values(
                run_id=run_id, step=step, state=state, seconds=seconds, message=message
            )
        )


def finish_run(store: Store, run_id: str, state: str) -> None:
    """Record that a run ended."""
    with store.begin() as connection:
        connection.execute(
            update(runs).where(runs.c.id == run_id).values(finished_at=now(), state=state)
        )


def last_run(store: Store) -> RunRecord | None:
    """The latest run, or ``None`` before the first."""
    with store.reading() as connection:
        row = connection.execute(
            select(runs).order_by(runs.c.started_at.desc()).limit(1)
        ).one_or_none()
        if row is None:
            return None
        steps = connection.execute(
            select(run_steps.c.step, run_steps.c.state, run_steps.c.message)
            .where(run_steps.c.run_id == row.id)
            .order_by(run_steps.c.id)
        ).all()
    return RunRecord(
        row.id,
        row.started_at,
        row.finished_at,
        row.state,
        tuple((step, state, message) for step, state, message in steps),
    )
