"""Scoring a table: only what is new or changed, once, whatever happens on the way."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from headrace import clock, lakehouse
from headrace.catalog import TableName
from headrace.crash import crash_point
from headrace.errors import HeadraceError
from headrace.locks import exclusive
from headrace.scoring import commit, frames, predict, store
from headrace.scoring.errors import ScoringFailedError, ScoringInProgressError
from headrace.scoring.freshness import judge, rows_can_stay
from headrace.scoring.job import Job, begin, constants, has_schema, table_schema
from headrace.scoring.model import prediction_columns
from headrace.scoring.recovery import abandon, cause, finish, location_of, recover
from headrace.scoring.scorers import Chosen, choose, parallel_parts, sent_whole

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from headrace.scoring.spec import PredictionSpec
    from headrace.workspace import Workspace

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
        scorer: what predicted the rows: ``kernel DIGEST``, ``environment DIGEST``, or ``pyfunc``
            for the model in the engine's own process.
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
    scorer: str | None
    seconds: float


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
        job = begin(workspace, spec, version, table, full)
        try:
            return _result(_run(job))
        except HeadraceError as error:
            abandon(workspace, job.record, error)
            raise
        except Exception as error:
            abandon(workspace, job.record, error)
            raise ScoringFailedError(table, job.model.name, job.rows.table, cause(error)) from error
        except BaseException as error:
            abandon(workspace, job.record, error)
            raise


def _run(job: Job) -> store.Record:
    spark = job.workspace.spark()
    with (
        choose(job.model, job.inputs, job.record.table) as chosen,
        # The reads are recorded at the end, with the model, once the commit is there.
        job.workspace.engine.recording(kind="score", subject=job.record.table, persist=False),
    ):
        store.change(job.workspace.store, job.record, scorer=chosen.name)
        frames.check_keys(spark, job.rows, job.record.table)
        frame = job.rows.frame(spark)
        sample = frame.limit(_SAMPLE_ROWS).toArrow() if job.model.outputs is None else None
        predictions = prediction_columns(
            job.model, chosen.scorer, sample, job.record.table, job.rows.kept[:-1]
        )
        schema = table_schema(job, predictions)
        comparable = (
            not job.full
            and rows_can_stay(job.workspace, job.record.table, job.record.spec_digest, chosen.name)
            and has_schema(job, schema)
        )
        _stage(job, chosen, frame, predictions, schema.names, comparable)
    crash_point("scoring.staged")
    rows = lakehouse.row_count(location_of(job.workspace, job.rows.table), job.rows.version)
    return _commit(job, schema, rows, comparable)


def _stage(
    job: Job,
    chosen: Chosen,
    frame: DataFrame,
    predictions: Sequence[tuple[str, str]],
    order: Sequence[str],
    comparable: bool,
) -> None:
    """Write what must change in the table as Parquet files, outside of the Delta log."""
    from pyspark.sql import functions as f

    spark = job.workspace.spark()
    record, key = job.record, job.rows.key
    present = None
    if record.version_before is not None:
        present = spark.read.option("versionAsOf", record.version_before).table(record.table)
    current = None
    if present is not None and comparable:
        current = present.filter(f.col("model_id") == record.model_id)
        current = current.select(*key, "row_digest")
    with sent_whole():
        frames.predicted(
            frames.changed(frame, current, key),
            job.rows.kept,
            predictions,
            predict.predictor(chosen.scorer, job.rows.kept, predictions),
            constants(record),
            order,
            parallel_parts(),
        ).write.mode("append").parquet(str(job.changed))
    if present is not None and set(key) <= set(present.columns):
        frames.removed(frame, present, key).write.mode("append").parquet(str(job.removed))


def _commit(job: Job, schema: pa.Schema, rows: int, comparable: bool) -> store.Record:
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
    return finish(job.workspace, record, version, list(job.inputs))


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
        scorer=record.scorer,
        seconds=seconds,
    )


@contextmanager
def _only_one(workspace: Workspace, table: str) -> Iterator[None]:
    """One scoring a table at a time; the lock goes with the process that holds it."""
    with exclusive(workspace.paths.temporary / f"scoring-{table}.lock") as held:
        if not held:
            raise ScoringInProgressError(table)
        yield
