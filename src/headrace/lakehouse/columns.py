"""Whether data has the columns of a table, in words that name the difference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headrace.lakehouse.errors import TableSchemaError

if TYPE_CHECKING:
    import pyarrow
    from deltalake import DeltaTable, Schema


def check_names(path: Path, table: DeltaTable, schema: pyarrow.Schema) -> None:
    """Raise TableSchemaError unless the names are the table's; types may be cast later."""
    have = set(_stored(table).names)
    given = set(schema.names)
    if duplicates := sorted({name for name in schema.names if schema.names.count(name) > 1}):
        raise TableSchemaError(str(path), f"the data has two columns {', '.join(duplicates)}")
    lacks = [f"lacks {', '.join(sorted(have - given))}"] if have - given else []
    extra = [f"has {', '.join(sorted(given - have))} besides"] if given - have else []
    if lacks or extra:
        raise TableSchemaError(str(path), "the data " + " and ".join([*lacks, *extra]))


def check_types(path: Path, table: DeltaTable, schema: pyarrow.Schema) -> None:
    """Raise TableSchemaError unless names and types are the table's."""
    check_names(path, table, schema)
    stored = _stored(table)
    differences = [
        f"{field.name} is {field.type} in the data and {stored.field(field.name).type} in the table"
        for field in schema
        if delta_type(field.type) != delta_type(stored.field(field.name).type)
    ]
    if differences:
        raise TableSchemaError(str(path), "; ".join(differences))


def storable(schema: pyarrow.Schema) -> pyarrow.Schema:
    """The schema with every timestamp as Delta knows it: microseconds, and UTC or no zone."""
    import pyarrow

    return pyarrow.schema([field.with_type(_storable(field.type)) for field in schema])


def _storable(data_type: pyarrow.DataType) -> pyarrow.DataType:
    import pyarrow

    types = pyarrow.types
    if types.is_timestamp(data_type):
        # Nanoseconds do not exist in Delta, and a time zone is always UTC there, under one name.
        return pyarrow.timestamp("us", data_type.tz and "UTC")
    if types.is_struct(data_type):
        return pyarrow.struct([part.with_type(_storable(part.type)) for part in data_type])
    if types.is_list(data_type) or types.is_large_list(data_type):
        made = pyarrow.list_ if types.is_list(data_type) else pyarrow.large_list
        return made(data_type.value_field.with_type(_storable(data_type.value_type)))
    if types.is_map(data_type):
        return pyarrow.map_(_storable(data_type.key_type), _storable(data_type.item_type))
    return data_type


def delta_type(data_type: pyarrow.DataType) -> str:
    """The Delta type of an Arrow type: large, view and dictionary types are the same there."""
    import pyarrow

    text: str = delta_schema(pyarrow.schema([pyarrow.field("value", data_type)])).to_json()
    return text


def delta_schema(schema: pyarrow.Schema) -> Schema:
    """The columns as Delta has them."""
    from deltalake import Schema

    return Schema.from_arrow(storable(schema))


def _stored(table: DeltaTable) -> pyarrow.Schema:
    import pyarrow

    return pyarrow.schema(table.schema().to_arrow())
