"""What is remembered of refreshes: enough to tell what is stale and to finish what was begun.

A refresh is one commit attempt. Its row goes through these states::

    running    it was begun; files may lie in the table's directory, nothing is committed
    prepared   the files are complete; the commit is the next thing, or has just happened
    done       committed and recorded
    failed     ended with an error; nothing was committed
    abandoned  its process ended before the commit

The id of a refresh is also the marker of its commit, the name of the directory of its files
and the id of its operation in the lineage: whichever of these was reached, the others follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    insert,
    select,
    update,
)

from headrace.catalog.store import UtcDateTime, metadata
from headrace.clock import now

if TYPE_CHECKING:
    from headrace.catalog import Store

Status = Literal["running", "prepared", "done", "failed", "abandoned"]

refreshes = Table(
    "headrace_refreshes",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("batch", Integer),
    Column("code", String(64), nullable=False),
    Column("settings", JSON, nullable=False),
    Column("inputs", JSON, nullable=False),
    Column("prepared", JSON(none_as_null=True)),
    Column("version", BigInteger),
    Column("rows", BigInteger),
    Column("dropped", BigInteger),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("error", Text),
    Index("ix_headrace_refreshes_dataset", "dataset", "status", "id"),
)

stream_files = Table(
    "headrace_stream_files",
    metadata,
    Column("dataset", String(600), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("flow", String(600), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("modified_ns", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("batch", Integer, nullable=False),
)

expectations = Table(
    "headrace_expectations",
    metadata,
    Column("refresh_id", ForeignKey(refreshes.c.id, ondelete="CASCADE"), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("action", String(16), nullable=False),
    Column("condition", Text, nullable=False),
    Column("passed", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
)


@dataclass(frozen=True)
class RefreshRecord:
    """One row of ``headrace_refreshes``.

    Attributes:
        epoch: grows when a streaming table starts from scratch.
        batch: number of the batch within the epoch; ``None`` for a materialized view.
        code: digest of the code.
        settings: what else the result depends on, see ``freshness.settings``.
        inputs: ``tables`` (versions), ``paths`` (digests of listings), ``positions``
            (versions up to which streams have read their source tables), and ``ids`` (what
            tells each table, and the dataset's own, from one of the same name made later).
        prepared: what is to be recorded after the commit.
    """

    id: str
    dataset: str
    status: Status
    epoch: int
    batch: int | None
    code: str
    settings: dict[str, Any]
    inputs: dict[str, dict[str, Any]]
    prepared: dict[str, Any] | None
    version: int | None
    rows: int | None
    dropped: int | None
    started_at: datetime
    finished_at: datetime | None
    error: str | None


@dataclass(frozen=True)
class StreamFile:
    """A raw file that a flow has read, or is about to read.

    Attributes:
        flow: the flow and the source, see ``streams.StreamSource.key``.
        modified_ns: modification time in nanoseconds since 1970.
        batch: number of the batch that read it.
    """

    flow: str
    path: str
    size: int
    modified_ns: int
    sha256: str
    batch: int


@dataclass(frozen=True)
class ExpectationCount:
    """How many rows of one refresh met a condition."""

    name: str
    action: str
    condition: str
    passed: int
    failed: int


def begin(store: Store, record: RefreshRecord) -> None:
    """Record that a refresh begins."""
    with store.begin() as connection:
        connection.execute(insert(refreshes).values(**vars(record)))


def prepare(
    store: Store, refresh_id: str, inputs: Mapping[str, Any], prepared: Mapping[str, Any]
) -> None:
    """Record what the files of a refresh hold, before they are committed."""
    values = {"status": "prepared", "inputs": dict(inputs), "prepared": dict(prepared)}
    with store.begin() as connection:
        connection.execute(update(refreshes).where(refreshes.c.id == refresh_id).values(**values))


def finish(
    store: Store,
    record: RefreshRecord,
    version: int | None,
    rows: int,
    dropped: int,
    counts: Iterable[ExpectationCount] = (),
    files: Iterable[StreamFile] = (),
) -> None:
    """Record a committed refresh with its counts and its files, in one transaction."""
    with store.begin() as connection:
        values = {
            "status": "done",
            "inputs": record.inputs,
            "version": version,
            "rows": rows,
            "dropped": dropped,
            "prepared": None,
            "finished_at": now(),
        }
        connection.execute(update(refreshes).where(refreshes.c.id == record.id).values(**values))
        _insert(connection, expectations, [{"refresh_id": record.id, **vars(c)} for c in counts])
        keys = {"dataset": record.dataset, "epoch": record.epoch}
        _insert(connection, stream_files, [{**keys, **vars(file)} for file in files])


def end(store: Store, refresh_id: str, status: Status, error: str | None = None) -> None:
    """Record a refresh that committed nothing."""
    values = {"status": status, "error": error, "finished_at": now(), "prepared": None}
    with store.begin() as connection:
        connection.execute(update(refreshes).where(refreshes.c.id == refresh_id).values(**values))


def unfinished(store: Store, dataset: str) -> list[RefreshRecord]:
    """Refreshes whose process ended in the middle, oldest first."""
    query = (
        select(refreshes)
        .where(refreshes.c.dataset == dataset, refreshes.c.status.in_(("running", "prepared")))
        .order_by(refreshes.c.started_at, refreshes.c.id)
    )
    with store.reading() as connection:
        return [_record(row) for row in connection.execute(query)]


def last_done(store: Store, dataset: str) -> RefreshRecord | None:
    """The newest refresh that was recorded in full."""
    query = (
        select(refreshes)
        .where(refreshes.c.dataset == dataset, refreshes.c.status == "done")
        .order_by(
            refreshes.c.epoch.desc(),
            refreshes.c.batch.desc(),
            refreshes.c.started_at.desc(),
            refreshes.c.id.desc(),
        )
        .limit(1)
    )
    with store.reading() as connection:
        row = connection.execute(query).one_or_none()
    return _record(row) if row else None


def history(store: Store, dataset: str, limit: int = 20) -> list[RefreshRecord]:
    """The newest refreshes of a dataset in any state, newest first."""
    query = (
        select(refreshes)
        .where(refreshes.c.dataset == dataset)
        .order_by(refreshes.c.started_at.desc(), refreshes.c.id.desc())
        .limit(limit)
    )
    with store.reading() as connection:
        return [_record(row) for row in connection.execute(query)]


def counts_of(store: Store, refresh_id: str) -> list[ExpectationCount]:
    """The counts kept of one refresh, by name."""
    query = (
        select(expectations)
        .where(expectations.c.refresh_id == refresh_id)
        .order_by(expectations.c.name)
    )
    with store.reading() as connection:
        return [
            ExpectationCount(row.name, row.action, row.condition, row.passed, row.failed)
            for row in connection.execute(query)
        ]


def latest_counts(store: Store, dataset: str) -> list[ExpectationCount]:
    """The counts of the newest refresh that was recorded in full, by name."""
    record = last_done(store, dataset)
    return counts_of(store, record.id) if record is not None else []


def files_read(store: Store, dataset: str, epoch: int) -> dict[tuple[str, str], StreamFile]:
    """The files that the flows of a dataset have read in an epoch, by flow and path."""
    query = select(stream_files).where(
        stream_files.c.dataset == dataset, stream_files.c.epoch == epoch
    )
    with store.reading() as connection:
        return {
            (row.flow, row.path): StreamFile(
                row.flow, row.path, row.size, row.modified_ns, row.sha256, row.batch
            )
            for row in connection.execute(query)
        }


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _record(row: Row[Any]) -> RefreshRecord:
    return RefreshRecord(**row._asdict())
