"""SQL text that is more than a query: read, and handed to what does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from headrace import lakehouse
from headrace.engine import describe, dml, messages, refused, sql, target, views
from headrace.engine.ddl import NewTable
from headrace.engine.errors import AnalysisOnlyError, SqlSyntaxError, UnsupportedStatementError
from headrace.engine.record import Draft
from headrace.engine.scan import QUERY_WORDS, Scanner, words_of
from headrace.engine.writes import Write

if TYPE_CHECKING:
    from pyspark.sql.connect.client import SparkConnectClient
    from pyspark.sql.connect.proto import Relation

    from headrace.engine.ddl import Names
    from headrace.engine.state import SessionState
    from headrace.engine.writes import Writer

_COLUMN_CLAUSES: Final = {
    "CHECK": "a check",
    "CONSTRAINT": "a constraint",
    "DEFAULT": "a default",
    "FOREIGN": "a foreign key",
    "GENERATED": "a generated column",
    "PRIMARY": "a primary key",
    "UNIQUE": "a unique constraint",
}


class Statements:
    """Runs the statements of one session that are not queries."""

    def __init__(
        self, state: SessionState, client: SparkConnectClient, writer: Writer, names: Names
    ) -> None:
        self._state = state
        self._client = client
        self._writer = writer
        self._names = names

    def run(self, relation: Relation) -> Relation | None:
        """Run a statement.

        Args:
            relation: the SQL relation that ``spark.sql`` made, with its arguments.

        Returns:
            The relation of its result; ``None`` if the text is a query, which is not run here.

        Raises:
            UnsupportedStatementError: it is refused.
            SqlSyntaxError: it cannot be read.
        """
        text = messages.sql_text(relation)
        scanner = Scanner(text)
        if scanner.at_end:
            raise SqlSyntaxError(text, "it is empty")
        action = self._actions().get(scanner.word)
        if action is not None:
            return action(scanner, relation)
        words = (scanner.word, scanner.peek(1))
        refusal = refused.statement(words)
        if refusal is not None:
            raise refusal
        if scanner.word not in {*QUERY_WORDS, "("}:
            raise UnsupportedStatementError(
                scanner.word,
                "the tables it touches could not be recorded",
                "see docs/engine.md for what a session can do",
            )
        if scanner.word == "WITH" and sql.read(text).tree.key == "insert":
            return self._insert(scanner, relation)
        return None

    def _actions(self) -> dict[str, Callable[[Scanner, Relation], Relation]]:
        return {
            "CREATE": self._create,
            "DELETE": self._change,
            "DESC": self._describe,
            "DESCRIBE": self._describe,
            "DROP": self._drop,
            "EXPLAIN": self._explain,
            "INSERT": self._insert,
            "MERGE": self._change,
            "OPTIMIZE": self._optimize,
            "REFRESH": self._refresh,
            "REPLACE": self._create,
            "SHOW": self._show,
            "TRUNCATE": self._truncate,
            "UPDATE": self._change,
            "USE": self._use,
            "VACUUM": self._vacuum,
        }

    def _draft(self) -> Draft:
        return Draft.begin(self._state.id)

    def _change(self, scanner: Scanner, relation: Relation) -> Relation:
        if scanner.accept("MERGE") and scanner.accept("WITH"):
            raise UnsupportedStatementError(
                "MERGE WITH SCHEMA EVOLUTION",
                "the columns of a table change with a write alone",
                "append an empty frame with mergeSchema first, then MERGE",
            )
        return dml.run(self._state, self._client, relation, self._draft())

    def _insert(self, scanner: Scanner, relation: Relation) -> Relation:
        common = "" if scanner.word == "INSERT" else scanner.until(frozenset({"INSERT"})) + " "
        scanner.expect("INSERT")
        overwrite = scanner.accept("OVERWRITE")
        if not overwrite:
            scanner.expect("INTO")
        elif scanner.word in {"DIRECTORY", "LOCAL"}:
            raise UnsupportedStatementError(
                "INSERT OVERWRITE DIRECTORY",
                "it writes files and no table",
                'df.write.mode("overwrite").parquet(path)',
            )
        scanner.accept("TABLE")
        found = target.existing(self._state, scanner.name(), "INSERT")
        if scanner.word == "PARTITION":
            raise UnsupportedStatementError(
                "INSERT ... PARTITION",
                "partitions come from the rows",
                "SELECT the partition columns too; for OVERWRITE of some partitions, "
                'df.writeTo("t").overwritePartitions()',
            )
        write = Write(found, relation, "overwrite" if overwrite else "append", by_position=True)
        if scanner.accept("REPLACE", "WHERE"):
            write = replace(write, mode="overwrite")
            write.options["replacewhere"] = scanner.until(QUERY_WORDS)
        elif scanner.accept("BY", "NAME"):
            write = replace(write, by_position=False)
        elif scanner.word == "(" and scanner.peek(1) not in {*QUERY_WORDS, "("}:
            write = replace(write, columns=tuple(words_of(scanner.group())))
        write.rows = messages.same_arguments(relation, common + scanner.rest())
        self._writer.run(write, self._draft())
        return describe.nothing()

    def _create(self, scanner: Scanner, relation: Relation) -> Relation:
        refusal = refused.statement((scanner.word, scanner.peek(1)))
        if refusal is not None:
            raise refusal
        must_exist = scanner.accept("REPLACE")
        may_replace = must_exist or (scanner.accept("CREATE") and scanner.accept("OR", "REPLACE"))
        scanner.accept("EXTERNAL")
        if scanner.accept("SCHEMA") or scanner.accept("DATABASE"):
            scanner.accept("IF", "NOT", "EXISTS")
            name = ".".join(scanner.name())
            scanner.finish()
            self._names.create_schema(name)
        elif scanner.accept("TABLE"):
            table = self._new_table(scanner, relation)
            self._names.create_table(
                replace(table, replace=may_replace, must_exist=must_exist), self._draft()
            )
        else:
            self._create_view(scanner, relation, may_replace)
        return describe.nothing()

    def _new_table(self, scanner: Scanner, relation: Relation) -> NewTable:
        if_not_exists = scanner.accept("IF", "NOT", "EXISTS")
        table = NewTable(scanner.name(), if_not_exists=if_not_exists)
        if scanner.word == "(":
            declared, comments = _declared(scanner)
            table = replace(table, declared=declared, comments=comments)
        while not scanner.at_end:
            if scanner.accept("USING"):
                _require_delta(scanner.name()[0])
            elif scanner.accept("PARTITIONED BY"):
                table = replace(table, partition_by=tuple(words_of(scanner.group())))
            elif scanner.accept("COMMENT"):
                table = replace(table, comment=scanner.string())
            elif scanner.accept("LOCATION"):
                table = replace(table, location=scanner.string())
            elif scanner.accept("AS") or scanner.word in {"SELECT", "WITH"}:
                if table.declared is not None:
                    raise scanner.error("a table has columns or a query, not both,")
                rows = messages.same_arguments(relation, scanner.rest())
                table = replace(table, rows=rows)
            else:
                raise UnsupportedStatementError(
                    f"CREATE TABLE ... {scanner.word}",
                    "a table is made of columns or a query, PARTITIONED BY, COMMENT and LOCATION",
                    "CREATE TABLE name AS SELECT * FROM other",
                )
        return table

    def _create_view(self, scanner: Scanner, relation: Relation, may_replace: bool) -> None:
        is_global = scanner.accept("GLOBAL")
        temporary = scanner.accept("TEMPORARY") or scanner.accept("TEMP") or is_global
        if not scanner.accept("VIEW"):
            raise UnsupportedStatementError(
                f"CREATE {scanner.word}",
                "the catalog keeps schemas, tables and views",
                "CREATE TABLE, CREATE VIEW or CREATE SCHEMA",
            )
        if_not_exists = scanner.accept("IF", "NOT", "EXISTS")
        parts = scanner.name()
        columns = _view_columns(scanner.group()) if scanner.word == "(" else []
        if scanner.accept("COMMENT"):
            scanner.string()
        scanner.expect("AS")
        query = scanner.rest()
        if columns:
            listed = ", ".join(sql.quoted(name) for name in columns)
            query = f"SELECT * FROM ({query}) AS v({listed})"
        if temporary:
            views.define(
                self._state,
                ".".join(parts),
                messages.same_arguments(relation, query),
                is_global=is_global,
                replace=may_replace,
            )
        elif not (if_not_exists and self._state.catalog.find(self._state.qualified(parts))):
            self._names.create_view(parts, query, replace=may_replace)

    def _drop(self, scanner: Scanner, _relation: Relation) -> Relation:
        refusal = refused.statement((scanner.word, scanner.peek(1)))
        if refusal is not None:
            raise refusal
        scanner.expect("DROP")
        if scanner.accept("SCHEMA") or scanner.accept("DATABASE"):
            if_exists = scanner.accept("IF", "EXISTS")
            name = ".".join(scanner.name())
            cascade = scanner.accept("CASCADE")
            scanner.accept("RESTRICT")
            scanner.finish()
            self._names.drop_schema(name, cascade=cascade, if_exists=if_exists)
            return describe.nothing()
        scanner.accept("TEMPORARY")
        kind = "view" if scanner.accept("VIEW") else "table"
        if kind == "table":
            scanner.expect("TABLE")
        if_exists = scanner.accept("IF", "EXISTS")
        parts = scanner.name()
        scanner.accept("PURGE")
        scanner.finish()
        self._names.drop(parts, kind, if_exists=if_exists)
        return describe.nothing()

    def _describe(self, scanner: Scanner, relation: Relation) -> Relation:
        scanner.accept("DESC") or scanner.accept("DESCRIBE")
        if scanner.accept("HISTORY"):
            answer = describe.history(self._state, scanner.name())
        elif scanner.accept("DETAIL"):
            answer = describe.detail(self._state, scanner.name())
        elif scanner.word in {"SCHEMA", "DATABASE", "FUNCTION", "CATALOG"}:
            raise UnsupportedStatementError(
                f"DESCRIBE {scanner.word}", "the catalog keeps tables and views", "SHOW TABLES"
            )
        elif scanner.accept("QUERY") or scanner.word in QUERY_WORDS - {"TABLE"}:
            query = messages.same_arguments(relation, scanner.rest())
            resolved, _ = describe.resolved(self._state, query)
            answer = describe.column_rows(describe.relation_schema(self._client, resolved))
        else:
            scanner.accept("TABLE")
            scanner.accept("EXTENDED") or scanner.accept("FORMATTED")
            answer = describe.columns(self._state, self._client, scanner.name())
        scanner.finish()
        return answer

    def _show(self, scanner: Scanner, _relation: Relation) -> Relation:
        scanner.expect("SHOW")
        if scanner.accept("TABLES"):
            answer = describe.tables(self._state, *_within(scanner))
        elif scanner.accept("VIEWS"):
            answer = describe.views(self._state, *_within(scanner))
        elif scanner.accept("SCHEMAS") or scanner.accept("DATABASES"):
            answer = describe.schemas(self._state, _within(scanner)[1])
        elif scanner.accept("COLUMNS"):
            if not scanner.accept("IN"):
                scanner.expect("FROM")
            schema = describe.schema_of(self._state, self._client, scanner.name())
            answer = describe.rows(("col_name",), [(name,) for name in schema.names])
        elif scanner.accept("CREATE", "TABLE"):
            text = describe.create_statement(self._state, self._client, scanner.name())
            answer = describe.rows(("createtab_stmt",), [(text,)])
        else:
            raise UnsupportedStatementError(
                f"SHOW {scanner.word}",
                "the catalog keeps tables, views and schemas",
                "SHOW TABLES, VIEWS, SCHEMAS, COLUMNS IN t, or CREATE TABLE t",
            )
        scanner.finish()
        return answer

    def _use(self, scanner: Scanner, _relation: Relation) -> Relation:
        scanner.expect("USE")
        if scanner.accept("CATALOG"):
            self._state.current_catalog = self._state.qualified(
                (scanner.name()[0], "x", "x")
            ).catalog
        else:
            scanner.accept("SCHEMA") or scanner.accept("DATABASE")
            self._names.use(".".join(scanner.name()))
        scanner.finish()
        return describe.nothing()

    def _refresh(self, scanner: Scanner, _relation: Relation) -> Relation:
        """Every read sees the newest commit: there is nothing to refresh."""
        scanner.expect("REFRESH")
        scanner.accept("TABLE")
        parts = scanner.name()
        scanner.finish()
        if self._state.temp_view(parts) is None:
            self._state.resolve(parts)
        return describe.nothing()

    def _explain(self, scanner: Scanner, relation: Relation) -> Relation:
        start = scanner.text
        scanner.expect("EXPLAIN")
        for word in ("EXTENDED", "FORMATTED", "CODEGEN", "COST"):
            scanner.accept(word)
        query = scanner.rest()
        head = start[: len(start) - len(start[start.index(query) :])]
        resolved, _ = describe.resolved(self._state, messages.same_arguments(relation, query))
        root = messages.sql_root(resolved)
        root.sql.query = head + root.sql.query
        return dml.send(self._client, resolved)

    def _truncate(self, scanner: Scanner, _relation: Relation) -> Relation:
        scanner.expect("TRUNCATE", "TABLE")
        parts = scanner.name()
        scanner.finish()
        name = ".".join(sql.quoted(part) for part in parts)
        made = messages.query(f"DELETE FROM {name} WHERE true")
        dml.run(self._state, self._client, made, self._draft())
        return describe.nothing()

    def _optimize(self, scanner: Scanner, _relation: Relation) -> Relation:
        scanner.expect("OPTIMIZE")
        found = target.existing(self._state, scanner.name(), "OPTIMIZE")
        if not scanner.at_end:
            raise UnsupportedStatementError(
                f"OPTIMIZE ... {scanner.word}",
                "small files are joined in the whole table",
                "OPTIMIZE t",
            )
        lakehouse.compact(found.location)
        return describe.nothing()

    def _vacuum(self, scanner: Scanner, _relation: Relation) -> Relation:
        scanner.expect("VACUUM")
        found = target.existing(self._state, scanner.name(), "VACUUM")
        retention = lakehouse.RETENTION_FLOOR
        if scanner.accept("RETAIN"):
            retention = timedelta(hours=scanner.number())
            scanner.expect("HOURS")
        dry_run = scanner.accept("DRY", "RUN")
        scanner.finish()
        removed = lakehouse.vacuum(found.location, retention, dry_run)
        return describe.rows(("path",), [(path,) for path in removed])


def check_harmless(text: str) -> None:
    """Make sure that a statement changes no table: it is run while definitions are read.

    Raises:
        AnalysisOnlyError: it changes one.
    """
    scanner = Scanner(text)
    first = scanner.word
    harmless = first in {*QUERY_WORDS, "(", "DESC", "DESCRIBE", "EXPLAIN", "SHOW", "USE"}
    if first == "CREATE":
        head = {scanner.peek(ahead) for ahead in range(1, 6)}
        harmless = bool(head & {"TEMP", "TEMPORARY"})
    if not harmless:
        raise AnalysisOnlyError(first)


def _within(scanner: Scanner) -> tuple[str | None, str | None]:
    """``[IN schema] [LIKE 'pattern']``."""
    schema = pattern = None
    if scanner.accept("IN") or scanner.accept("FROM"):
        schema = ".".join(scanner.name())
    scanner.accept("LIKE")
    if not scanner.at_end:
        pattern = scanner.string()
    return schema, pattern


def _declared(scanner: Scanner) -> tuple[str, dict[str, str]]:
    """The column list of a table as DDL, and the comments in it."""
    inner = Scanner(scanner.group())
    columns: list[str] = []
    comments: dict[str, str] = {}
    while not inner.at_end:
        if inner.word in _COLUMN_CLAUSES:
            raise _column_clause(inner.word)
        name = inner.name()[0]
        text = inner.until(frozenset({",", "COMMENT", *_COLUMN_CLAUSES}), or_end=True)
        if inner.accept("COMMENT"):
            comments[name] = inner.string()
        if inner.word in _COLUMN_CLAUSES:
            raise _column_clause(inner.word)
        columns.append(f"{sql.quoted(name)} {text}")
        if not inner.at_end:
            inner.expect(",")
    return ", ".join(columns), comments


def _column_clause(word: str) -> UnsupportedStatementError:
    what = _COLUMN_CLAUSES[word]
    return UnsupportedStatementError(
        f"{what[2:].capitalize()} in CREATE TABLE",
        f"{what} could not be enforced on every write",
        "expectations in headrace.yaml check rows; NOT NULL is kept",
    )


def _view_columns(text: str) -> list[str]:
    """Names in ``(a, b COMMENT 'text')``."""
    inner = Scanner(text)
    found = []
    while not inner.at_end:
        found.append(inner.name()[0])
        if inner.accept("COMMENT"):
            inner.string()
        inner.accept(",")
    return found


def _require_delta(form: str) -> None:
    if form.lower() != "delta":
        raise UnsupportedStatementError(
            f"CREATE TABLE ... USING {form}",
            "tables are Delta tables; other formats have no versions to record",
            f"USING delta; SELECT ... FROM {form.lower()}.`path` reads plain files",
        )
