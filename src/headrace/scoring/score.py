"""Scoring a table: only what is new or changed, once, whatever happens on the way."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from headrace import clock, lakehouse
from headrace.catalog import Access, Operation, TableName
from headrace.crash import crash_point
from headrace.errors import HeadraceError
from headrace.ids import new_id
from headrace.scoring import commit, frames, kernel, store
from headrace.scoring.errors import (
    InputNotTableError,
    MissingColumnsError,
    NoKeyError,
    NotPredictionsError,
    ScoringFailedError,
    ScoringInProgressError,
)
from headrace.scoring.freshness import judge
from headrace.scoring.model import LocalModel, fetch, prediction_columns
from headrace.scoring.spec import RECORD_COLUMNS, PredictionSpec

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from headrace.registry import ModelVersion
    from headrace.workspace import Workspace

#: Rows that a worker predicts at once. With the width of a row, the bound on its memory.
CHUNK_ROWS: Final = 32_768
_SAMPLE_ROWS: Final = 16


@dataclass(frozen=True)
class Scoring:
    """What a scoring did.

    Attributes:
        id: of the scoring; the column ``scoring_run`` of the rows that it wrote.
        table: qualified name of the table of predictions.
        version: Delta version of the table that holds the result.
        scored: rows predicted and written.
        unchanged: rows that were there already, from the same model and the same inputs.
        removed: rows whose input is gone.
        model: ``name/version``.
        model_id: the immutable id of that version.
        input_table: qualified name of the table that was scored.
        input_version: its Delta version.
        run_id: the run that trained the model.
        mode: ``overwrite``, ``append``, ``merge``, or ``None`` if there was nothing to commit.
        seconds: how long it took.
    """

    id: str
    table: str
    version: int
    scored: int
    unchanged: int
    removed: int
    model: str
    model_id: str
    input_table: str
    input_version: int
    run_id: str | None
    mode: str | None
    seconds: float


@dataclass(frozen=True)
class _Job:
    """One scoring under way: what it reads, with what, and where it writes."""

    workspace: Workspace
    record: store.Record
    model: LocalModel
    inputs: dict[str, str]
    rows: frames.Rows
    location: str
    full: bool

    @property
    def staging(self) -> Path:
        """Inside the table's directory, so that its files can become the table's own."""
        return Path(self.location) / self.record.id

    @property
    def changed(self) -> Path:
        """Whole rows to write."""
        return self.staging / "changed"

    @property
    def removed(self) -> Path:
        """Keys of rows to remove."""
        return self.staging / "removed"


def score(workspace: Workspace, spec: PredictionSpec, full: bool = False) -> Scoring:
    """Bring a table of predictions up to date with its input and its model.

    The alias is resolved to an immutable model version first, the input to one Delta version.
    Rows whose key, inputs and model are those of the last scoring stay as they are; new and
    changed rows are predicted; rows whose input is gone are removed; another model rescores
    all. It is one commit, made exactly once: a scoring that was killed is finished or forgotten
    by the next one.

    Args:
        workspace: the project.
        spec: what to score.
        full: predict every row again.

    Raises:
        ScoringError: a subclass names what is wrong with the input, the key or the model.
        TableNotFoundError: there is no such input table.
    """
    from headrace.registry import resolve

    table = str(TableName.parse(spec.table))
    with _only_one(workspace, table):
        recover(workspace, table)
        version = resolve(workspace, spec.model)
        if not full and not judge(workspace, spec, version).stale:
            return _nothing_to_do(workspace, table)
        job = _begin(workspace, spec, version, table, full)
        try:
            return _result(_run(job))
        except HeadraceError as error:
            _abandon(workspace, job.record, error)
            raise
        except Exception as error:
            _abandon(workspace, job.record, error)
            raise ScoringFailedError(
                table, job.model.name, job.rows.table, _cause(error)
            ) from error
        except BaseException as error:
            _abandon(workspace, job.record, error)
            raise


def recover(workspace: Workspace, table: str) -> None:
    """Finish or forget what a killed process began. Call it with the table's lock held."""
    while record := store.last(workspace.store, table, "pending"):
        version = _committed(workspace, record)
        if version is None:
            _forget(workspace, record, "the process was killed")
        else:
            _finish(workspace, record, version)


