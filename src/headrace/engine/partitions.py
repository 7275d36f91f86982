"""Overwriting a part of a table: ``replaceWhere`` and dynamic partition overwrite.

The server replaces what a predicate selects, but neither checks that the new rows belong there
nor knows the dynamic mode, which it takes for a full overwrite. Both are done here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.engine import messages, sql
from headrace.engine.describe import partition_columns, relation_schema

if TYPE_CHECKING:
    from pyspark.sql.connect.client import SparkConnectClient
    from pyspark.sql.connect.proto import Relation

    from headrace.engine.writes import Write

_OUTSIDE: Final = "headrace: a row lies outside of what is replaced"


def confine(write: Write, client: SparkConnectClient) -> None:
    """Turn the options of a partial overwrite into a predicate, and let the rows obey it.

    Dynamic overwrite runs the query once more, for the partitions it has rows in.
    """
    dynamic = write.options.pop("partitionoverwritemode", "").lower() == "dynamic"
    if dynamic and write.mode == "overwrite" and "replacewhere" not in write.options:
        columns = partition_columns(write.target.location)
        if columns:
            values = _values(write.rows, columns, client)
            if values:
                write.options["replacewhere"] = _predicate(columns, values)
            else:
                write.mode = "append"
    condition = write.options.get("replacewhere")
    if condition:
        write.rows = _guarded(write.rows, condition, client)


def _guarded(rows: Relation, condition: str, client: SparkConnectClient) -> Relation:
    """The rows; reading one that does not meet the condition fails.

    The check stands in a projection: as a filter, the optimizer would move it in front of the
    query's own filters, where it would see rows that are not to be written.
    """
    first, *others = relation_schema(client, rows).fields
    made = messages.new_relation()
    made.project.input.CopyFrom(rows)
    name, kind = sql.quoted(first.name), first.dataType.simpleString()
    made.project.expressions.add().expression_string.expression = (
        f"CASE WHEN ({condition}) THEN {name} "
        f"ELSE CAST(raise_error('{_OUTSIDE}') AS {kind}) END AS {name}"
    )
    for each in others:
        attribute = made.project.expressions.add().unresolved_attribute
        attribute.unparsed_identifier = sql.quoted(each.name)
    return made


def is_outside(error: Exception) -> bool:
    """Whether a write failed because a row does not meet its predicate."""
    return _OUTSIDE in str(error)


def _values(
    rows: Relation, columns: list[str], client: SparkConnectClient
) -> list[tuple[tuple[str, str | None], ...]]:
    """The partitions of the rows: type and text of the value of each column."""
    projected = messages.new_relation()
    projected.project.input.CopyFrom(rows)
    for column in columns:
        for prefix in ("typeof", "string"):
            made = projected.project.expressions.add()
            made.expression_string.expression = (
                f"{prefix}({sql.quoted(column)}) AS {sql.quoted(f'{prefix}_{column}')}"
            )
    distinct = messages.new_relation()
    distinct.deduplicate.input.CopyFrom(projected)
    distinct.deduplicate.all_columns_as_keys = True
    table, _, _ = client.to_table(messages.plan(distinct), {})
    rows_of = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return [tuple(zip(row[::2], row[1::2], strict=True)) for row in rows_of]


def _predicate(columns: list[str], values: list[tuple[tuple[str, str | None], ...]]) -> str:
    partitions = (
        " AND ".join(
            f"{sql.quoted(name)} IS NULL"
            if text is None
            else f"{sql.quoted(name)} = CAST({_literal(text)} AS {kind})"
            for name, (kind, text) in zip(columns, row, strict=True)
        )
        for row in values
    )
    return " OR ".join(f"({each})" for each in sorted(partitions))


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
