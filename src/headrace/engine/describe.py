"""What the catalog holds, as rows: for ``DESCRIBE``, ``SHOW`` and ``spark.catalog``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headrace import lakehouse
from headrace.catalog import Entry, TableName
from headrace.catalog.names import DEFAULT_SCHEMA
from headrace.engine import messages, sql
from headrace.engine.resolve import PinningResolver
from headrace.engine.rewrite import NamedRead, Rewriter

if TYPE_CHECKING:
    from pyspark.sql.connect.client import SparkConnectClient
    from pyspark.sql.connect.proto import Relation
    from pyspark.sql.types import StructType

    from headrace.engine.state import SessionState


def rows(names: Sequence[str], values: Iterable[Sequence[Any]], **types: Any) -> Relation:
    """A relation of the given rows; text unless ``types`` says otherwise."""
    import pyarrow as pa

    schema = pa.schema([(name, types.get(name, pa.string())) for name in names])
    made = [dict(zip(names, each, strict=True)) for each in values]
    return messages.local(pa.Table.from_pylist(made, schema=schema))


def nothing() -> Relation:
    """The result of a statement that has none."""
    return rows(("result",), ())


def schema_of(
    state: SessionState, client: SparkConnectClient, parts: tuple[str, ...]
) -> StructType:
    """Columns of a table or view, as the engine sees them.

    Raises:
        TableNotFoundError: there is none.
    """
    resolver = PinningResolver(state)
    made = messages.new_relation()
    found = resolver.table(NamedRead(parts))
    if found is not None:
        messages.replace(made, found)
    return relation_schema(client, made)


def relation_schema(client: SparkConnectClient, relation: Relation) -> StructType:
    """Columns of a resolved relation."""
    return client.schema(messages.plan(relation))


def columns(state: SessionState, client: SparkConnectClient, parts: tuple[str, ...]) -> Relation:
    """``DESCRIBE TABLE``: name, type and comment of each column."""
    return column_rows(schema_of(state, client, parts), comments(state, parts))


def comments(state: SessionState, parts: tuple[str, ...]) -> dict[str, str]:
    """What was written about the columns of a table; the server does not hand it on."""
    if state.temp_view(parts) is not None:
        return {}
    entry = state.resolve(parts)
    if entry.location is None:
        return {}
    return {
        field.name: field.metadata[b"comment"].decode()
        for field in lakehouse.schema(entry.location)
        if b"comment" in (field.metadata or {})
    }


def column_rows(schema: StructType, comments: Mapping[str, str] | None = None) -> Relation:
    """Name, type and comment of each column."""
    noted = comments or {}
    return rows(
        ("col_name", "data_type", "comment"),
        [(each.name, each.dataType.simpleString(), noted.get(each.name)) for each in schema.fields],
    )


def history(state: SessionState, parts: tuple[str, ...]) -> Relation:
    """``DESCRIBE HISTORY``: the commits of a table, newest first."""
    import pyarrow as pa

    entry = state.resolve(parts)
    commits = lakehouse.history(str(entry.location))
    return rows(
        ("version", "timestamp", "operation", "operationMetrics", "userMetadata"),
        [
            (
                each.version,
                each.timestamp,
                each.operation,
                [(key, str(value)) for key, value in (each.metrics or {}).items()],
                each.user_metadata,
            )
            for each in commits
        ],
        version=pa.int64(),
        timestamp=pa.timestamp("us", tz="UTC"),
        operationMetrics=pa.map_(pa.string(), pa.string()),
    )


def detail(state: SessionState, parts: tuple[str, ...]) -> Relation:
    """``DESCRIBE DETAIL``: where a table lies and how large it is."""
    import pyarrow as pa

    entry = state.resolve(parts)
    location = str(entry.location)
    held = lakehouse.files(location)
    return rows(
        ("format", "name", "location", "version", "numFiles", "sizeInBytes"),
        [
            (
                "delta",
                str(entry.name),
                location,
                lakehouse.latest_version(location),
                len(held),
                sum(each.size for each in held),
            )
        ],
        version=pa.int64(),
        numFiles=pa.int64(),
        sizeInBytes=pa.int64(),
    )


def tables(state: SessionState, schema: str | None, pattern: str | None) -> Relation:
    """``SHOW TABLES``: of one schema, and the temporary views."""
    import pyarrow as pa

    found = [(each.name.schema, each.name.name, False) for each in entries(state, schema)]
    found += [("", name, True) for name in state.temp_views if "." not in name]
    return rows(
        ("namespace", "tableName", "isTemporary"),
        [each for each in found if matches(each[1], pattern)],
        isTemporary=pa.bool_(),
    )


def views(state: SessionState, schema: str | None, pattern: str | None) -> Relation:
    """``SHOW VIEWS``: of one schema, and the temporary ones."""
    import pyarrow as pa

    held = [each for each in entries(state, schema) if each.kind == "view"]
    found = [(each.name.schema, each.name.name, False) for each in held]
    found += [("", name, True) for name in state.temp_views if "." not in name]
    return rows(
        ("namespace", "viewName", "isTemporary"),
        [each for each in found if matches(each[1], pattern)],
        isTemporary=pa.bool_(),
    )


def schemas(state: SessionState, pattern: str | None) -> Relation:
    """``SHOW SCHEMAS``: of the current catalog."""
    return rows(("namespace",), [(name,) for name in schema_names(state) if matches(name, pattern)])


def create_statement(
    state: SessionState, client: SparkConnectClient, parts: tuple[str, ...]
) -> str:
    """``SHOW CREATE TABLE``: a statement that makes such a table or view."""
    entry = state.resolve(parts)
    if entry.kind == "view":
        return f"CREATE VIEW {entry.name} AS {entry.definition}"
    schema = schema_of(state, client, parts)
    lines = [
        f"  {sql.quoted(each.name)} {each.dataType.simpleString().upper()}"
        + ("" if each.nullable else " NOT NULL")
        for each in schema.fields
    ]
    text = f"CREATE TABLE {entry.name} (\n" + ",\n".join(lines) + ")\nUSING delta"
    partitions = partition_columns(str(entry.location))
    return text + (f"\nPARTITIONED BY ({', '.join(partitions)})" if partitions else "")


def partition_columns(location: str) -> list[str]:
    """The partition columns of a Delta table."""
    import deltalake

    return list(deltalake.DeltaTable(location).metadata().partition_columns)


def entries(state: SessionState, schema: str | None) -> list[Entry]:
    """Tables and views of a schema as written; of the current one if not given."""
    return state.catalog.list(str(schema_name(state, schema)))


def schema_name(state: SessionState, text: str | None) -> str:
    """``catalog.schema`` of a schema as written.

    Raises:
        InvalidNameError: it cannot be one.
    """
    if not text:
        return f"{state.current_catalog}.{state.current_schema}"
    parts = [part.strip("`") for part in text.split(".")]
    return TableName.parse(".".join([*parts, "x"]), catalog=state.current_catalog).qualifier


def schema_names(state: SessionState, catalog: str | None = None) -> list[str]:
    """Schemas of a catalog (the current one): those that hold something, and those made empty."""
    catalog = catalog or state.current_catalog
    prefix = f"{catalog}."
    held = {
        name.removeprefix(prefix) for name in state.catalog.schemas() if name.startswith(prefix)
    }
    directory = state.catalog.warehouse / catalog
    made = (
        {each.name for each in directory.iterdir() if each.is_dir()} if directory.exists() else ()
    )
    return sorted({*held, *made, DEFAULT_SCHEMA})


def matches(name: str, pattern: str | None) -> bool:
    """Spark's patterns: ``*`` for any text and ``|`` between alternatives, in any case."""
    if not pattern:
        return True
    parts = (".*".join(re.escape(each) for each in part.split("*")) for part in pattern.split("|"))
    return re.fullmatch("|".join(parts), name, re.IGNORECASE) is not None


def resolved(
    state: SessionState, relation: Relation, *, view: str | None = None
) -> tuple[Relation, PinningResolver]:
    """A pinned copy of a relation, and what it reads.

    Args:
        view: name of the view whose query it is, which it may not read.
    """
    made = type(relation)()
    made.CopyFrom(relation)
    resolver = PinningResolver(state, view=view)
    Rewriter(resolver).apply(made)
    return made, resolver
