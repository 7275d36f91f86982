"""The record of recalls: written before anything is touched, so that a killed one goes on.

A recall goes through these states::

    running    begun: its files, then its steps, are taken one after the other
    done       every step is done, or was left to people
    failed     a step failed; the same command takes it up again
    undoing    its files are being put back
    undone     its files are where they were
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    insert,
    select,
    update,
)

from headrace import clock
from headrace.catalog.store import Store, UtcDateTime, metadata

if TYPE_CHECKING:
    from sqlalchemy import Connection

State = Literal["running", "done", "failed", "undoing", "undone"]
FileState = Literal["waiting", "quarantined", "gone", "changed", "returned"]
StepKind = Literal["refresh", "score", "mark", "people"]
StepState = Literal["waiting", "done", "left", "failed"]

recalls: Final = Table(
    "headrace_recalls",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("origin", JSON, nullable=False),
    Column("label", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("reached", JSON, nullable=False),
    Column("error", Text),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Index("ix_headrace_recalls_started", "started_at"),
)

recall_files: Final = Table(
    "headrace_recall_files",
    metadata,
    Column("recall", ForeignKey(recalls.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("place", Text, nullable=False),
)

recall_steps: Final = Table(
    "headrace_recall_steps",
    metadata,
    Column("recall", ForeignKey(recalls.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("name", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("message", Text),
    Column("facts", JSON, nullable=False),
    Column("finished_at", UtcDateTime),
    Index("ix_headrace_recall_steps_name", "kind", "name"),
)


@dataclass(frozen=True)
class FileRecord:
    """One file of a recall.

    Attributes:
        path: where it was, absolute.
        size, sha256: what was recalled.
        state: ``waiting`` to be moved; ``quarantined``; ``gone`` or ``changed`` where nothing of
            that content was found at the path; ``returned`` by an undo.
        place: where it is kept, relative to the quarantine directory.
    """

    path: str
    size: int
    sha256: str
    state: FileState
    place: str


@dataclass(frozen=True)
class StepRecord:
    """One thing that a recall does, or leaves to people.

    Attributes:
        kind: ``refresh`` of a table, ``score`` of a table of predictions, ``mark`` of a model
            version, or ``people``: what no command does by itself.
        name: of the table or the version.
        state: ``left`` where a person has to act; the message says how.
        facts: counts, as plain values.
    """

    kind: StepKind
    name: str
    state: StepState = "waiting"
    message: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    finished_at: datetime | None = None


@dataclass(frozen=True)
class RecallRecord:
    """One recall that was applied, as far as it has come."""

    id: str
    origin: dict[str, Any]
    label: str
    state: State
    reason: str
    by: str
    reached: dict[str, Any]
    error: str | None
    started_at: datetime
    finished_at: datetime | None
    files: tuple[FileRecord, ...] = ()
    steps: tuple[StepRecord, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The record as plain values."""
        body = asdict(self)
        body["started_at"] = clock.iso(self.started_at)
        body["finished_at"] = clock.iso(self.finished_at) if self.finished_at else None
        for step in body["steps"]:
            done = step["finished_at"]
            step["finished_at"] = clock.iso(done) if done else None
        return body


def begin(
    store: Store, record: RecallRecord, files: Sequence[FileRecord], steps: Sequence[StepRecord]
) -> RecallRecord:
    """Record what a recall is going to do, in one transaction."""
    plain = {name: value for name, value in vars(record).items() if name not in ("files", "steps")}
    with store.begin() as connection:
        connection.execute(insert(recalls).values(**plain))
        rows = [{"recall": record.id, "position": i, **vars(f)} for i, f in enumerate(files)]
        if rows:
            connection.execute(insert(recall_files), rows)
        _insert_steps(connection, record.id, 0, steps)
        return _read(connection, record.id)


def add_steps(store: Store, recall: str, steps: Sequence[StepRecord]) -> RecallRecord:
    """Add steps behind those that are known, without those known already."""
    with store.begin() as connection:
        kept = _read(connection, recall).steps
        known = {(each.kind, each.name) for each in kept}
        new = [each for each in steps if (each.kind, each.name) not in known]
        _insert_steps(connection, recall, len(kept), new)
        return _read(connection, recall)


def set_file(store: Store, recall: str, path: str, state: FileState) -> None:
    """Record what became of a file."""
    at = (recall_files.c.recall == recall) & (recall_files.c.path == path)
    with store.begin() as connection:
        connection.execute(update(recall_files).where(at).values(state=state))


def set_step(store: Store, recall: str, step: StepRecord) -> None:
    """Record what became of a step."""
    at = (
        (recall_steps.c.recall == recall)
        & (recall_steps.c.kind == step.kind)
        & (recall_steps.c.name == step.name)
    )
    values = {
        "state": step.state,
        "message": step.message,
        "facts": step.facts,
        "finished_at": clock.now(),
    }
    with store.begin() as connection:
        connection.execute(update(recall_steps).where(at).values(**values))


def set_state(store: Store, recall: str, state: State, error: str | None = None) -> RecallRecord:
    """Record how far a recall is."""
    ended = clock.now() if state in ("done", "failed", "undone") else None
    with store.begin() as connection:
        connection.execute(
            update(recalls)
            .where(recalls.c.id == recall)
            .values(state=state, error=error, finished_at=ended)
        )
        return _read(connection, recall)


def get(store: Store, recall: str) -> RecallRecord | None:
    """The recall of that id, or ``None``."""
    with store.reading() as connection:
        known = connection.scalar(select(recalls.c.id).where(recalls.c.id == recall))
        return None if known is None else _read(connection, recall)


def known(store: Store, recall: str) -> RecallRecord:
    """The recall of that id, which is there."""
    with store.reading() as connection:
        return _read(connection, recall)


def quarantined(store: Store, paths: Sequence[str]) -> tuple[str, str] | None:
    """Recall and checksum of the newest file that was moved, or is being, from one of the paths."""
    query = (
        select(recalls.c.id, recall_files.c.sha256)
        .join(recalls, recalls.c.id == recall_files.c.recall)
        .where(
            recall_files.c.path.in_(paths[:500]),
            recall_files.c.state.in_(("waiting", "quarantined")),
        )
        .order_by(recalls.c.started_at.desc())
        .limit(1)
    )
    with store.reading() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else (row.id, row.sha256)


def every(store: Store) -> list[RecallRecord]:
    """All recalls that were applied, newest first."""
    query = select(recalls.c.id).order_by(recalls.c.started_at.desc(), recalls.c.id.desc())
    with store.reading() as connection:
        return [_read(connection, found) for found in connection.scalars(query).all()]


def _insert_steps(
    connection: Connection, recall: str, start: int, steps: Sequence[StepRecord]
) -> None:
    rows = [{"recall": recall, "position": i, **vars(s)} for i, s in enumerate(steps, start)]
    if rows:
        connection.execute(insert(recall_steps), rows)


def _read(connection: Connection, recall: str) -> RecallRecord:
    row = connection.execute(select(recalls).where(recalls.c.id == recall)).mappings().one()
    return RecallRecord(
        **row,
        files=tuple(FileRecord(**each) for each in _parts(connection, recall_files, recall)),
        steps=tuple(StepRecord(**each) for each in _parts(connection, recall_steps, recall)),
    )


def _parts(connection: Connection, table: Table, recall: str) -> list[dict[str, Any]]:
    query = select(table).where(table.c.recall == recall).order_by(table.c.position)
    return [
        {name: value for name, value in row.items() if name not in ("recall", "position")}
        for row in connection.execute(query).mappings()
    ]
