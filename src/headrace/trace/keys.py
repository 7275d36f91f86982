"""The key of a row, as a person types it, and the row that it stands for."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from headrace import lakehouse
from headrace.scoring import RECORD_COLUMNS
from headrace.trace.errors import AmbiguousRowError, InvalidKeyError, RowNotFoundError, key_text

if TYPE_CHECKING:
    import pyarrow as pa


def parse_key(table: str, key: str | Mapping[str, object], schema: pa.Schema) -> dict[str, Any]:
    """A key in the types of the table.

    Args:
        table: for the error.
        key: a mapping, or text such as ``device_id=7,window_end=2026-01-31T12:00:00Z``; a value
            with a comma is quoted: ``"name=a,b",id=1``.
        schema: of the table.

    Raises:
        InvalidKeyError: not of that form, an unknown column, or a value of another type.
    """
    text = key if isinstance(key, str) else key_text(key)
    pairs = _split(table, key) if isinstance(key, str) else dict(key)
    if not pairs:
        raise InvalidKeyError(table, text, "it names no column")
    found = {}
    for name, value in pairs.items():
        if name not in schema.names:
            raise InvalidKeyError(table, text, f'no column "{name}"', schema.names, name)
        found[name] = _typed(table, text, name, value, schema.field(name).type)
    return found


def _split(table: str, text: str) -> dict[str, str]:
    pairs = {}
    for part in next(csv.reader(io.StringIO(text), skipinitialspace=True), []):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise InvalidKeyError(table, text, f'"{part}" is not COLUMN=VALUE')
        pairs[name.strip()] = value.strip()
    return pairs


def _typed(table: str, text: str, name: str, value: object, kind: pa.DataType) -> Any:
    """The value as one of the column; a time without a zone is UTC."""
    import pyarrow as pa

    try:
        scalar = pa.scalar(value)
        if pa.types.is_timestamp(kind) and pa.types.is_string(scalar.type):
            try:
                scalar = scalar.cast(pa.timestamp("us", "UTC"))
            except pa.ArrowInvalid:
                scalar = scalar.cast(pa.timestamp("us"))
        if pa.types.is_timestamp(kind) and pa.types.is_timestamp(scalar.type):
            # Between zones and none, the clock reading in UTC is what is meant.
            scalar = scalar.cast(pa.timestamp("us", kind.tz))
        return scalar.cast(kind).as_py()
    except (pa.ArrowException, ValueError, TypeError) as error:
        why = f'"{value}" is no {kind}, the type of {name}'
        raise InvalidKeyError(table, text, why) from error


def find_row(table: str, location: str, version: int, key: Mapping[str, Any]) -> dict[str, Any]:
    """The one row of that key at a version.

    Raises:
        RowNotFoundError: shows the key of a row that is there.
        AmbiguousRowError: names columns that would tell the rows apart.
    """
    rows = read_rows(location, version, key)
    if rows.num_rows == 0:
        schema = lakehouse.schema(location, version)
        example = _first(location, version, [n for n in schema.names if n in key])
        raise RowNotFoundError(table, version, key, example)
    if rows.num_rows > 1:
        varied = [n for n in rows.column_names if n not in key and _tells_apart(rows.column(n))]
        varied = [name for name in varied if name not in RECORD_COLUMNS]
        raise AmbiguousRowError(table, key, rows.num_rows, varied[:5])
    found: dict[str, Any] = rows.to_pylist()[0]
    return found


def read_rows(location: str, version: int, key: Mapping[str, Any]) -> pa.Table:
    """The rows whose columns have the values of ``key``."""
    tests = (f"{_identifier(name)} = {_literal(value)}" for name, value in key.items())
    return lakehouse.read(location, version, filter=" AND ".join(tests))


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: object) -> str:
    """SQL text of a value; whatever is no number is text that the column's type reads."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    text = value.isoformat() if isinstance(value, date) else str(value)
    return "'" + text.replace("'", "''") + "'"


def _first(location: str, version: int, columns: list[str]) -> dict[str, Any]:
    import pyarrow.parquet as pq

    for file in lakehouse.files(location, version):
        present = [name for name in columns if name in pq.read_schema(file.path).names]
        with pq.ParquetFile(file.path) as parquet:
            for batch in parquet.iter_batches(1, columns=present):
                found: dict[str, Any] = batch.to_pylist()[0]
                return found
    return {}


def _tells_apart(column: pa.ChunkedArray) -> bool:
    """Whether a person could type a value of the column to say which row is meant."""
    import pyarrow.types as t

    if t.is_floating(column.type) or t.is_nested(column.type) or t.is_binary(column.type):
        return False
    return len(column.unique()) > 1
