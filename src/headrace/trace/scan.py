"""Counting an entity's rows in one raw file: footers and statistics first, then the columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from headrace.trace.raw import Entity

_BATCH_ROWS = 65_536
_CSV = (".csv", ".csv.gz", ".tsv", ".tsv.gz")


class CannotNarrowError(Exception):
    """A file that cannot be looked into; ``reason`` goes into the trace."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Count:
    """Rows of an entity in one file.

    Attributes:
        rows: how many.
        columns: that name the entity.
        times: that told when; empty if the file has none, and then any time counts.
    """

    rows: int
    columns: tuple[str, ...]
    times: tuple[str, ...]


def count_rows(path: Path, entity: Entity) -> Count:
    """Rows of the entity in its window.

    Raises:
        CannotNarrowError: the file is gone, damaged, of another format, or has no such columns.
    """
    import pyarrow as pa

    try:
        if path.name.endswith(_CSV):
            return _count_csv(path, entity)
        if path.suffix == ".parquet":
            return _count_parquet(path, entity)
    except FileNotFoundError:
        raise CannotNarrowError("the file is gone") from None
    except (pa.ArrowException, OSError) as error:
        raise CannotNarrowError(f"it cannot be read: {str(error).splitlines()[0]}") from error
    raise CannotNarrowError(f'files "*{path.suffix}" are not looked into')


def _count_parquet(path: Path, entity: Entity) -> Count:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        columns, times = _columns(file.schema_arrow, entity)
        wanted = _wanted(file.schema_arrow, entity)
        groups = [
            index
            for index in range(file.metadata.num_row_groups)
            if _can_hold(file.metadata.row_group(index), wanted)
        ]
        if not groups:
            return Count(0, tuple(columns), tuple(times))
        batches = file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=[*columns, *times])
        rows = _count(batches, wanted, times, entity)
    return Count(rows, tuple(columns), tuple(times))


def _count_csv(path: Path, entity: Entity) -> Count:
    from pyarrow import csv

    delimiter = "\t" if ".tsv" in path.name else ","
    with csv.open_csv(path, parse_options=csv.ParseOptions(delimiter=delimiter)) as reader:
        columns, times = _columns(reader.schema, entity)
        wanted = _wanted(reader.schema, entity)
        selected = (batch.select([*columns, *times]) for batch in reader)
        rows = _count(selected, wanted, times, entity)
    return Count(rows, tuple(columns), tuple(times))


def _columns(schema: pa.Schema, entity: Entity) -> tuple[list[str], list[str]]:
    """The entity's columns, and those that tell the time.

    The time is in the column of the same name; else in any column with a timestamp, since raw
    data names its times as it likes.
    """
    import pyarrow.types as t

    missing = [name for name in entity.columns if name not in schema.names]
    if missing:
        raise CannotNarrowError(f"no column {', '.join(missing)}")
    if entity.moment is None:
        return list(entity.columns), []
    times = [
        field.name
        for field in schema
        if (t.is_timestamp(field.type) or t.is_date(field.type))
        and field.name not in entity.columns
    ]
    if entity.time in times:
        times = [entity.time]
    return list(entity.columns), times


def _wanted(schema: pa.Schema, entity: Entity) -> dict[str, pa.Scalar]:
    """The entity's values in the types of the file.

    Raises:
        CannotNarrowError: a value cannot be one of the column.
    """
    import pyarrow as pa

    found = {}
    for name, value in entity.columns.items():
        kind = schema.field(name).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        try:
            found[name] = pa.scalar(value).cast(kind)
        except (pa.ArrowException, ValueError, TypeError):
            raise CannotNarrowError(f"{name} is a {kind} there, and {value!r} is none") from None
    return found


def _can_hold(group: pq.RowGroupMetaData, wanted: dict[str, pa.Scalar]) -> bool:
    """Whether the row group's statistics leave room for the wanted values."""
    for index in range(group.num_columns):
        column = group.column(index)
        value = wanted.get(column.path_in_schema)
        statistics = column.statistics
        if value is None or statistics is None or not statistics.has_min_max:
            continue
        plain = value.as_py()
        try:
            if not statistics.min <= plain <= statistics.max:
                return False
        except TypeError:  # statistics in another representation than the values: no help
            continue
    return True


def _count(
    batches: Iterator[pa.RecordBatch],
    wanted: dict[str, pa.Scalar],
    times: list[str],
    entity: Entity,
) -> int:
    import pyarrow.compute as pc

    rows = 0
    for batch in batches:
        keep = None
        for name, value in wanted.items():
            same = pc.equal(batch.column(name), value)
            keep = same if keep is None else pc.and_kleene(keep, same)
        if times and entity.moment is not None:
            inside = None
            for name in times:
                here = _within(batch.column(name), entity.moment, entity)
                inside = here if inside is None else pc.or_kleene(inside, here)
            keep = pc.and_kleene(keep, inside)
        rows += pc.sum(pc.fill_null(keep, False)).as_py() or 0
    return rows


def _within(column: pa.Array, moment: datetime, entity: Entity) -> Any:
    """Whether each time lies in the window; times without a zone are taken for UTC."""
    import pyarrow as pa
    import pyarrow.compute as pc

    plain = pa.timestamp("us")
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        column = column.cast(pa.timestamp("us", "UTC"), safe=False)
    column = column.cast(plain, safe=False)

    def at(when: datetime) -> pa.Scalar:
        return pa.scalar(when.astimezone(UTC).replace(tzinfo=None), plain)

    inside = pc.less_equal(column, at(moment))
    if entity.lookback is not None:
        inside = pc.and_kleene(inside, pc.greater(column, at(moment - entity.lookback)))
    return inside
