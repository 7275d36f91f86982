"""Putting staged predictions into the table, in one commit that happens once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace import lakehouse

if TYPE_CHECKING:
    import pyarrow as pa

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
    transaction: lakehouse.Transaction,
    marker: str,
) -> None:
    """Replace, insert and delete rows by key, in one commit.

    Args:
        location: the table.
        changed: directory of Parquet files with whole rows to replace or insert.
        removed: directory of Parquet files with the keys of rows to delete.
        schema: of the table.
        key: columns that identify a row.
        transaction: a table that holds it already is left alone.
        marker: the commit's ``userMetadata``.
    """
    from deltalake import CommitProperties, DeltaTable
    from deltalake import Transaction as DeltaTransaction

    def once() -> None:
        done = lakehouse.transaction_version(location, transaction.app_id)
        if done is not None and done >= transaction.version:
            return
        source = _source(changed, removed, schema)
        values = {_quoted("target", name): _quoted("source", name) for name in schema.names}
        is_delete = f"{_quoted('source', _CHANGE)} = 'delete'"
        is_write = f"{_quoted('source', _CHANGE)} = 'write'"
        (
            DeltaTable(location)
            .merge(
                source,
                predicate=" AND ".join(
                    f"{_quoted('target', name)} = {_quoted('source', name)}" for name in key
                ),
                source_alias="source",
                target_alias="target",
                streamed_exec=True,
                commit_properties=CommitProperties(
                    custom_metadata={"userMetadata": marker},
                    app_transactions=[DeltaTransaction(transaction.app_id, transaction.version)],
                ),
            )
            .when_matched_delete(predicate=is_delete)
            .when_matched_update(updates=values, predicate=is_write)
            .when_not_matched_insert(updates=values, predicate=is_write)
            .execute()
        )

    lakehouse.retry(once)


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
