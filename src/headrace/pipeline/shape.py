"""The columns of a table: those that were declared, or those that it has already."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from headrace.pipeline.errors import DefinitionError, TableSchemaError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType, StructType

    from headrace.pipeline.context import Context
    from headrace.pipeline.graph import Dataset

_INVALID: Final = frozenset(" ,;{}()\n\t=")


def declared(context: Context, dataset: Dataset, frame: DataFrame) -> DataFrame:
    """The rows with the columns and types that the dataset declares, if it declares any.

    Raises:
        DefinitionError: the query gives other columns, lacks a partition column, or has a
            column that no Delta table can hold.
    """
    schema = dataset.output.schema
    if schema is not None:
        wanted = _struct(context, schema)
        missing = [field.name for field in wanted if field.name not in frame.columns]
        extra = [name for name in frame.columns if name not in wanted.names]
        if missing or extra:
            raise DefinitionError(
                f"The query of {dataset.name} does not give the columns that it declares.",
                dataset.location,
                _difference(missing, extra),
            )
        frame = frame.select(*(frame[field.name].cast(field.dataType) for field in wanted))
    _check_storable(dataset, frame.schema)
    missing = [name for name in dataset.output.partition_by if name not in frame.columns]
    if missing:
        raise DefinitionError(
            f"{dataset.name} is partitioned by a column that it lacks: {missing[0]}.",
            dataset.location,
            f"its columns are {', '.join(frame.columns)}",
        )
    return frame


def fitted(context: Context, dataset: Dataset, frame: DataFrame) -> DataFrame:
    """New rows with the columns of the table, in its order; a column that they lack is null.

    Raises:
        TableSchemaError: they have a column that the table lacks, or one of another type.
    """
    from pyspark.sql import functions as F

    table: StructType = context.spark.table(dataset.name).schema
    given = {field.name: field.dataType for field in frame.schema}
    extra = [name for name in given if name not in table.names]
    if extra:
        raise TableSchemaError(
            dataset.name, dataset.location, f'the table has no column "{extra[0]}"'
        )
    columns = []
    for field in table:
        kind = given.get(field.name)
        if kind is None:
            columns.append(F.lit(None).cast(field.dataType).alias(field.name))
        elif kind.simpleString() != field.dataType.simpleString():
            raise TableSchemaError(
                dataset.name,
                dataset.location,
                f'column "{field.name}" is {kind.simpleString()}, '
                f"the table's is {field.dataType.simpleString()}",
            )
        else:
            columns.append(frame[field.name])
    return frame.select(*columns)


def _check_storable(dataset: Dataset, schema: StructType) -> None:
    seen: dict[str, str] = {}
    for field in schema.fields:
        if field.name.lower() in seen:
            raise DefinitionError(
                f"{dataset.name} has two columns of one name.",
                dataset.location,
                f"{seen[field.name.lower()]} and {field.name} differ in case at most",
            )
        seen[field.name.lower()] = field.name
        if _INVALID & set(field.name):
            raise DefinitionError(
                f'{dataset.name} cannot have a column "{field.name}".',
                dataset.location,
                'names of Delta columns hold none of " ,;{}()=", no tab and no line break',
                "give the column an alias",
            )
        unfit = next(_unfit(field.dataType), None)
        if unfit is not None:
            raise DefinitionError(
                f'The column "{field.name}" of {dataset.name} is of type {unfit}.',
                dataset.location,
                "no Delta table holds that type",
                "cast the column, such as CAST(NULL AS STRING)",
            )


def _unfit(kind: DataType) -> Iterator[str]:
    """Types inside a type that Delta does not know."""
    from pyspark.sql import types

    if isinstance(kind, types.StructType):
        for field in kind.fields:
            yield from _unfit(field.dataType)
    elif isinstance(kind, types.ArrayType):
        yield from _unfit(kind.elementType)
    elif isinstance(kind, types.MapType):
        yield from _unfit(kind.keyType)
        yield from _unfit(kind.valueType)
    elif "interval" in kind.simpleString() or isinstance(kind, types.NullType):
        yield kind.simpleString()


def _struct(context: Context, schema: StructType | str) -> StructType:
    if not isinstance(schema, str):
        return schema
    empty = context.spark.createDataFrame([], schema)
    found: StructType = empty.schema
    return found


def _difference(missing: list[str], extra: list[str]) -> str:
    parts = []
    if missing:
        parts.append(f"it lacks {', '.join(missing)}")
    if extra:
        parts.append(f"it has {', '.join(extra)} too")
    return " and ".join(parts)
