"""Committing Parquet files that already lie in the table's directory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

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
        partition_by: partition columns; their values are read from the ``column=value``
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
    added = [_add(path, Path(file), schema, tuple(partition_by)) for file in paths]

    def action(table: DeltaTable | None, properties: CommitProperties) -> None:
        from deltalake import Schema
        from deltalake.transaction import create_table_with_add_actions

        columns = Schema.from_arrow(schema)
        if table is None:
            path.mkdir(parents=True, exist_ok=True)
            create_table_with_add_actions(
                str(path), columns, added, "error", list(partition_by), commit_properties=properties
            )
            return
        if mode == "append":
            _check_columns(path, table, schema)
        table.create_write_transaction(
            added, mode, columns, list(partition_by), commit_properties=properties
        )

    return commit(path, action, mode=mode, repeatable=True, transaction=transaction, marker=marker)


def _add(
    location: Path, file: Path, schema: pyarrow.Schema, partitions: tuple[str, ...]
) -> AddAction:
    from deltalake.transaction import AddAction

    absolute = file if file.is_absolute() else location / file
    if not absolute.is_relative_to(location):
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
    absolute: Path, relative: Path, partitions: tuple[str, ...]
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
    path: Path, found: pyarrow.Schema, wanted: pyarrow.Schema, partitions: tuple[str, ...]
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
        if _delta_type(actual) != _delta_type(field.type):
            raise DataFileError(
                str(path), f"its column {field.name} is {actual}, the table's is {field.type}"
            )


def _check_columns(path: Path, table: DeltaTable, schema: pyarrow.Schema) -> None:
    import pyarrow

    existing = pyarrow.schema(table.schema().to_arrow())
    have = {field.name: _delta_type(field.type) for field in existing}
    given = {field.name: _delta_type(field.type) for field in schema}
    if have == given:
        return
    differences = [
        f"{name} ({have.get(name, 'not in the table')} / {given.get(name, 'not in the data')})"
        for name in sorted(have.keys() | given.keys())
        if have.get(name) != given.get(name)
    ]
    raise TableSchemaError(str(path), "table and data differ in " + ", ".join(differences))


def _delta_type(data_type: pyarrow.DataType) -> str:
    """The Delta type of an Arrow type: large and view types are the same there."""
    import pyarrow
    from deltalake import Schema

    # Nanoseconds do not exist in Delta, and a time zone is always UTC there, under one name.
    if pyarrow.types.is_timestamp(data_type):
        data_type = pyarrow.timestamp("us", data_type.tz and "UTC")
    field = pyarrow.field("value", data_type)
    text: str = Schema.from_arrow(pyarrow.schema([field])).to_json()
    return text
