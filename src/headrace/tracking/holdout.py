"""Frozen hold-outs: the identities and labels of the rows that a model is measured on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headrace import clock, lakehouse
from headrace.ids import new_id
from headrace.tracking import store
from headrace.tracking.data import Source, TrainingData, digest_key, encode
from headrace.tracking.errors import HoldoutLostError, MissingColumnError
from headrace.tracking.split import identities
from headrace.tracking.store import HoldoutRecord

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from headrace.settings import Paths
    from headrace.tracking.spec import TrainingSpec
    from headrace.workspace import Workspace


@dataclass(frozen=True)
class HoldoutRows:
    """A frozen hold-out, read again.

    Attributes:
        record: what was frozen.
        rows: the asked columns, one row for each frozen identity, in the frozen order.
        y: class codes, or float64 values.
    """

    record: HoldoutRecord
    rows: pa.Table
    y: pd.Series


def holdout_path(paths: Paths, model: str, digest: str) -> Path:
    """Where the identities of a hold-out lie."""
    return paths.state / "holdouts" / model / f"{digest}.parquet"


def freeze(
    workspace: Workspace, spec: TrainingSpec, source: Source, data: TrainingData
) -> HoldoutRecord:
    """Store the identities and labels of the hold-out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    frame = _frame(spec, data)
    record = HoldoutRecord(
        digest=holdout_digest(spec, source, data),
        model=spec.name,
        table_name=source.name,
        table_version=source.version,
        rule=str(spec.holdout),
        key=spec.key,
        hashed=None if data.hashed is None else list(data.hashed),
        label=spec.label,
        labels=None if data.labels is None else list(data.labels),
        rows=len(frame),
        created_at=clock.now(),
    )
    path = holdout_path(workspace.paths, spec.name, record.digest)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(new_id("partial"))
        try:
            pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    store.keep_holdout(workspace.store, record)
    return record


def holdout_digest(spec: TrainingSpec, source: Source, data: TrainingData) -> str:
    """sha256 of a hold-out: its identities and labels, and what they mean.

    The same rows of the same classes give the same digest: another `task` or `positive` reads
    the same labels as something else.
    """
    frame = _frame(spec, data)
    facts = [
        spec.name,
        source.name,
        source.version,
        str(spec.holdout),
        list(data.holdout.key.columns),
        data.hashed,
        spec.label,
        data.labels,
    ]
    digest = hashlib.sha256(json.dumps(facts).encode())
    digest.update(identities(frame).tobytes())
    return digest.hexdigest()


def _frame(spec: TrainingSpec, data: TrainingData) -> pd.DataFrame:
    return data.holdout.key.assign(**{spec.label: data.holdout.raw_label})


def load_holdout(workspace: Workspace, digest: str, columns: Iterable[str]) -> HoldoutRows:
    """Read the frozen rows again, from the table version that they were frozen at.

    Args:
        workspace: the project.
        digest: which hold-out.
        columns: columns to read beside the identity and the label.

    Raises:
        HoldoutLostError: the record, the file, or some of the rows are gone.
        MissingColumnError: the table had no such column at that version.
    """
    import pandas as pd
    import pyarrow.parquet as pq

    record = store.holdout(workspace.store, digest)
    if record is None:
        raise HoldoutLostError("", digest, "the database holds no such hold-out")
    path = holdout_path(workspace.paths, record.model, digest)
    if not path.is_file():
        raise HoldoutLostError(record.model, str(path), "the file is gone")
    frozen = pq.read_table(path).to_pandas()
    table = _read(workspace, record, columns)
    key_columns = record.key or ["row_digest", "occurrence"]
    key = (
        table.select(record.key).to_pandas()
        if record.hashed is None
        else digest_key(table, record.hashed)
    )
    place = pd.Index(identities(key)).get_indexer(pd.Index(identities(frozen[key_columns])))
    missing = place < 0
    at = f"{record.table_name} at version {record.table_version}"
    if missing.any():
        why = f"{int(missing.sum()):,} of {record.rows:,} frozen rows are not there"
        raise HoldoutLostError(record.model, at, why)
    rows = table.take(place)
    label = rows.column(record.label).to_pandas()
    stored = frozen[record.label]
    if not (identities(label.to_frame()) == identities(stored.to_frame())).all():
        raise HoldoutLostError(record.model, at, "some labels differ from the frozen ones")
    return HoldoutRows(record, rows, encode(stored, record.labels))


def _read(workspace: Workspace, record: HoldoutRecord, columns: Iterable[str]) -> pa.Table:
    location = workspace.catalog.resolve(record.table_name).location
    if location is None:
        raise HoldoutLostError(record.model, record.table_name, "the table became a view")
    version = record.table_version
    known = list(lakehouse.schema(location, version).names)
    needed = {*record.key, *(record.hashed or ()), record.label, *columns}
    for column in sorted(needed):
        if column not in known:
            raise MissingColumnError(
                record.model, record.table_name, version, "column", column, known
            )
    return lakehouse.read(
        location, version=version, columns=[name for name in known if name in needed]
    )
