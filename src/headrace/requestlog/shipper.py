"""Ships spooled requests to Delta: each one exactly once, whenever a process dies.

A segment becomes one commit a table, made with the Delta transaction (writer, segment number):
a second attempt at a segment finds its transaction in the table and adds nothing. The segment is
removed only when the commit, its lineage and its counts are there.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from headrace import lakehouse
from headrace.catalog import Access, Catalog, Lineage, Operation, Store, TableName
from headrace.clock import now
from headrace.crash import crash_point
from headrace.errors import HeadraceError
from headrace.locks import exclusive
from headrace.requestlog.spool import Segment, SpoolWriter, adopt, discard, segments, writers
from headrace.requestlog.store import request_counts, shipments
from headrace.requestlog.tables import request_table

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

SHIP_SECONDS: Final = 2.0
COMPACT_EVERY: Final = 100

Counts = dict[tuple[str, str], Counter[str]]


class Shipper:
    """Ships the spool of a project.

    Args:
        spool: directory of all writers.
        store: the database.
        catalog: where the request tables are registered.
        own: the writer of this process; its segment in use is finished first.
    """

    def __init__(
        self, spool: Path, store: Store, catalog: Catalog, own: SpoolWriter | None = None
    ) -> None:
        self.spool = spool
        self.store = store
        self.catalog = catalog
        self.lineage = Lineage(store)
        self.own = own
        self._commits: Counter[str] = Counter()

    def ship(self) -> int:
        """Ship every finished segment; the number shipped. 0 if another process is shipping.

        A writer whose segment cannot be shipped waits with its later ones, since the
        transactions of a writer are in order.
        """
        with exclusive(self.spool / "ship.lock") as held:
            if not held:
                return 0
            shipped = 0
            for directory in writers(self.spool):
                shipped += self._ship_writer(directory)
            self._tidy()
            return shipped

    def _ship_writer(self, directory: Path) -> int:
        if self.own is not None and directory == self.own.directory:
            self.own.rotate()
            return self._ship_segments(_finished(self.own))
        lock = adopt(directory)
        if lock is None:
            return 0  # another process that lives
        try:
            abandoned = [s for s in segments(self.spool) if s.writer == directory.name]
            shipped = self._ship_segments(abandoned)
            if shipped == len(abandoned):
                crash_point("ship:before-discard")
                self._forget(directory.name)
                discard(directory)
            return shipped
        finally:
            os.close(lock)

    def _ship_segments(self, found: Iterable[Segment]) -> int:
        shipped = 0
        for segment in found:
            try:
                self._ship_segment(segment)
            except (HeadraceError, SQLAlchemyError, OSError) as error:
                log.warning("%s stays in the spool: %s", segment.path, error)
                break
            shipped += 1
        return shipped

    def _ship_segment(self, segment: Segment) -> None:
        records: dict[str, list[dict[str, Any]]] = {}
        for record in segment.records():
            records.setdefault(record["endpoint"], []).append(record)
        for endpoint, of_endpoint in records.items():
            served = [record for record in of_endpoint if record["kind"] == "served"]
            if served:
                self._commit(segment, endpoint, served)
            crash_point("ship:before-counts")
            self._count(segment, endpoint, of_endpoint)
        crash_point("ship:before-unlink")
        segment.path.unlink()

    def _commit(self, segment: Segment, endpoint: str, served: list[dict[str, Any]]) -> None:
        name = TableName.parse(request_table(endpoint))
        location = self.catalog.location_for(name)
        started = now()
        # The same id at each attempt: the lineage knows an operation once.
        operation_id = _operation_id(segment, endpoint)
        crash_point("ship:before-commit")
        version = lakehouse.write(
            location,
            request_rows(served),
            transaction=lakehouse.Transaction(f"headrace/{segment.writer}", segment.sequence),
            marker=operation_id,
        )
        crash_point("ship:after-commit")
        self.catalog.create_table(name, comment=f"Answered requests of endpoint {endpoint}")
        models = dict.fromkeys(record["model_id"] for record in served)
        self.lineage.record(
            Operation(
                id=operation_id,
                kind="request_log",
                subject=endpoint,
                session_id=None,
                run_id=None,
                started_at=started,
                finished_at=now(),
                reads=tuple(Access("model", f"models:/{model_id}") for model_id in models),
                writes=(Access("table", str(name), version=version, location=str(location)),),
                mode="append",
            )
        )
        self._commits[str(location)] += 1

    def _count(self, segment: Segment, endpoint: str, records: list[dict[str, Any]]) -> None:
        """Add to the counts unless this segment has been counted: one transaction."""
        at = (shipments.c.writer == segment.writer) & (shipments.c.endpoint == endpoint)
        with self.store.begin() as connection:
            done = connection.scalar(select(shipments.c.sequence).where(at))
            if done is not None and done >= segment.sequence:
                return
            if done is None:
                connection.execute(
                    insert(shipments).values(
                        writer=segment.writer,
                        endpoint=endpoint,
                        sequence=segment.sequence,
                        shipped_at=now(),
                    )
                )
            else:
                connection.execute(
                    update(shipments).where(at).values(sequence=segment.sequence, shipped_at=now())
                )
            for (_, deployment), counts in counts_of(records).items():
                row = (request_counts.c.endpoint == endpoint) & (
                    request_counts.c.deployment == deployment
                )
                values = {name: counts[name] for name in COUNTED}
                raised = {name: request_counts.c[name] + values[name] for name in COUNTED}
                if connection.execute(update(request_counts).where(row).values(raised)).rowcount:
                    continue
                connection.execute(
                    insert(request_counts).values(
                        endpoint=endpoint, deployment=deployment, **values
                    )
                )

    def _forget(self, writer: str) -> None:
        with self.store.begin() as connection:
            connection.execute(shipments.delete().where(shipments.c.writer == writer))

    def _tidy(self) -> None:
        """Merge the small files of tables that have had many commits."""
        for location, commits in list(self._commits.items()):
            if commits >= COMPACT_EVERY:
                del self._commits[location]
                lakehouse.compact(location)
                lakehouse.checkpoint(location)


COUNTED: Final = ("served", "scored_rows", "failed", "rejected")


def counts_of(records: Iterable[dict[str, Any]]) -> Counts:
    """Requests by endpoint and deployment.

    ``failed`` are those that the plane or the model could not answer, ``rejected`` those that
    no plane could have: malformed, too large, or not fitting the signature.
    """
    counts: Counts = {}
    for record in records:
        counter = counts.setdefault((record["endpoint"], record["deployment"]), Counter())
        if record["kind"] == "served":
            counter["served"] += 1
            counter["scored_rows"] += len(record["rows"])
        elif record["status"] >= 500 or record["code"] in ("prediction_failed", "overloaded"):
            counter["failed"] += 1
        else:
            counter["rejected"] += 1
    return counts


def request_rows(served: Iterable[dict[str, Any]]) -> pa.Table:
    """The request log's rows: one a scored row."""
    import pyarrow as pa

    fields = [
        pa.field("prediction_id", pa.string(), nullable=False),
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("row", pa.int64()),
        pa.field("endpoint", pa.string()),
        pa.field("deployment", pa.string()),
        pa.field("colour", pa.string()),
        pa.field("model_name", pa.string()),
        pa.field("model_version", pa.int64()),
        pa.field("model_id", pa.string()),
        pa.field("requested_at", pa.timestamp("us", tz="UTC")),
        pa.field("latency_ms", pa.float64()),
        pa.field("status", pa.int64()),
        pa.field("key", pa.string()),
        pa.field("request", pa.string()),
        pa.field("params", pa.string()),
        pa.field("prediction", pa.string()),
        pa.field("score", pa.float64()),
    ]
    rows = [row for record in served for row in _rows_of(record)]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def _rows_of(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    shared = {
        name: record[name]
        for name in (
            "request_id",
            "endpoint",
            "deployment",
            "colour",
            "model_name",
            "model_version",
            "model_id",
            "latency_ms",
            "status",
            "params",
        )
    }
    shared["requested_at"] = datetime.fromisoformat(record["at"])
    for index, row in enumerate(record["rows"]):
        yield {
            **shared,
            "prediction_id": row["id"],
            "row": index,
            "key": row["key"],
            "request": row["request"],
            "prediction": row["prediction"],
            "score": row["score"],
        }


def _operation_id(segment: Segment, endpoint: str) -> str:
    made = segment.writer.removeprefix("spool_")[:12]
    text = f"{segment.writer}/{segment.sequence}/{endpoint}"
    return f"op_{made}{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"


def _finished(own: SpoolWriter) -> list[Segment]:
    current = own.current
    return [
        s for s in segments(own.directory.parent) if s.writer == own.id and s.sequence < current
    ]
