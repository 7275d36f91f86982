"""Statements that change names: schemas, tables without rows, views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from headrace import lakehouse
from headrace.catalog import TableNotFoundError
from headrace.engine import describe, files, messages, rows, sql, target
from headrace.engine.errors import (
    NotATableError,
    SchemaNotEmptyError,
    SchemaNotFoundError,
    TableExistsError,
    UnsupportedStatementError,
)
from headrace.engine.resolve import is_path
from headrace.engine.rewrite import require_query
from headrace.engine.state import GLOBAL_TEMP
from headrace.engine.writes import Write, Writer

if TYPE_CHECKING:
    from pyspark.sql.connect.client import SparkConnectClient
    from pyspark.sql.connect.proto import Relation

    from headrace.engine.record import Draft
    from headrace.engine.state import SessionState


@dataclass(frozen=True)
class NewTable:
    """A ``CREATE TABLE`` that has been read.

    Attributes:
        parts: the name as written.
        rows: the query whose rows it gets.
        declared: its columns (DDL or JSON) where it gets no rows.
        comments: what was written about the columns, by name.
        partition_by: its partition columns.
        location: directory of an external table.
        comment: of the table.
        replace: ``OR REPLACE``.
        must_exist: ``REPLACE TABLE`` without ``CREATE``.
        if_not_exists: leave a table that is there alone.
    """

    parts: tuple[str, ...]
    rows: Relation | None = None
    declared: str | None = None
    comments: Mapping[str, str] = field(default_factory=dict)
    partition_by: tuple[str, ...] = ()
    location: str | None = None
    comment: str | None = None
    replace: bool = False
    must_exist: bool = False
    if_not_exists: bool = False


class Names:
    """Changes names in the catalog and among the temporary views."""

    def __init__(self, state: SessionState, client: SparkConnectClient, writer: Writer) -> None:
        self._state = state
        self._client = client
        self._writer = writer

    def create_table(self, table: NewTable, draft: Draft) -> None:
        """Make a table, with or without rows.

        Raises:
            TableExistsError: it is there, and is not to be replaced.
            TableNotFoundError: it is not there, and was to be replaced.
        """
        state = self._state
        if table.must_exist:
            state.resolve(table.parts)
        found = target.of_parts(state, table.parts, "CREATE TABLE")
        if found.registered and table.if_not_exists:
            return
        if found.registered and not table.replace:
            raise TableExistsError(found.label)
        if table.location is not None and found.name is not None:
            taken_as_is = self._is_there(table, table.location)
            found = target.placed(
                state, found, table.location, may_replace=table.replace or taken_as_is
            )
            if taken_as_is:
                self._adopt(found, table.comment)
                return
        if table.declared is not None:
            self._create_empty(table, found, table.declared, draft)
            return
        self._create_filled(table, found, draft)

    def _create_filled(self, table: NewTable, found: target.Target, draft: Draft) -> None:
        """A table of the rows of a query."""
        if table.rows is None:
            raise UnsupportedStatementError(
                "CREATE TABLE without columns",
                "a Delta table needs at least one",
                "CREATE TABLE name (column TYPE, ...), or CREATE TABLE name AS SELECT ...",
            )
        options = {"overwriteschema": "true"} if table.replace else {}
        if_exists: Literal["error", "ignore", "write"] = "error"
        if table.replace or table.if_not_exists:
            if_exists = "write" if table.replace else "ignore"
        self._writer.run(
            Write(
                found,
                table.rows,
                "overwrite",
                options,
                table.partition_by,
                create=not found.registered,
                if_exists=if_exists,
                comment=table.comment,
            ),
            draft,
        )

    def _create_empty(
        self, table: NewTable, found: target.Target, declared: str, draft: Draft
    ) -> None:
        """A table of declared columns. The server would drop their comments."""
        from pyspark.sql.pandas.types import to_arrow_schema

        columns = describe.relation_schema(self._client, messages.empty(declared))
        schema = to_arrow_schema(columns, timezone="UTC")
        for index, each in enumerate(schema):
            if each.name in table.comments:
                commented = each.with_metadata({"comment": table.comments[each.name]})
                schema = schema.set(index, commented)
        with target.creating(self._state, found) as now:
            if now.registered and not table.replace:
                if table.if_not_exists:
                    return
                raise TableExistsError(found.label)
            version = lakehouse.write(
                found.location,
                schema.empty_table(),
                mode="overwrite",
                partition_by=table.partition_by,
                marker=draft.id,
                replace_schema=True,
            )
            if found.name is not None:
                self._state.catalog.create_table(found.name, found.location, table.comment)
        draft.finish(
            self._state.lineage, reads=(), writes=[found.access(version)], mode="overwrite"
        )

    def _is_there(self, table: NewTable, location: str) -> bool:
        """Whether a statement names what lies at a place: with the columns it declares, if any."""
        if table.rows is not None or table.declared is None:
            return table.rows is None
        place = files.absolute(location, self._state.paths.root)
        if table.replace or files.is_remote(place) or not lakehouse.exists(place):
            return False
        declared = describe.relation_schema(self._client, messages.empty(table.declared))
        held = rows.table_schema(place, self._client)
        return [(each.name.lower(), each.dataType) for each in declared.fields] == [
            (each.name.lower(), each.dataType) for each in held.fields
        ]

    def _adopt(self, found: target.Target, comment: str | None) -> None:
        """Register a Delta table that lies somewhere already."""
        if found.name is None or found.version is None:
            raise TableNotFoundError(found.location)
        self._state.catalog.create_table(found.name, found.location, comment)

    def create_view(self, parts: tuple[str, ...], query: str, *, replace: bool) -> None:
        """Register a view under its query, with every name in it made full.

        Raises:
            TableNotFoundError: it reads a table that is not there.
            ViewCycleError: it would read itself.
            UnsupportedStatementError: it reads a temporary view, which ends with the session.
        """
        state = self._state
        statement = sql.read(query)
        require_query(statement)
        for use in statement.tables:
            if state.temp_view(use.parts) is not None:
                raise UnsupportedStatementError(
                    f"CREATE VIEW over the temporary view {use.name}",
                    "a view lasts longer than the session that the temporary view belongs to",
                    f"CREATE TEMPORARY VIEW {parts[-1]} AS ...",
                )
        name = state.qualified(parts)
        resolved, _ = describe.resolved(state, messages.query(statement.text), view=str(name))
        describe.relation_schema(self._client, resolved)
        state.catalog.create_view(name, statement.replaced(self._full_name), replace=replace)

    def _full_name(self, use: sql.TableUse) -> str | None:
        if is_path(use.parts):
            return None
        name = ".".join(
            sql.quoted(part) for part in str(self._state.qualified(use.parts)).split(".")
        )
        if use.version is not None:
            return f"{name} VERSION AS OF {use.version}"
        if use.timestamp is not None:
            return f"{name} TIMESTAMP AS OF '{use.timestamp}'"
        return name

    def drop(self, parts: tuple[str, ...], kind: str, *, if_exists: bool) -> bool:
        """Drop a table or a view; a temporary view goes first.

        Raises:
            TableNotFoundError: there is none, and ``if_exists`` is false.
            NotATableError: it is of the other kind.
        """
        state = self._state
        if kind == "view" and self.drop_temp_view(parts):
            return True
        entry = state.catalog.find(state.qualified(parts))
        if entry is None:
            if not if_exists:
                state.resolve(parts)
            return False
        if entry.kind != kind:
            raise NotATableError(str(entry.name), entry.kind, f"DROP {kind.upper()}")
        state.catalog.drop(entry.name)
        return True

    def drop_temp_view(self, parts: tuple[str, ...], *, is_global: bool = False) -> bool:
        """Forget a temporary view; false if there is none."""
        key = ".".join(parts).lower()
        return (
            self._state.temp_views.pop(f"{GLOBAL_TEMP}.{key}" if is_global else key, None)
            is not None
        )

    def create_schema(self, text: str) -> None:
        """Make an empty schema. One with tables in it needs no making."""
        name = describe.schema_name(self._state, text)
        (self._state.catalog.warehouse / name.replace(".", "/")).mkdir(parents=True, exist_ok=True)

    def drop_schema(self, text: str, *, cascade: bool, if_exists: bool = False) -> None:
        """Drop a schema.

        Raises:
            SchemaNotFoundError: there is none, and ``if_exists`` is false.
            SchemaNotEmptyError: it holds something, and ``cascade`` is false.
        """
        name = describe.schema_name(self._state, text)
        known = describe.schema_names(self._state, name.partition(".")[0])
        if name.partition(".")[2] not in known:
            if if_exists:
                return
            raise SchemaNotFoundError(name, known)
        held = self._state.catalog.list(name)
        if held and not cascade:
            raise SchemaNotEmptyError(name, [str(entry.name) for entry in held])
        for entry in held:
            self._state.catalog.drop(entry.name)
        directory = self._state.catalog.warehouse / name.replace(".", "/")
        if directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()

    def use(self, text: str) -> None:
        """Make a schema (``gold`` or ``main.gold``) the current one."""
        name = describe.schema_name(self._state, text)
        self._state.current_catalog, self._state.current_schema = name.split(".")
