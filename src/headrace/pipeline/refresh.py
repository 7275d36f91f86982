"""Refreshing one table: all rows of a materialized view, what is new for a streaming table."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace import lakehouse
from headrace.engine import StreamBatch
from headrace.pipeline import failures, freshness, reading, shape, store, streams
from headrace.pipeline.attempt import Attempt, Outcome, new_record, recover
from headrace.pipeline.errors import TableSchemaError, UnsupportedDefinitionError
from headrace.pipeline.lock import table_lock
from headrace.pipeline.store import ExpectationCount, StreamFile

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from headrace.catalog import RawFile
    from headrace.engine import Recording
    from headrace.pipeline.context import Context
    from headrace.pipeline.graph import Dataset
    from headrace.pipeline.store import RefreshRecord
    from headrace.pipeline.streams import Batch, State


@dataclass(frozen=True)
class Refresh:
    """What became of one refresh.

    Attributes:
        name: the table.
        version: its Delta version now; ``None`` for a temporary view.
        rows: rows written.
        dropped: rows that the expectations under ``drop`` left out.
        seconds: how long it took.
        expectations: counts of each expectation, over all batches.
        batches: commits that were made.
        skipped: nothing had to be done; no commit was made.
        reason: why it ran, or why it did not.
    """

    name: str
    version: int | None
    rows: int
    dropped: int
    seconds: float
    expectations: tuple[ExpectationCount, ...]
    batches: int
    skipped: bool
    reason: str


def refresh(context: Context, name: str, *, full: bool = False) -> Refresh:
    """Bring one table up to date; see ``Pipeline.refresh``."""
    started = time.perf_counter()
    if not context.datasets[name].is_stored:
        return _summary(context, name, [], started, "a temporary view has no rows of its own")
    dataset = context.datasets[name]
    with table_lock(context.workspace.paths, name), failures.full_disk(context, dataset):
        outcomes, reason = _refresh(context, name, full)
    return _summary(context, name, outcomes, started, reason)


def _refresh(context: Context, name: str, full: bool) -> tuple[list[Outcome], str]:
    dataset = context.datasets[name]
    lost = recover(context, dataset)
    last = store.last_done(context.workspace.store, name)
    # A rebuild that was killed is taken up again.
    full = full or any(row.epoch > (last.epoch if last else 0) for row in lost)
    verdict = freshness.judge(context, name)
    if not verdict.stale and not full:
        return [], verdict.reason
    reason = "made from scratch" if full else verdict.reason
    with context.user_code(_conf(context, dataset)), _views(context, dataset):
        if dataset.deferred:
            dataset = reading.settled(context, dataset)
        if dataset.kind == "materialized_view":
            return [_materialize(context, dataset, _view_epoch(last))], reason
        return _append(context, dataset, full), reason


def _view_epoch(last: RefreshRecord | None) -> int:
    """The epoch of a materialized view; what was a streaming table before begins a new one.

    Records count by epoch and batch, and a view has no batches: in the old epoch, its refreshes
    would stand behind the last batch.
    """
    if last is None:
        return 0
    return last.epoch if last.batch is None else last.epoch + 1


def _materialize(context: Context, dataset: Dataset, epoch: int) -> Outcome:
    """All rows anew, in one commit."""

    def frame() -> DataFrame:
        made = reading.call(context, dataset, dataset.flows[0])
        return shape.declared(context, dataset, made)

    def inputs(recording: Recording) -> dict[str, dict[str, Any]]:
        read = _newest_read(recording)
        return freshness.inputs(context, dataset, read)

    record = new_record(
        dataset,
        freshness.settings(context, dataset),
        code=freshness.code(context, dataset),
        epoch=epoch,
    )
    return Attempt(context, dataset, record, "overwrite", None, frame, inputs).run()


def _append(context: Context, dataset: Dataset, full: bool) -> list[Outcome]:
    """What is new, in one commit a batch."""
    database = context.workspace.store
    last = store.last_done(database, dataset.name)
    now = streams.state(context, last)
    gone = last is not None and context.version(dataset.name) is None
    if last is not None and not (full or gone):
        _same_partitions(dataset, last)
    if full or gone:
        now = streams.State(epoch=now.epoch + 1)
    else:
        streams.check_table(context, dataset, now)
    outcomes: list[Outcome] = []
    while True:
        batch = streams.plan(context, dataset, now, limited=not full)
        batch, schemas = streams.check_files(context, dataset, batch, now)
        is_first = now.batch < 0
        if batch.is_empty and not is_first:
            break
        outcomes.append(_run_batch(context, dataset, now, batch, schemas, is_first and full))
        now = streams.state(context, store.last_done(database, dataset.name))
        if not batch.more:
            break
    if not outcomes:
        _note_settings(context, dataset)
    return outcomes


def _newest_read(recording: Recording) -> dict[str, int | None]:
    """By table, the newest of the versions that a query read."""
    reads = [each for each in recording.reads if each.kind == "table"]
    return {each.name: each.version for each in sorted(reads, key=lambda each: each.version or 0)}


def _same_partitions(dataset: Dataset, last: RefreshRecord) -> None:
    before = last.settings.get("partition_by", [])
    if before != list(dataset.output.partition_by):
        raise TableSchemaError(
            dataset.name,
            dataset.location,
            f"its partition columns changed from {before} to {list(dataset.output.partition_by)}",
        )


def _run_batch(
    context: Context,
    dataset: Dataset,
    now: State,
    batch: Batch,
    schemas: Mapping[str, Any],
    replaces: bool,
) -> Outcome:
    number = now.batch + 1
    raw = _fingerprints(context, batch.files)
    corrupt = _fingerprints(context, batch.corrupt)

    def inputs(recording: Recording) -> dict[str, dict[str, Any]]:
        read = _newest_read(recording)
        return {
            **freshness.inputs(context, dataset, read),
            "positions": streams.positions(now, batch),
            "schemas": dict(schemas),
        }

    record = new_record(
        dataset,
        freshness.settings(context, dataset),
        code=freshness.code(context, dataset),
        epoch=now.epoch,
        batch=number,
    )
    return Attempt(
        context,
        dataset,
        record,
        "overwrite" if replaces else "append",
        lakehouse.Transaction(streams.app_id(context, dataset, now.epoch), number),
        lambda: _batch_frame(context, dataset, batch, is_new=replaces or number == 0),
        inputs,
        files=tuple(_stream_file(key, file, number) for key, file in (*raw, *corrupt)),
        raw_files=tuple(dict.fromkeys(file for _, file in raw)),
    ).run()


def _batch_frame(context: Context, dataset: Dataset, batch: Batch, *, is_new: bool) -> DataFrame:
    """The rows of a batch, with the columns of the table.

    A flow without news takes part only where the table is made: it decides on the columns too.
    """
    has_rows = any(batch.files.values()) or any(part.files for part in batch.slices.values())
    if not has_rows and not is_new:
        # Every file of the batch is corrupt and left out.
        columns = context.spark.table(dataset.name).schema
        return context.spark.createDataFrame([], columns)
    frames = []
    for flow in dataset.flows:
        news, bindings = False, {}
        for source in streams.sources(context, dataset):
            if source.flow is not flow:
                continue
            part = _stream_batch(source.key, batch)
            news = news or bool(part.files)
            # Inside a temporary view, names are qualified.
            bindings[source.source.reference.name] = bindings[source.source.name] = part
        if news or is_new:
            made = context.workspace.engine.with_streams(
                reading.call(context, dataset, flow), bindings
            )
            frames.append(shape.declared(context, dataset, made))
    if not is_new:
        frames = [shape.fitted(context, dataset, frame) for frame in frames]
    return reduce(lambda left, right: left.unionByName(right), frames)


def _fingerprints(
    context: Context, files: Mapping[str, tuple[Path, ...]]
) -> list[tuple[str, RawFile]]:
    keyed = [(key, path) for key, paths in files.items() for path in paths]
    found = context.workspace.lineage.fingerprints([path for _, path in keyed])
    return [(key, file) for (key, _), file in zip(keyed, found, strict=True)]


def _stream_batch(key: str, batch: Batch) -> StreamBatch:
    part = batch.slices.get(key)
    if part is not None:
        return StreamBatch(part.files, part.until)
    return StreamBatch(batch.files.get(key, ()))


@contextmanager
def _views(context: Context, dataset: Dataset) -> Iterator[None]:
    """The temporary views that a dataset reads, for as long as it is refreshed."""
    views = context.views(dataset.name)
    try:
        with failures.explained(context, dataset):
            for view in views:
                frame = reading.call(context, view, view.flows[0])
                frame.createOrReplaceTempView(view.name)
        yield
    finally:
        for view in views:
            context.spark.catalog.dropTempView(view.name)


def _note_settings(context: Context, dataset: Dataset) -> None:
    """Remember code and settings that changed although nothing was new: no commit is made."""
    database = context.workspace.store
    last = store.last_done(database, dataset.name)
    if last is None:
        return
    record = new_record(
        dataset,
        freshness.settings(context, dataset),
        code=freshness.code(context, dataset),
        epoch=last.epoch,
        batch=last.batch,
    )
    record = replace(record, inputs=last.inputs)
    store.begin(database, record)
    store.finish(database, record, context.version(dataset.name), 0, 0)


def _stream_file(key: str, file: RawFile, batch: int) -> StreamFile:
    modified = Path(file.path).stat().st_mtime_ns
    return StreamFile(key, file.path, file.size, modified, file.sha256, batch)


def _conf(context: Context, dataset: Dataset) -> dict[str, str]:
    """Spark configuration of the flows, which run as one query.

    Raises:
        UnsupportedDefinitionError: two flows want different values.
    """
    found: dict[str, str] = {}
    for flow in (flow for each in (*context.views(dataset.name), dataset) for flow in each.flows):
        for key, value in flow.conf.items():
            if found.setdefault(key, value) != value:
                raise UnsupportedDefinitionError(
                    f"Different values of {key} for flows into {dataset.name}",
                    flow.location,
                    "give the flows the same value, or tables of their own",
                )
    return found


def _summary(
    context: Context, name: str, outcomes: list[Outcome], started: float, reason: str
) -> Refresh:
    counts: dict[str, ExpectationCount] = {}
    for count in (count for outcome in outcomes for count in outcome.counts):
        known = counts.get(count.name)
        counts[count.name] = (
            count
            if known is None
            else replace(
                known, passed=known.passed + count.passed, failed=known.failed + count.failed
            )
        )
    return Refresh(
        name=name,
        version=outcomes[-1].version if outcomes else _version(context, name),
        rows=sum(outcome.rows for outcome in outcomes),
        dropped=sum(outcome.dropped for outcome in outcomes),
        seconds=time.perf_counter() - started,
        expectations=tuple(counts.values()),
        batches=len(outcomes),
        skipped=not outcomes,
        reason=reason,
    )


def _version(context: Context, name: str) -> int | None:
    return context.version(name) if context.datasets[name].is_stored else None
