"""One scoring under way: what it reads, with which model, and where it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headrace import lakehouse
from headrace.crash import crash_point
from headrace.evidence import check, check_alias, protected_alias
from headrace.ids import new_id
from headrace.scoring import frames, store
from headrace.scoring.errors import (
    InputNotTableError,
    MissingColumnsError,
    NoKeyError,
    NotPredictionsError,
)
from headrace.scoring.model import LocalModel, fetch
from headrace.scoring.recovery import location_of
from headrace.scoring.spec import RECORD_COLUMNS, PredictionSpec

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.registry import ModelVersion
    from headrace.workspace import Workspace


@dataclass(frozen=True)
class Job:
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


def begin(
    workspace: Workspace, spec: PredictionSpec, version: ModelVersion, table: str, full: bool
) -> Job:
    """Check all that can be checked without running anything, and record the intent.

    Raises:
        EvidenceError: the model is named by a protected alias that its version did not earn.
    """
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
    alias = protected_alias(workspace.paths, workspace.store, spec.model)
    if alias is not None:
        check(workspace.paths, workspace.store, version.name, version.version, alias, model.path)
        check_alias(workspace.store, version.name, version.version, alias)
    key = spec.key or _trained_key(version)
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
    location = location_of(workspace, table)
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
    return Job(workspace, record, model, inputs, rows, location, full)


def has_schema(job: Job, schema: pa.Schema) -> bool:
    """Whether the table has exactly these columns, so that its rows can stay."""
    if job.record.version_before is None:
        return False
    there = lakehouse.schema(job.location, job.record.version_before)
    return {f.name: str(f.type) for f in there} == {f.name: str(f.type) for f in schema}


def table_schema(job: Job, predictions: Sequence[tuple[str, str]]) -> pa.Schema:
    """Columns of the table of predictions: key, predictions, carried columns, record."""
    import pyarrow as pa

    source = lakehouse.schema(location_of(job.workspace, job.rows.table), job.rows.version)
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


def constants(record: store.Record) -> dict[str, tuple[str, object]]:
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


def _trained_key(version: ModelVersion) -> list[str]:
    """The row identity that the model was trained with; empty if it was trained elsewhere."""
    return [name for name in version.tags.get("headrace.key", "").split(",") if name]
