"""Raw Parquet files of a batch, checked by their footers: readable, and with the same columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import did_you_mean
from headrace.pipeline.errors import CorruptFileError, FileSchemaError

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True)
class Checked:
    """What became of the files of one source.

    Attributes:
        paths: files that can be read.
        corrupt: files that are left out.
        schema: columns and types to compare later files with.
    """

    paths: tuple[Path, ...]
    corrupt: tuple[Path, ...]
    schema: dict[str, str] | None


def check(
    dataset: str,
    paths: Iterable[Path],
    known: Mapping[str, str] | None,
    *,
    declared: Iterable[str] | None = None,
    merge: bool = False,
    skip_corrupt: bool = False,
) -> Checked:
    """Compare the footers of files with those of the files before them.

    Args:
        dataset: for messages.
        paths: the files.
        known: columns and types of earlier files, if there are any.
        declared: columns that the flow reads, where it declares a schema: others may come and go.
        merge: columns may come and go (``mergeSchema``).
        skip_corrupt: leave unreadable files out.

    Raises:
        CorruptFileError: a file cannot be read.
        FileSchemaError: a column is new, is missing, or has another type.
    """
    readable: list[Path] = []
    corrupt: list[Path] = []
    columns = dict(known) if known is not None else None
    wanted = None if declared is None else {name.lower() for name in declared}
    for path in paths:
        found = _columns(dataset, path, skip_corrupt)
        if found is None:
            corrupt.append(path)
            continue
        readable.append(path)
        if wanted is None:
            _has_spark_types(dataset, path, found)
        else:
            found = {name: kind for name, kind in found.items() if name.lower() in wanted}
        if columns is None:
            columns = dict(found)
        if not merge:
            _same_names(
                dataset, path, found, columns if wanted is None else _all(columns, declared)
            )
        _same_types(dataset, path, found, columns)
        columns |= found
    return Checked(tuple(readable), tuple(corrupt), columns)


def kind(data_type: pyarrow.DataType) -> str:
    """The name of a type, equal for what writers store differently but readers read alike."""
    import pyarrow as pa

    if pa.types.is_dictionary(data_type):
        return kind(data_type.value_type)
    if pa.types.is_timestamp(data_type):
        unit = "[ns]" if data_type.unit == "ns" else ""  # the others are read as microseconds
        return f"timestamp{unit}" if data_type.tz else f"timestamp_ntz{unit}"
    if pa.types.is_large_string(data_type) or pa.types.is_string(data_type):
        return "string"
    if pa.types.is_large_binary(data_type) or pa.types.is_binary(data_type):
        return "binary"
    return str(data_type)


def _columns(dataset: str, path: Path, skip_corrupt: bool) -> dict[str, str] | None:
    import pyarrow
    from pyarrow import parquet

    try:
        return {field.name: kind(field.type) for field in parquet.read_schema(path)}
    except (OSError, pyarrow.ArrowException) as error:
        if skip_corrupt:
            return None
        why = str(error).strip().splitlines()[0]
        raise CorruptFileError(dataset, str(path), why, streaming=True) from error


def _all(columns: Mapping[str, str], declared: Iterable[str] | None) -> dict[str, str]:
    """Known columns, and the declared ones that no file had so far."""
    lower = {name.lower() for name in columns}
    return dict(columns) | {name: "" for name in declared or () if name.lower() not in lower}


def _has_spark_types(dataset: str, path: Path, found: Mapping[str, str]) -> None:
    for name, found_kind in found.items():
        if found_kind.endswith("[ns]"):
            reason = "is a timestamp in nanoseconds: Spark reads it only with a declared schema"
            raise FileSchemaError(dataset, str(path), name, reason)


def _same_names(
    dataset: str, path: Path, found: Mapping[str, str], expected: Mapping[str, str]
) -> None:
    have = {name.lower() for name in found}
    for name in expected:
        if name.lower() not in have:
            hint = did_you_mean(name, found)
            raise FileSchemaError(
                dataset, str(path), name, "is missing" + (f"; {hint}" if hint else "")
            )
    known = {name.lower() for name in expected}
    for name in found:
        if name.lower() not in known:
            raise FileSchemaError(dataset, str(path), name, "is new")


def _same_types(
    dataset: str, path: Path, found: Mapping[str, str], known: Mapping[str, str]
) -> None:
    for name, found_kind in found.items():
        before = known.get(name, found_kind)
        # A column of nulls alone has no type yet.
        if before != found_kind and "null" not in (before, found_kind):
            raise FileSchemaError(
                dataset, str(path), name, f"is {found_kind}, in the files before it {before}"
            )
