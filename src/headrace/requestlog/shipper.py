"""Ships spooled requests to Delta: each one exactly once, whenever a process dies.

The finished segments of a writer become one commit a table, made with the Delta transaction
(writer, last segment number). A second attempt reads from the table how far the first one came,
and adds only what is not there. Segments are removed only when the commit, its lineage and its
counts are there.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import SQLAlchemyError

from headrace import lakehouse
from headrace.catalog import Catalog, Store, TableName
from headrace.clock import now
from headrace.crash import crash_point
from headrace.errors import HeadraceError
from headrace.locks import exclusive
from headrace.requestlog.counts import add_counts, counts_of, shipped_until
from headrace.requestlog.lineage import LogLineage
from headrace.requestlog.spool import Segment, adopt, discard, segments_of, writers
from headrace.requestlog.store import shipments
from headrace.requestlog.tables import (
    labelled_query,
    labelled_view,
    request_rows,
    request_table,
    truth_rows,
    truth_table,
)
from headrace.requestlog.upkeep import Upkeep

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

#: Segments of at most so many bytes together become one commit.
GROUP_BYTES: Final = 16 * 1024 * 1024

#: What a record raises that this version of Headrace cannot read.
_UNREADABLE: Final = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


@dataclass(frozen=True)
class _Group:
    """Segments of one writer that are shipped together, with their records."""

    writer: str
    segments: list[Segment]
    records: list[tuple[int, dict[str, Any]]]  # with the number of their segment

    @property
    def last(self) -> int:
        return self.segments[-1].sequence

    @property
    def endpoints(self) -> list[str]:
        return list(dict.fromkeys(record["endpoint"] for _, record in self.records))

    def after(self, sequence: int, endpoint: str, kind: str | None = None) -> list[dict[str, Any]]:
        """The records of an endpoint in segments beyond a number."""
        return [
            record
            for of_segment, record in self.records
            if of_segment > sequence
            and record["endpoint"] == endpoint
            and kind in (None, record["kind"])
        ]


class Shipper:
    """Ships the spool of a project.

    Args:
        spool: directory of all writers.
        store: the database.
        catalog: where the tables are registered.
    """

    def __init__(self, spool: Path, store: Store, catalog: Catalog) -> None:
        self.spool = spool
        self.store = store
        self.catalog = catalog
        self.lineage = LogLineage(store)
        self._upkeep = Upkeep(store, catalog)

    def ship(self) -> int:
        """Ship every finished segment; the number shipped. 0 if another process is shipping.

        A writer whose segments cannot be shipped waits with its later ones, since the
        transactions of a writer are in order.
        """
        with exclusive(self.spool / "ship.lock") as held:
            if not held:
                return 0
            shipped = sum(self._ship_writer(directory) for directory in writers(self.spool))
            self._tidy()
            return shipped

    def _ship_writer(self, directory: Path) -> int:
        # Before the segments are listed: none is added once its process is gone.
        lock = adopt(directory)
        try:
            shipped = 0
            for group in self._groups(directory):
                try:
                    self._ship_group(group)
                except (HeadraceError, SQLAlchemyError, OSError) as error:
                    log.warning("%s stays in the spool: %s", group.segments[0].path, error)
                    break
                except _UNREADABLE as error:
                    self._set_aside(group, error)
                    break
                shipped += len(group.segments)
            if lock is not None and not segments_of(directory):
                crash_point("ship:before-discard")
                self._forget(directory.name)
                discard(directory)
            return shipped
        finally:
            if lock is not None:
                os.close(lock)

    def _groups(self, directory: Path) -> Iterator[_Group]:
        """The finished segments, in groups of a bounded size."""
        group = _Group(directory.name, [], [])
        size = 0
        for segment in segments_of(directory):
            if not segment.finished:
                break
            length = segment.path.stat().st_size
            if group.segments and size + length > GROUP_BYTES:
                yield group
                group, size = _Group(directory.name, [], []), 0
            group.segments.append(segment)
            group.records.extend((segment.sequence, record) for record in segment.records())
            size += length
        if group.segments:
            yield group

    def _ship_group(self, group: _Group) -> None:
        for endpoint in group.endpoints:
            self._append_requests(group, endpoint)
            self._append_truth(group, endpoint)
            crash_point("ship:before-counts")
            self._count(group, endpoint)
        crash_point("ship:before-unlink")
        for segment in group.segments:
            segment.path.unlink()

    def _append_requests(self, group: _Group, endpoint: str) -> None:
        served = group.after(0, endpoint, "served")
        if not served:
            return
        name = TableName.parse(request_table(endpoint))
        started = now()
        missing = group.after(self._held(name, group.writer), endpoint, "served")
        if missing:
            self._append(name, request_rows(missing), group)
        self._register(name, f"Answered requests of endpoint {endpoint}")
        models = {record["model_id"] for record in served}
        self.lineage.appended(name, self.catalog.location_for(name), endpoint, models, started)
        self._label(endpoint)

    def _append_truth(self, group: _Group, endpoint: str) -> None:
        if not group.after(0, endpoint, "truth"):
            return
        name = TableName.parse(truth_table(endpoint))
        started = now()
        missing = group.after(self._held(name, group.writer), endpoint, "truth")
        if missing:
            self._append(name, truth_rows(missing), group)
        self._register(name, f"Ground truth of endpoint {endpoint}")
        self.lineage.appended(name, self.catalog.location_for(name), endpoint, set(), started)
        self._label(endpoint)

    def _label(self, endpoint: str) -> None:
        """Make the view of requests with their ground truth, once there are both."""
        view = labelled_view(endpoint)
        both = (request_table(endpoint), truth_table(endpoint))
        if all(map(self.catalog.find, both)) and not self.catalog.find(view):
            self.catalog.create_view(view, labelled_query(endpoint))

    def _register(self, name: TableName, comment: str) -> None:
        entry = self.catalog.find(name)
        if entry is None or entry.kind != "table":
            self.catalog.create_table(name, comment=comment)

    def _held(self, name: TableName, writer: str) -> int:
        """The last segment of the writer whose rows the table holds."""
        location = self.catalog.location_for(name)
        return lakehouse.transaction_version(location, _application(writer)) or 0

    def _append(self, name: TableName, rows: pa.Table, group: _Group) -> None:
        location = self.catalog.location_for(name)
        crash_point("ship:before-commit")
        lakehouse.write(
            location,
            rows,
            transaction=lakehouse.Transaction(_application(group.writer), group.last),
        )
        crash_point("ship:after-commit")
        self._upkeep.committed(location)

    def _count(self, group: _Group, endpoint: str) -> None:
        """Add to the counts what has not been counted: one transaction."""
        with self.store.begin() as connection:
            done = shipped_until(connection, group.writer, endpoint)
            if done < group.last:
                counts = counts_of(group.after(done, endpoint))
                add_counts(connection, group.writer, endpoint, group.last, counts)

    def _set_aside(self, group: _Group, error: Exception) -> None:
        """Move the segments away whose records make no rows.

        One record that this version of Headrace cannot read must not hold up all later ones.
        """
        for segment in group.segments:
            try:
                records = list(segment.records())
                request_rows(record for record in records if record["kind"] == "served")
                truth_rows(record for record in records if record["kind"] == "truth")
                counts_of(records)
                for record in records:
                    TableName.parse(request_table(record["endpoint"]))
            except _UNREADABLE as problem:
                aside = self.spool / f"unreadable_{segment.writer}_{segment.path.name}"
                segment.path.rename(aside)
                # Not its text, which may hold values of a request.
                log.error("%s cannot be shipped: %s", aside, type(problem).__name__)
                return
        raise error

    def _forget(self, writer: str) -> None:
        with self.store.begin() as connection:
            connection.execute(shipments.delete().where(shipments.c.writer == writer))

    def _tidy(self) -> None:
        for location in self._upkeep.due():
            try:
                self._upkeep.tidy(location)
            except (HeadraceError, OSError) as error:
                log.warning("%s was not tidied: %s", location, error)


def _application(writer: str) -> str:
    return f"headrace/{writer}"
