"""Data files of a table, its schema and its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from headrace.lakehouse.errors import PredicateError, TableSchemaError
from headrace.lakehouse.log import actions, check_version
from headrace.lakehouse.opening import delta_errors, directory, open_table

if TYPE_CHECKING:
    import pyarrow
    from deltalake import DeltaTable


@dataclass(frozen=True)
class DataFile:
    """One Parquet file of a table.

    Attributes:
        path: absolute path, decoded.
        size: bytes.
        partition_values: value of each partition column as text; ``None`` for null.
        has_deletion_vector: some of its rows are deleted; read it through the table only.
    """

    path: str
    size: int
    partition_values: Mapping[str, str | None]
    has_deletion_vector: bool = False


def schema(location: str | Path, version: int | None = None) -> pyarrow.Schema:
    """Columns and types at a version, partition columns included.

    Raises:
        NotADeltaTableError: there is no table.
        VersionNotFoundError: the table has no such version.
    """
    import pyarrow

    table = _at(location, version)
    return pyarrow.schema(table.schema().to_arrow())


def row_count(location: str | Path, version: int | None = None) -> int:
    """Rows at a version: from the log's statistics where they are complete, else counted."""
    table = _at(location, version)
    counts = _added(table).column("num_records").to_pylist()
    if _has_feature(table, "deletionVectors") or None in counts:
        return _counted(table, directory(location))
    return sum(counts)


def files(location: str | Path, version: int | None = None) -> list[DataFile]:
    """The data files of a version, by path.

    Raises:
        NotADeltaTableError: there is no table.
        VersionNotFoundError: the table has no such version.
    """
    from deltalake._util import encode_partition_value

    path = directory(location)
    table = _at(location, version)
    partitions = table.metadata().partition_columns
    masked: set[str] = set()
    if _has_feature(table, "deletionVectors"):
        with delta_errors(path):
            masked = {
                str(file_path(path, uri))
                for uri in table.deletion_vectors().read_all().column("filepath").to_pylist()
            }
    found = []
    for row in _rows(_added(table)):
        at = str(file_path(path, row["path"]))
        values = {column: row[f"partition.{column}"] for column in partitions}
        found.append(
            DataFile(
                path=at,
                size=row["size_bytes"],
                partition_values={
                    column: None if value is None else encode_partition_value(value)
                    for column, value in values.items()
                },
                has_deletion_vector=at in masked,
            )
        )
    return sorted(found, key=lambda file: file.path)


def added_files(location: str | Path, after: int, until: int) -> list[DataFile] | None:
    """Files added by the commits after version ``after`` up to ``until``, in commit order.

    ``after=-1`` begins with the creation. Compactions, which move rows without changing them,
    do not count.

    Returns:
        The files, or ``None`` where something other than appends happened, or where a commit or
        a file is no longer there: what is new cannot be told from the files then.

    Raises:
        VersionNotFoundError: the table has no version ``until``.
    """
    path = directory(location)
    check_version(path, until)
    found = []
    for version in range(after + 1, until + 1):
        if not (path / "_delta_log" / f"{version:020}.json").exists():
            return None
        for action in actions(path, version):
            if action.get("remove", {}).get("dataChange", False):
                return None
            add = action.get("add")
            if add is None or not add.get("dataChange", True):
                continue
            file = _data_file(path, add)
            if file.has_deletion_vector or not Path(file.path).exists():
                return None
            found.append(file)
    return found


def read(
    location: str | Path,
    version: int | None = None,
    columns: list[str] | None = None,
    filter: str | None = None,
) -> pyarrow.Table:
    """Rows of a version, in no particular order; deleted rows are left out.

    Args:
        location: directory of the table.
        version: the newest if not given.
        columns: names in the order wanted; all if not given.
        filter: an SQL condition such as ``temperature > 80 AND device = 'd1'``; names match
            case-sensitively.

    Raises:
        NotADeltaTableError: there is no table.
        VersionNotFoundError: the table has no such version.
        PredicateError: a column or the condition does not fit the table.
        CorruptTableError: a data file is missing or damaged.
    """
    import pyarrow
    from deltalake.exceptions import DeltaError

    path = directory(location)
    table = _at(location, version)
    try:
        rows = table.scan(columns=columns, predicate=filter)
    except DeltaError as error:
        # Nothing but the query is looked at here; files are read below.
        raise PredicateError(str(path), str(error)) from error
    try:
        with delta_errors(path):
            found = pyarrow.table(rows.read_all())
    except TableSchemaError as error:
        raise PredicateError(str(path), error.reason) from error
    # The query engine answers with view types, which few libraries take.
    stored = pyarrow.schema(table.schema().to_arrow())
    return found.cast(pyarrow.schema([stored.field(name) for name in found.column_names]))


def file_path(location: Path, path: str) -> Path:
    """The absolute path that a path of the log stands for: relative, or a ``file:`` address."""
    if path.startswith("file:"):
        return Path(unquote(urlparse(path).path))
    return location / unquote(path)


def _at(location: str | Path, version: int | None) -> DeltaTable:
    return open_table(location, None if version is None else check_version(location, version))


def _added(table: DeltaTable) -> Any:
    return table.get_add_actions(flatten=True)


def _rows(batch: Any) -> list[dict[str, Any]]:
    import pyarrow

    rows: list[dict[str, Any]] = pyarrow.table(batch).to_pylist()
    return rows


def _data_file(location: Path, add: dict[str, Any]) -> DataFile:
    return DataFile(
        path=str(file_path(location, add["path"])),
        size=add["size"],
        partition_values=add.get("partitionValues") or {},
        has_deletion_vector=add.get("deletionVector") is not None,
    )


def _has_feature(table: DeltaTable, feature: str) -> bool:
    return feature in (table.protocol().reader_features or ())


def _counted(table: DeltaTable, path: Path) -> int:
    from deltalake import QueryBuilder

    with delta_errors(path):
        query = QueryBuilder().register("t", table).execute("SELECT count(*) AS n FROM t")
        return int(query.read_all().column("n").to_pylist()[0])