def _begin(
    workspace: Workspace, spec: PredictionSpec, version: ModelVersion, table: str, full: bool
) -> _Job:
    """Check all that can be checked without running anything, and record the intent."""
    entry = workspace.catalog.resolve(spec.input)
    source = str(entry.name)
    if entry.location is None:
        raise InputNotTableError(table, source, f"{source} is a view, which has no versions")
    if source == table:
        raise InputNotTableError(table, source, "it would overwrite what it reads")
    input_version = lakehouse.latest_version(entry.location)
    if input_version is None:
        raise InputNotTableError(table, source, f"{entry.location} holds no Delta table")
    schema = lakehouse.schema(entry.location, input_version)
    model = fetch(workspace, version, table)
    key = spec.key or _trained_key(workspace, version)
    if not key:
        raise NoKeyError(table, model.name, schema.names)
    inputs = {
        name: kind
        for name, kind in model.inputs.items()
        if name in schema.names or name not in model.optional
    }
    for role, names in (("key", key), ("model", inputs), ("project", spec.columns)):
        missing = [name for name in names if name not in schema.names]
        if missing:
            raise MissingColumnsError(table, source, role, missing, schema.names)
    frames.check_key_types(table, schema, key)
    location = _location(workspace, table)
    before = _version_before(workspace, table, location)
    rows = frames.Rows(source, input_version, tuple(key), tuple(inputs), tuple(spec.columns))
    record = store.begin(
        workspace.store,
        id=new_id("score"),
        table=table,
        spec_digest=spec.digest(),
        model_name=version.name,
        model_version=version.version,
        model_id=version.model_id,
        run_id=version.run_id,
        input_table=source,
        input_version=input_version,
        columns=rows.columns,
        version_before=before,
    )
    crash_point("scoring.begun")
    return _Job(workspace, record, model, inputs, rows, location, full)


def _run(job: _Job) -> store.Record:
    spark = job.workspace.spark()
    # The reads are recorded at the end, with the model, once the commit is there.
    with job.workspace.engine.recording(kind="score", subject=job.record.table, persist=False):
        frames.check_keys(spark, job.rows, job.record.table)
        frame = job.rows.frame(spark)
        sample = frame.limit(_SAMPLE_ROWS).toArrow() if job.model.outputs is None else None
        predictions = prediction_columns(
            job.model, job.inputs, sample, job.record.table, job.rows.kept[:-1]
        )
        schema = _schema(job, predictions)
        comparable = not job.full and _has_schema(job, schema)
        _stage(job, spark, frame, predictions, schema.names, comparable)
    crash_point("scoring.staged")
    rows = lakehouse.row_count(_location(job.workspace, job.rows.table), job.rows.version)
    return _commit(job, schema, rows, comparable)


def _stage(
    job: _Job,
    spark: SparkSession,
    frame: DataFrame,
    predictions: Sequence[tuple[str, str]],
    order: Sequence[str],
    comparable: bool,
) -> None:
    """Write what must change in the table as Parquet files, outside of the Delta log."""
    from pyspark import cloudpickle
    from pyspark.sql import functions as f

    record, key = job.record, job.rows.key
    present = None
    if record.version_before is not None:
        present = spark.read.option("versionAsOf", record.version_before).table(record.table)
    current = None
    if present is not None and comparable:
        current = present.filter(f.col("model_id") == record.model_id)
        current = current.select(*key, "row_digest")
    predict = kernel.predictor(
        str(job.model.path), job.inputs, job.rows.kept, predictions, CHUNK_ROWS
    )
    # Workers of a remote engine need not have this package.
    cloudpickle.register_pickle_by_value(kernel)
    frames.predicted(
        frames.changed(frame, current, key),
        job.rows.kept,
        predictions,
        predict,
        _constants(record),
        order,
    ).write.mode("append").parquet(str(job.changed))
    if present is not None and set(key) <= set(present.columns):
        frames.removed(frame, present, key).write.mode("append").parquet(str(job.removed))


