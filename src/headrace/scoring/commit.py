"""Putting staged predictions into the table, in one commit that happens once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace.lakehouse.commit import commit as commit_once

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable

    from headrace.lakehouse import Transaction

_CHANGE: Final = "headrace_change"
_BATCH_ROWS: Final = 65_536


def parquet_files(directory: Path) -> list[Path]:
    """The staged files; none where the engine had no rows to write."""
    return sorted(path for path in directory.rglob("*.parquet") if path.is_file())


def row_count(directory: Path) -> int:
    """Rows of the staged files, from their footers."""
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(path).num_rows for path in parquet_files(directory))


def merge(
    location: str,
    changed: Path,
    removed: Path,
    schema: pa.Schema,
    key: Sequence[str],
    transaction: Transaction,
    marker: str,
) -> int:
    """Replace, insert and delete rows by key, in one commit.

    Args:
        location: the table.
        changed: directory of Parquet files with whole rows to replace or insert.
        removed: directory of Parquet files with the keys of rows to delete.
        schema: of the table.
        key: columns that identify a row.
        transaction: a table that holds it already is left alone.
        marker: the commit's ``userMetadata``.

    Returns:
        The version made, or the one that holds the transaction already.

    Raises:
        DeltaConflictError: other writers won.
    """

    def action(table: DeltaTable | None, properties: CommitProperties) -> None:
        assert table is not None  # noqa: S101  # there are rows to merge with
        _merge(table, _source(changed, removed, schema), schema.names, key, properties)

    return commit_once(
        Path(location),
        action,
        mode="append",  # what it replaces is found anew each time: safe to try again
        repeatable=True,
        transaction=transaction,
        marker=marker,
    )


def _merge(
    table: DeltaTable,
    source: pa.RecordBatchReader,
    names: Sequence[str],
    key: Sequence[str],
    properties: CommitProperties,
) -> None:
    values = {_quoted("target", name): _quoted("source", name) for name in names}
    mark = _quoted("source", _CHANGE)
    (
        table.merge(
            source,
            predicate=" AND ".join(
                f"{_quoted('target', name)} = {_quoted('source', name)}" for name in key
            ),
            source_alias="source",
            target_alias="target",
            streamed_exec=True,
            commit_properties=properties,
        )
        .when_matched_delete(predicate=f"{mark} = 'delete'")
        .when_matched_update(updates=values, predicate=f"{mark} = 'write'")
        .when_not_matched_insert(updates=values, predicate=f"{mark} = 'write'")
        .execute()
    )


def _source(changed: Path, removed: Path, schema: pa.Schema) -> pa.RecordBatchReader:
    """Staged rows marked ``write`` and staged keys marked ``delete``, batch by batch."""
    import pyarrow as pa

    marked = schema.append(pa.field(_CHANGE, pa.string()))

    def batches() -> Iterator[pa.RecordBatch]:
        for mark, directory in (("write", changed), ("delete", removed)):
            for batch in _batches(directory):
                columns = [
                    batch.column(field.name).cast(field.type)
                    if field.name in batch.schema.names
                    else pa.nulls(batch.num_rows, field.type)
                    for field in schema
                ]
                columns.append(pa.array([mark] * batch.num_rows, pa.string()))
                yield pa.RecordBatch.from_arrays(columns, schema=marked)

    return pa.RecordBatchReader.from_batches(marked, batches())


def _batches(directory: Path) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    for path in parquet_files(directory):
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=_BATCH_ROWS)


def _quoted(alias: str, name: str) -> str:
    return f"{alias}.`" + name.replace("`", "``") + "`"
