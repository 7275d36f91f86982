"""``spark.catalog``: answered from the catalog instead of the server's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace import lakehouse
from headrace.catalog import Entry, TableName
from headrace.engine import describe
from headrace.engine.ddl import Names, NewTable
from headrace.engine.describe import matches, rows
from headrace.engine.errors import UnsupportedStatementError
from headrace.engine.record import Draft
from headrace.engine.rewrite import parts_of

if TYPE_CHECKING:
    from pyspark.sql.connect.client import SparkConnectClient
    from pyspark.sql.connect.proto import Catalog, Relation

    from headrace.engine.state import SessionState

_TABLE = ("name", "catalog", "namespace", "description", "tableType", "isTemporary")
_COLUMN = ("name", "description", "dataType", "nullable", "isPartition", "isBucket", "isCluster")
_SCHEMA = ("name", "catalog", "description", "locationUri")
_PASSED = {"list_functions", "get_function", "function_exists"}
# Every read sees the newest commit and no statistics are kept: nothing to be done.
_NEEDLESS = {
    "analyze_table",
    "cache_table",
    "recover_partitions",
    "refresh_table",
    "uncache_table",
}


class CatalogApi:
    """Answers the relations of ``spark.catalog``."""

    def __init__(self, state: SessionState, client: SparkConnectClient, names: Names) -> None:
        self._state = state
        self._client = client
        self._names = names

    def answer(self, catalog: Catalog) -> Relation | None:
        """The rows of the answer; ``None`` where the server knows it."""
        kind = catalog.WhichOneof("cat_type") or "unknown"
        if kind in _PASSED:
            return None
        request = getattr(catalog, kind)
        if kind in _NEEDLESS:
            self._state.temp_view(parts_of(request.table_name)) or self._entry(request)
            return describe.nothing()
        method = getattr(self, f"_{kind}", None)
        if method is None:
            raise UnsupportedStatementError(
                f"spark.catalog.{_camel(kind)}",
                "the catalog does not keep this",
                "see docs/engine.md for what a session can do",
            )
        answer = method(request)
        return describe.nothing() if answer is None else answer

    def _entry(self, request: Any) -> Entry:
        return self._state.resolve(self._parts(request))

    def _parts(self, request: Any) -> tuple[str, ...]:
        parts = parts_of(request.table_name)
        schema = getattr(request, "db_name", "")
        return (*parts_of(schema), *parts) if schema and len(parts) == 1 else parts

    def _current_catalog(self, _request: Any) -> Relation:
        return _value(self._state.current_catalog)

    def _set_current_catalog(self, request: Any) -> None:
        self._state.current_catalog = TableName.parse(f"{request.catalog_name}.x.x").catalog

    def _list_catalogs(self, request: Any) -> Relation:
        names = {entry.name.catalog for entry in self._state.catalog.list()}
        found = sorted({*names, self._state.current_catalog})
        return rows(
            ("name", "description"),
            [(name, None) for name in found if matches(name, request.pattern)],
        )

    def _current_database(self, _request: Any) -> Relation:
        return _value(self._state.current_schema)

    def _set_current_database(self, request: Any) -> None:
        self._names.use(request.db_name)

    def _schema_row(self, name: str) -> tuple[str | None, ...]:
        place = self._state.catalog.warehouse / self._state.current_catalog / name
        return (name, self._state.current_catalog, None, place.as_uri())

    def _list_databases(self, request: Any) -> Relation:
        names = [
            name for name in describe.schema_names(self._state) if matches(name, request.pattern)
        ]
        return rows(_SCHEMA, [self._schema_row(name) for name in names])

    def _get_database(self, request: Any) -> Relation:
        name = describe.schema_name(self._state, request.db_name).partition(".")[2]
        return rows(_SCHEMA, [self._schema_row(name)])

    def _database_exists(self, request: Any) -> Relation:
        name = describe.schema_name(self._state, request.db_name).partition(".")[2]
        return _flag(name in describe.schema_names(self._state))

    def _create_database(self, request: Any) -> None:
        self._names.create_schema(request.db_name)

    def _drop_database(self, request: Any) -> None:
        self._names.drop_schema(
            request.db_name, cascade=request.cascade, if_exists=request.if_exists
        )

    def _table_rows(self, schema: str, pattern: str) -> list[tuple[Any, ...]]:
        found = [_table_row(entry) for entry in describe.entries(self._state, schema or None)]
        found += [
            (name, None, [], None, "TEMPORARY", True)
            for name in self._state.temp_views
            if "." not in name
        ]
        return [row for row in found if matches(row[0], pattern)]

    def _list_tables(self, request: Any) -> Relation:
        return _tables(self._table_rows(request.db_name, request.pattern))

    def _list_views(self, request: Any) -> Relation:
        found = self._table_rows(request.db_name, request.pattern)
        return _tables([row for row in found if row[4] in {"VIEW", "TEMPORARY"}])

    def _get_table(self, request: Any) -> Relation:
        parts = self._parts(request)
        if self._state.temp_view(parts) is not None:
            return _tables([(parts[-1], None, [], None, "TEMPORARY", True)])
        return _tables([_table_row(self._entry(request))])

    def _table_exists(self, request: Any) -> Relation:
        parts = self._parts(request)
        found = self._state.temp_view(parts) is not None
        return _flag(found or self._state.catalog.find(self._state.qualified(parts)) is not None)

    def _list_columns(self, request: Any) -> Relation:
        import pyarrow as pa

        parts = self._parts(request)
        schema = describe.schema_of(self._state, self._client, parts)
        partitions: set[str] = set()
        if self._state.temp_view(parts) is None and self._entry(request).kind == "table":
            partitions = set(describe.partition_columns(str(self._entry(request).location)))
        noted = describe.comments(self._state, parts)
        found = [
            (
                each.name,
                noted.get(each.name),
                each.dataType.simpleString(),
                each.nullable,
                each.name in partitions,
                False,
                False,
            )
            for each in schema.fields
        ]
        return rows(_COLUMN, found, **dict.fromkeys(_COLUMN[3:], pa.bool_()))

    def _list_partitions(self, request: Any) -> Relation:
        held = lakehouse.files(str(self._entry(request).location))
        names = {
            "/".join(f"{key}={value}" for key, value in each.partition_values.items())
            for each in held
        }
        return rows(("partition",), [(name,) for name in sorted(names) if name])

    def _get_create_table_string(self, request: Any) -> Relation:
        parts = self._parts(request)
        return _value(describe.create_statement(self._state, self._client, parts))

    def _create_table(self, request: Any) -> Relation:
        """An empty table of a schema, or a name for what lies at a path."""
        if request.source.lower() not in {"", "delta"}:
            raise UnsupportedStatementError(
                f"createTable with source {request.source}",
                "tables are Delta tables",
                f'spark.read.format("{request.source}").load(path) reads plain files',
            )
        parts = parts_of(request.table_name)
        declared = None
        if request.HasField("schema") and request.schema.struct.fields:
            from pyspark.sql.connect.types import proto_schema_to_pyspark_data_type

            declared = proto_schema_to_pyspark_data_type(request.schema).json()
        table = NewTable(
            parts,
            declared=declared,
            location=request.path or None,
            comment=request.description or None,
        )
        self._names.create_table(table, Draft.begin(self._state.id))
        return describe.nothing()

    _create_external_table = _create_table

    def _drop_temp_view(self, request: Any) -> Relation:
        return _flag(self._names.drop_temp_view((request.view_name.strip("`"),)))

    def _drop_global_temp_view(self, request: Any) -> Relation:
        return _flag(self._names.drop_temp_view((request.view_name.strip("`"),), is_global=True))

    def _drop_table(self, request: Any) -> None:
        self._names.drop(parts_of(request.table_name), "table", if_exists=request.if_exists)

    def _drop_view(self, request: Any) -> None:
        self._names.drop(parts_of(request.view_name), "view", if_exists=request.if_exists)

    def _is_cached(self, request: Any) -> Relation:
        self._state.temp_view(self._parts(request)) or self._entry(request)
        return _flag(False)

    def _clear_cache(self, _request: Any) -> None:
        """Nothing is cached."""

    def _refresh_by_path(self, _request: Any) -> None:
        """Every read lists its files anew."""


def _table_row(entry: Entry) -> tuple[Any, ...]:
    kind = "VIEW" if entry.kind == "view" else ("MANAGED" if entry.managed else "EXTERNAL")
    return (entry.name.name, entry.name.catalog, [entry.name.schema], entry.comment, kind, False)


def _tables(found: list[tuple[Any, ...]]) -> Relation:
    import pyarrow as pa

    return rows(_TABLE, found, namespace=pa.list_(pa.string()), isTemporary=pa.bool_())


def _value(text: str) -> Relation:
    return rows(("value",), [(text,)])


def _flag(value: bool) -> Relation:
    import pyarrow as pa

    return rows(("value",), [(value,)], value=pa.bool_())


def _camel(kind: str) -> str:
    head, *tail = kind.split("_")
    return head + "".join(part.title() for part in tail)
