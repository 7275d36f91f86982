"""One refresh, from its files to its record, so that a kill at any point loses and doubles nothing.

The files of a refresh go into a directory of their own inside the table's; one Delta commit
makes them part of the table; then the records are written. What a killed process left is
finished or cleared away by ``recover``: the commit carries the id of its refresh.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from headrace import lakehouse
from headrace.catalog import Access, Operation, RawFile
from headrace.clock import now
from headrace.crash import crash_point
from headrace.engine import composed, placed
from headrace.errors import HeadraceError
from headrace.ids import new_id
from headrace.pipeline import expectations, failures, store
from headrace.pipeline.errors import ConcurrentRefreshError, DiskFullError
from headrace.pipeline.store import ExpectationCount, RefreshRecord, StreamFile

if TYPE_CHECKING:
    import pyarrow
    from pyspark.sql import DataFrame

    from headrace.engine import Flow, Recording
    from headrace.pipeline.context import Context
    from headrace.pipeline.graph import Dataset

_OPERATION = TypeAdapter(Operation)
_COUNTS = TypeAdapter(tuple[ExpectationCount, ...])
_FILES = TypeAdapter(tuple[StreamFile, ...])


@dataclass(frozen=True)
class Outcome:
    """What a refresh committed."""

    version: int
    rows: int
    dropped: int
    counts: tuple[ExpectationCount, ...]


@dataclass(frozen=True)
class Attempt:
    """A refresh that is about to run.

    Attributes:
        mode: ``overwrite`` replaces all rows of the table.
        transaction: the streaming batch, committed at most once.
        frame: makes the rows; called while the reads are recorded.
        inputs: what the refresh is to remember of its inputs, given the tables it read.
        files: raw files that the flows read, recorded with the refresh.
        raw_files: their fingerprints, for the lineage.
    """

    context: Context
    dataset: Dataset
    record: RefreshRecord
    mode: lakehouse.Mode
    transaction: lakehouse.Transaction | None
    frame: Callable[[], DataFrame]
    inputs: Callable[[Recording], dict[str, dict[str, Any]]]
    files: tuple[StreamFile, ...] = ()
    raw_files: tuple[RawFile, ...] = ()

    @property
    def location(self) -> Path:
        """Directory of the table."""
        return self.context.location(self.dataset.name)

    @property
    def directory(self) -> Path:
        """Directory of the files of this refresh."""
        return self.location / self.record.id

    def run(self) -> Outcome:
        """Write, commit and record.

        Raises:
            HeadraceError: nothing was committed; the table is as it was before.
        """
        database = self.context.workspace.store
        store.begin(database, self.record)
        crash_point("pipeline.begun")
        try:
            raw = [file.path for file in self.files]
            with (
                failures.full_disk(self.context, self.dataset),
                failures.explained(self.context, self.dataset, raw),
            ):
                paths, schema = self._write()
                crash_point("pipeline.prepared")
                version = lakehouse.commit_files(
                    self.location,
                    paths,
                    schema,
                    mode=self.mode,
                    partition_by=self.dataset.output.partition_by,
                    transaction=self.transaction,
                    marker=self.record.id,
                )
        except BaseException as error:
            self._give_up(error)
            raise
        crash_point("pipeline.committed")
        if lakehouse.commit_of(self.location, self.record.id) != version:
            self._give_up(ConcurrentRefreshError(self.dataset.name))
            raise ConcurrentRefreshError(self.dataset.name)
        prepared = next(
            row for row in store.unfinished(database, self.dataset.name) if row.id == self.record.id
        )
        return _finish(self.context, prepared, version)

    def _write(self) -> tuple[list[Path], pyarrow.Schema]:
        started = now()
        wanted = self.context.expectations.get(self.dataset.name)
        with self.context.workspace.engine.recording(
            kind="refresh", subject=self.dataset.name, persist=False
        ) as recording:
            frame = self.frame()
            if wanted is None:
                written = _write_parquet(frame, self.directory, self.dataset.output.partition_by)
            else:
                expectations.check(self.dataset.name, frame, wanted)
                written = _write_parquet(frame, self.directory / "all", ())
        dropped, counts = 0, tuple[ExpectationCount, ...]()
        flows = recording.flows
        if wanted is not None and written:
            written, dropped, counts, kept = self._expect(written)
            flows = composed(flows, kept) if kept else flows
        crash_point("pipeline.written")
        schema = _schema(written, frame, self.dataset.output.partition_by)
        operation = Operation(
            id=self.record.id,
            kind="refresh" if self.mode == "overwrite" else "append",
            subject=self.dataset.name,
            session_id=next((each.session_id for each in recording.operations), None),
            run_id=None,
            started_at=started,
            finished_at=now(),
            reads=tuple(recording.reads),
            writes=(
                Access("table", self.dataset.name, None, tuple(schema.names), str(self.location)),
            ),
            mode=self.mode,
            files=tuple(dict.fromkeys((*recording.files, *self.raw_files))),
            source=str(self.dataset.location),
            flows=placed(flows, recording.reads),
        )
        store.prepare(
            self.context.workspace.store,
            self.record.id,
            self.inputs(recording),
            {
                "operation": _OPERATION.dump_python(operation, mode="json"),
                "comment": self.dataset.output.comment,
                "properties": dict(self.dataset.output.properties),
                "rows": _row_count(written),
                "dropped": dropped,
                "counts": _COUNTS.dump_python(counts, mode="json"),
                "files": _FILES.dump_python(self.files, mode="json"),
            },
        )
        return written, schema

    def _expect(
        self, written: Sequence[Path]
    ) -> tuple[list[Path], int, tuple[ExpectationCount, ...], list[Flow]]:
        """Judge the rows that were just written; write them again where some must go.

        The query ran once: its rows are counted from its files.

        Returns:
            The files, how many rows went, what met which condition, and where the columns of
            the files come from where they were written again.
        """
        wanted = self.context.expectations[self.dataset.name]
        partitions = self.dataset.output.partition_by
        engine = self.context.workspace.engine
        with engine.recording(persist=False) as recording:
            rows = engine.read_files([str(path) for path in written], "parquet", {})
            verdict = expectations.judge(self.dataset.name, rows, wanted)
            if not verdict.dropped and not partitions:
                return list(written), 0, verdict.counts, []
            kept = expectations.keep(rows, wanted)
            paths = _write_parquet(kept, self.directory / "kept", partitions)
        shutil.rmtree(self.directory / "all")
        return paths, verdict.dropped, verdict.counts, recording.flows

    def _give_up(self, error: BaseException) -> None:
        """Clear away the files, unless they were committed after all: ``recover`` sees to that."""
        if lakehouse.exists(self.location) and (
            lakehouse.commit_of(self.location, self.record.id) is not None
        ):
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        if isinstance(error, DiskFullError):
            return  # there may be no space for a record either; ``recover`` makes it
        what = error.what if isinstance(error, HeadraceError) else type(error).__name__
        store.end(self.context.workspace.store, self.record.id, "failed", what)


def recover(context: Context, dataset: Dataset) -> list[RefreshRecord]:
    """Finish or clear away refreshes of a dataset whose process was killed.

    Returns:
        Those that had not been committed.
    """
    location = context.location(dataset.name)
    for row in store.history(context.workspace.store, dataset.name):
        # A failed query can go on writing for a moment after its files were cleared away.
        if row.status in ("failed", "abandoned"):
            shutil.rmtree(location / row.id, ignore_errors=True)
    lost = []
    for row in store.unfinished(context.workspace.store, dataset.name):
        version = None
        if lakehouse.exists(location):
            version = lakehouse.commit_of(location, row.id)
        if version is not None and row.prepared is not None:
            _finish(context, row, version)
            continue
        shutil.rmtree(location / row.id, ignore_errors=True)
        store.end(
            context.workspace.store, row.id, "abandoned", "its process ended before the commit"
        )
        lost.append(row)
    return lost


def new_record(
    dataset: Dataset,
    settings: dict[str, Any],
    *,
    code: str,
    epoch: int = 0,
    batch: int | None = None,
) -> RefreshRecord:
    """The row of a refresh that begins now."""
    return RefreshRecord(
        id=new_id("op"),
        dataset=dataset.name,
        status="running",
        epoch=epoch,
        batch=batch,
        code=code,
        settings=settings,
        inputs={},
        prepared=None,
        version=None,
        rows=None,
        dropped=None,
        started_at=now(),
        finished_at=None,
        error=None,
    )


def _finish(context: Context, record: RefreshRecord, version: int) -> Outcome:
    """Write the records of a committed refresh; each of them can be written again."""
    prepared = record.prepared or {}
    operation = _OPERATION.validate_python(prepared["operation"])
    counts = _COUNTS.validate_python(prepared["counts"])
    write = replace(operation.writes[0], version=version)
    workspace = context.workspace
    workspace.catalog.create_table(record.dataset, write.location, prepared["comment"])
    if prepared["properties"]:
        lakehouse.set_properties(context.location(record.dataset), prepared["properties"])
    crash_point("pipeline.registered")
    workspace.lineage.record(replace(operation, writes=(write,)))
    crash_point("pipeline.recorded")
    ids = {
        **record.inputs.get("ids", {}),
        record.dataset: lakehouse.table_id(context.location(record.dataset)),
    }
    store.finish(
        workspace.store,
        replace(record, inputs={**record.inputs, "ids": ids}),
        version,
        prepared["rows"],
        prepared["dropped"],
        counts,
        _FILES.validate_python(prepared["files"]),
    )
    return Outcome(version, prepared["rows"], prepared["dropped"], counts)


def _write_parquet(frame: DataFrame, directory: Path, partitions: Sequence[str]) -> list[Path]:
    writer = frame.write.mode("overwrite")
    if partitions:
        writer = writer.partitionBy(*partitions)
    directory.parent.mkdir(parents=True, exist_ok=True)
    writer.parquet(str(directory))
    return sorted(directory.rglob("*.parquet"))


def _schema(written: Sequence[Path], frame: DataFrame, partitions: Sequence[str]) -> pyarrow.Schema:
    """Columns of the table: as the files have them, and every column may hold nulls.

    A query without rows makes no files; then the columns are those of its plan.
    """
    import pyarrow
    from pyarrow import parquet
    from pyspark.sql.pandas.types import to_arrow_schema

    if written and not partitions:
        fields = list(parquet.read_schema(written[0]))
    else:
        planned = to_arrow_schema(frame.schema, timezone="UTC")
        stored = parquet.read_schema(written[0]) if written else planned
        # Partition columns stand in the paths; they keep their place among the columns.
        fields = [
            planned.field(name) if name in partitions else stored.field(name)
            for name in planned.names
        ]
    return pyarrow.schema([pyarrow.field(field.name, field.type) for field in fields])


def _row_count(written: Iterable[Path]) -> int:
    from pyarrow import parquet

    return sum(parquet.read_metadata(path).num_rows for path in written)
