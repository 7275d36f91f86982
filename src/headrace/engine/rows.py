"""Fitting rows to the columns of the table that they are written to.

The rules are those of Delta Lake and of Spark's ANSI store assignment: columns match by name
without regard to case (or by position, for ``INSERT``), columns that the rows lack become null,
columns that the table lacks are an error unless ``mergeSchema`` is on, and a value changes its
type only where that cannot turn text into something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from headrace.engine import messages, sql
from headrace.engine.describe import relation_schema
from headrace.engine.errors import ColumnNotFoundError, SchemaMismatchError

if TYPE_CHECKING:
    from pyspark.sql.connect.client import SparkConnectClient
    from pyspark.sql.connect.proto import Relation
    from pyspark.sql.types import DataType, StructField, StructType

    from headrace.engine.writes import Write

_NUMBERS: Final = {"tinyint", "smallint", "int", "bigint", "float", "double", "decimal"}
_MOMENTS: Final = {"date", "timestamp", "timestamp_ntz"}
_NESTED: Final = ("array", "map", "struct")


def fitted(write: Write, client: SparkConnectClient) -> Relation:
    """The resolved rows with the table's columns, in the table's order.

    Raises:
        SchemaMismatchError: columns are missing that may not be null, or are too many, or hold
            what their column cannot.
    """
    table = table_schema(write.target.location, client)
    given = relation_schema(client, write.rows)
    write.names = tuple(table.names)
    if write.by_position:
        return _by_position(write, given, table)
    return _by_name(write, given, table)


def nullable(write: Write, client: SparkConnectClient) -> Relation:
    """The resolved rows, of columns that may all be null.

    As in Delta Lake, a table made from rows takes their columns as nullable: that these rows
    hold no null says nothing about later ones. The rows are joined to none of a nullable type,
    because the server writes the nullability of the plan.
    """
    from pyspark.sql.pandas.types import to_arrow_schema

    given = relation_schema(client, write.rows)
    write.names = tuple(given.names)
    wanted = given._as_nullable()
    if given == wanted:
        return write.rows
    made = messages.new_relation()
    made.set_op.left_input.CopyFrom(write.rows)
    made.set_op.right_input.CopyFrom(
        messages.local(to_arrow_schema(wanted, timezone="UTC").empty_table())
    )
    made.set_op.set_op_type = 2
    made.set_op.is_all = True
    return made


def table_schema(location: str, client: SparkConnectClient) -> StructType:
    """Columns of the newest version of a Delta table, as the engine sees them."""
    made = messages.new_relation()
    made.read.data_source.format = "delta"
    made.read.data_source.paths.append(location)
    return relation_schema(client, made)


def _by_position(write: Write, given: StructType, table: StructType) -> Relation:
    names = list(write.columns) or table.names
    known = {name.lower(): field for name, field in zip(table.names, table.fields, strict=True)}
    for name in names:
        if name.lower() not in known:
            raise ColumnNotFoundError(name, write.target.label, table.names)
    if len(names) != len(given.fields):
        raise SchemaMismatchError(
            write.target.label,
            missing=names[len(given.fields) :],
            extra=given.names[len(names) :],
            next=f"SELECT {len(names)} columns: {', '.join(names)}",
        )
    renamed = messages.new_relation()
    renamed.to_df.input.CopyFrom(write.rows)
    renamed.to_df.column_names.extend(names)
    chosen = {name.lower(): field for name, field in zip(names, given.fields, strict=True)}
    return _projected(write, renamed, table.fields, chosen)


def _by_name(write: Write, given: StructType, table: StructType) -> Relation:
    chosen = {field.name.lower(): field for field in given.fields}
    known = {name.lower() for name in table.names}
    extra = [field for field in given.fields if field.name.lower() not in known]
    if extra and not write.flag("mergeSchema"):
        raise SchemaMismatchError(
            write.target.label,
            extra=[field.name for field in extra],
            next=_next(write),
        )
    if [*map(_shape, given.fields)] == [
        *map(_shape, table.fields)
    ] and not extra:  # Nothing to change: the plan stays as the user wrote it.
        return write.rows
    return _projected(write, write.rows, [*table.fields, *extra], chosen)


def _projected(
    write: Write,
    rows: Relation,
    fields: Sequence[StructField],
    chosen: dict[str, StructField],
) -> Relation:
    missing = [
        each.name for each in fields if each.name.lower() not in chosen and not each.nullable
    ]
    changed = [
        f"{each.name} ({_type(chosen[each.name.lower()])} to {_type(each)})"
        for each in fields
        if each.name.lower() in chosen
        and not assignable(chosen[each.name.lower()].dataType, each.dataType)
    ]
    if missing or changed:
        raise SchemaMismatchError(
            write.target.label, missing=missing, changed=changed, next=_next(write)
        )
    write.names = tuple(each.name for each in fields)
    made = messages.new_relation()
    made.project.input.CopyFrom(rows)
    for each in fields:
        _column(made.project.expressions.add().alias, each, chosen.get(each.name.lower()))
    return made


def _column(alias: Any, wanted: StructField, found: StructField | None) -> None:
    """``CAST(column AS type) AS name``, or a null of the type."""
    alias.name.append(wanted.name)
    expression = alias.expr
    if found is None or _type(found) != _type(wanted):
        expression.cast.type_str = _type(wanted)
        expression = expression.cast.expr
    if found is None:
        expression.literal.null.null.SetInParent()
    else:
        expression.unresolved_attribute.unparsed_identifier = sql.quoted(wanted.name)


def assignable(found: DataType, wanted: DataType) -> bool:
    """Whether a value of one type may be stored in a column of another.

    Spark's ``storeAssignmentPolicy=ANSI``: numbers to numbers (an overflow fails when it
    happens), dates to timestamps and back, anything that is not nested to text, and null to all.
    """
    source, sink = str(found.simpleString()), str(wanted.simpleString())
    if source in {sink, "void"}:
        return True
    head, tail = source.partition("(")[0], sink.partition("(")[0]
    if head.startswith(_NESTED) or tail.startswith(_NESTED):
        # Nested types must agree but for the numbers and moments inside, which Delta casts.
        return head.partition("<")[0] == tail.partition("<")[0] and _same_names(found, wanted)
    if tail in {"string", "varchar", "char"}:
        return head != "binary"
    return {head, tail} <= _NUMBERS or {head, tail} <= _MOMENTS


def _same_names(found: DataType, wanted: DataType) -> bool:
    from pyspark.sql.types import ArrayType, MapType, StructType

    if isinstance(found, ArrayType) and isinstance(wanted, ArrayType):
        return assignable(found.elementType, wanted.elementType)
    if isinstance(found, MapType) and isinstance(wanted, MapType):
        return assignable(found.keyType, wanted.keyType) and assignable(
            found.valueType, wanted.valueType
        )
    if isinstance(found, StructType) and isinstance(wanted, StructType):
        return [name.lower() for name in found.names] == [
            name.lower() for name in wanted.names
        ] and all(
            assignable(one.dataType, other.dataType)
            for one, other in zip(found.fields, wanted.fields, strict=True)
        )
    return False


def _shape(field: StructField) -> tuple[str, str]:
    return field.name, _type(field)


def _type(field: StructField) -> str:
    return str(field.dataType.simpleString())


def _next(write: Write) -> str:
    if write.by_position:
        return f"DESCRIBE {write.target.label}"
    if write.mode == "append":
        return '.option("mergeSchema", "true") adds the columns to the table'
    return '.option("overwriteSchema", "true") replaces the columns of the table'
