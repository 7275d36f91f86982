"""Committing Parquet files that already lie in the table's directory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from headrace.lakehouse.columns import check_types, delta_schema, delta_type
from headrace.lakehouse.commit import Mode, Transaction, commit
from headrace.lakehouse.errors import DataFileError, TableSchemaError
from headrace.lakehouse.opening import directory
from headrace.lakehouse.stats import delta_statistics, footer

if TYPE_CHECKING:
    import pyarrow
    from deltalake import CommitProperties, DeltaTable
    from deltalake.transaction import AddAction

_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def commit_files(
    location: str | Path,
    paths: Iterable[str | Path],
    schema: pyarrow.Schema,
    *,
    mode: Mode = "append",
    partition_by: Sequence[str] = (),
    transaction: Transaction | None = None,
    marker: str | None = None,
) -> int:
    """Make Parquet files part of a table, in one commit; the table is made if it is not there.

    Args:
        location: directory of the table.
        paths: files inside that directory, absolute or relative to it.
        schema: columns of the table, partition columns included. An overwrite may change them.
        mode: ``overwrite`` removes all files that the table has now.
        partition_by: partition columns, the table's own unless it is overwritten; their values are read from the ``column=value``
            directories of the paths.
        transaction: commits exactly once, see ``Transaction``.
        marker: kept in the commit's ``userMetadata``.

    Returns:
        The version made, or the one that already holds the transaction.

    Raises:
        DataFileError: a file is damaged, outside the directory, or in no partition.
        TableSchemaError: the columns are not those of the table, or of a file.
        DeltaConflictError: other writers won.
    """
    path = directory(location)
    partitions = list(partition_by)
    added = [_add(path, Path(file), schema, partitions) for file in paths]

    def action(table: DeltaTable | None, properties: CommitProperties) -> None:
        from deltalake.transaction import create_table_with_add_actions

        columns = delta_schema(schema)
        repartitions = table is not None and table.metadata().partition_columns != partitions
        if table is None or (repartitions and mode == "overwrite"):
            path.mkdir(parents=True, exist_ok=True)
            create_table_with_add_actions(
                str(path),
                columns,
                added,
                "error" if table is None else "overwrite",
                partitions,
                configuration=None if table is None else table.metadata().configuration,
                commit_properties=properties,
            )
            return
        if repartitions:
            raise TableSchemaError(
                str(path),
                f"the table is partitioned by {table.metadata().partition_columns}, "
                f"the files by {partitions}",
            )
        if mode == "append":
            check_types(path, table, schema)
        table.create_write_transaction(
            added, mode, columns, partitions, commit_properties=properties
        )

    return commit(path, action, mode=mode, repeatable=True, transaction=transaction, marker=marker)


def _add(location: Path, file: Path, schema: pyarrow.Schema, partitions: list[str]) -> AddAction:
    from deltalake.transaction import AddAction

    absolute = file if file.is_absolute() else location / file
    if not absolute.is_relative_to(location) or ".." in absolute.relative_to(location).parts:
        raise DataFileError(str(absolute), f"it lies outside the table's directory {location}")
    relative = absolute.relative_to(location)
    metadata = footer(absolute)
    _check_file(absolute, metadata.schema.to_arrow_schema(), schema, partitions)
    status = absolute.stat()
    return AddAction(
        path=relative.as_posix(),
        size=status.st_size,
        partition_values=_partition_values(absolute, relative, partitions),
        modification_time=status.st_mtime_ns // 1_000_000,
        data_change=True,
        stats=delta_statistics(metadata),
    )


def _partition_values(
    absolute: Path, relative: Path, partitions: list[str]
) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for part in relative.parts[:-1]:
        column, equals, value = part.partition("=")
        if equals:
            found[unquote(column)] = None if value == _NULL_PARTITION else unquote(value)
    if set(found) != set(partitions):
        raise DataFileError(
            str(absolute),
            f"its directories name the partitions {sorted(found)}, the table has {sorted(partitions)}",
        )
    return found


def _check_file(
    path: Path, found: pyarrow.Schema, wanted: pyarrow.Schema, partitions: list[str]
) -> None:
    for field in found:
        if field.name in partitions:
            raise DataFileError(str(path), f"it holds the partition column {field.name}")
        if field.name not in wanted.names:
            raise DataFileError(str(path), f"it has a column {field.name} that the table lacks")
    for field in wanted:
        if field.name in partitions:
            continue
        if field.name not in found.names:
            raise DataFileError(str(path), f"it lacks the column {field.name}")
        actual = found.field(field.name).type
        if delta_type(actual) != delta_type(field.type):
            raise DataFileError(
                str(path), f"its column {field.name} is {actual}, the table's is {field.type}"
            )