def _commit(job: _Job, schema: pa.Schema, rows: int, comparable: bool) -> store.Record:
    """Turn the staged files into one commit.

    Keys are unique on both sides, so the counts say what kind of commit it takes: rows of the
    table = removed + unchanged + replaced; rows of the input = scored + unchanged.
    """
    record, before = job.record, job.record.version_before
    had = 0 if before is None else lakehouse.row_count(job.location, before)
    scored, removed = commit.row_count(job.changed), commit.row_count(job.removed)
    unchanged = rows - scored
    replaced = had - removed - unchanged
    mode: Literal["overwrite", "append", "merge"] | None
    if comparable and not scored and not removed:
        mode = None
    elif not unchanged:
        mode = "overwrite"
    else:
        mode = "merge" if removed or replaced else "append"
    record = store.change(
        job.workspace.store, record, mode=mode, scored=scored, unchanged=unchanged, removed=removed
    )
    if mode is None:
        shutil.rmtree(job.staging, ignore_errors=True)
        return store.change(job.workspace.store, record, status="done", version=before)
    transaction = lakehouse.Transaction(f"headrace-scoring:{record.table}", record.number)
    if mode == "merge":
        version = commit.merge(
            job.location, job.changed, job.removed, schema, job.rows.key, transaction, record.id
        )
    else:
        version = lakehouse.commit_files(
            job.location,
            commit.parquet_files(job.changed),
            schema,
            mode=mode,
            transaction=transaction,
            marker=record.id,
        )
    crash_point("scoring.committed")
    return _finish(job.workspace, record, version)


def _committed(workspace: Workspace, record: store.Record) -> int | None:
    """The version that holds the scoring's commit, or ``None`` if there is no such commit."""
    location = _location(workspace, record.table)
    if not lakehouse.exists(location):
        return None
    after = -1 if record.version_before is None else record.version_before
    return lakehouse.commit_of(location, record.id, after=after)


def _finish(workspace: Workspace, record: store.Record, version: int) -> store.Record:
    """Name the table, record the lineage, and close the record. Safe to repeat."""
    location = _location(workspace, record.table)
    staging = Path(location) / record.id
    # After a merge the staged files are copies; otherwise those under "changed" are the table's.
    leftover = staging if record.mode == "merge" else staging / "removed"
    shutil.rmtree(leftover, ignore_errors=True)
    workspace.catalog.create_table(record.table, location)
    source = workspace.catalog.find(record.input_table)
    workspace.lineage.record(
        Operation(
            id=record.id,
            kind="score",
            subject=record.table,
            session_id=None,
            run_id=None,
            started_at=record.started_at,
            finished_at=clock.now(),
            reads=(
                Access(
                    "table",
                    record.input_table,
                    record.input_version,
                    tuple(record.columns),
                    source.location if source else None,
                ),
                Access("model", f"models:/{record.model_id}"),
            ),
            writes=(Access("table", record.table, version, None, location),),
            mode=record.mode,
        )
    )
    crash_point("scoring.recorded")
    return store.change(workspace.store, record, status="done", version=version)


def _abandon(workspace: Workspace, record: store.Record, error: BaseException) -> None:
    """Forget a scoring that failed, unless its commit was made: then the next one finishes it."""
    if _committed(workspace, record) is None:
        _forget(workspace, record, _cause(error))


def _forget(workspace: Workspace, record: store.Record, why: str) -> None:
    shutil.rmtree(Path(_location(workspace, record.table)) / record.id, ignore_errors=True)
    store.change(workspace.store, record, status="failed", error=why)


def _location(workspace: Workspace, table: str) -> str:
    entry = workspace.catalog.find(table)
    return str(
        entry.location if entry and entry.location else workspace.catalog.location_for(table)
    )


def _version_before(workspace: Workspace, table: str, location: str) -> int | None:
    """The version of the table of predictions, ``None`` if there is none yet."""
    entry = workspace.catalog.find(table)
    if entry is not None and entry.kind == "view":
        raise NotPredictionsError(table, "a view of that name")
    if not lakehouse.exists(location):
        return None
    if not {"model_id", "row_digest"} <= set(lakehouse.schema(location).names):
        raise NotPredictionsError(table, location)
    workspace.catalog.create_table(table, location)
    return lakehouse.latest_version(location)


def _has_schema(job: _Job, schema: pa.Schema) -> bool:
    """Whether the table has exactly these columns, so that its rows can stay."""
    if job.record.version_before is None:
        return False
    there = lakehouse.schema(job.location, job.record.version_before)
    return {f.name: str(f.type) for f in there} == {f.name: str(f.type) for f in schema}


def _schema(job: _Job, predictions: Sequence[tuple[str, str]]) -> pa.Schema:
    """Columns of the table of predictions: key, predictions, carried columns, record."""
    import pyarrow as pa

    source = lakehouse.schema(_location(job.workspace, job.rows.table), job.rows.version)
    record = {
        "model_version": pa.int64(),
        "input_version": pa.int64(),
        "scored_at": pa.timestamp("us", "UTC"),
        "row_digest": pa.int64(),
    }
    key = set(job.rows.key)
    return pa.schema(
        [pa.field(name, source.field(name).type) for name in job.rows.key]
        + [pa.field(name, pa.type_for_alias(alias)) for name, alias in predictions]
        + [pa.field(n, source.field(n).type) for n in job.rows.carried if n not in key]
        + [pa.field(name, record.get(name, pa.string())) for name in RECORD_COLUMNS]
    )


def _constants(record: store.Record) -> dict[str, tuple[str, object]]:
    """Spark type and value of the columns that are the same in each row of this scoring."""
    return {
        "model_name": ("string", record.model_name),
        "model_version": ("bigint", record.model_version),
        "model_id": ("string", record.model_id),
        "input_table": ("string", record.input_table),
        "input_version": ("bigint", record.input_version),
        "run_id": ("string", record.run_id),
        "scoring_run": ("string", record.id),
        "scored_at": ("timestamp", record.started_at),
    }


def _trained_key(workspace: Workspace, version: ModelVersion) -> list[str]:
    """The row identity that the model was trained with; empty if it was trained elsewhere."""
    from headrace.tracking import TrainingSpec
    from headrace.tracking.store import last

    record = last(workspace.store, version.name, run_id=version.run_id) if version.run_id else None
    return TrainingSpec.model_validate_json(record.spec).key if record else []


def _nothing_to_do(workspace: Workspace, table: str) -> Scoring:
    last = store.last(workspace.store, table, "done")
    assert last is not None  # noqa: S101  # the table was found fresh
    rows = (last.scored or 0) + (last.unchanged or 0)
    return _result(replace(last, scored=0, unchanged=rows, removed=0, mode=None), seconds=0.0)


def _result(record: store.Record, seconds: float | None = None) -> Scoring:
    assert record.version is not None  # noqa: S101  # a finished scoring has one
    if seconds is None:
        seconds = ((record.finished_at or clock.now()) - record.started_at).total_seconds()
    return Scoring(
        id=record.id,
        table=record.table,
        version=record.version,
        scored=record.scored or 0,
        unchanged=record.unchanged or 0,
        removed=record.removed or 0,
        model=f"{record.model_name}/{record.model_version}",
        model_id=record.model_id,
        input_table=record.input_table,
        input_version=record.input_version,
        run_id=record.run_id,
        mode=record.mode,
        seconds=seconds,
    )


@contextmanager
def _only_one(workspace: Workspace, table: str) -> Iterator[None]:
    """One scoring a table at a time; the lock goes with the process that holds it."""
    import fcntl

    with (workspace.paths.temporary / f"scoring-{table}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ScoringInProgressError(table) from None
        yield


def _cause(error: BaseException) -> str:
    """The line of an error that tells most: the last of a worker's traceback, else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1 if any(line.startswith("Traceback") for line in lines) else 0][:500]
