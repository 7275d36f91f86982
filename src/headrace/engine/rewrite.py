"""One walk over a plan that replaces every read by what a resolver makes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from headrace.engine import messages, models, sql
from headrace.engine.errors import InvalidVersionError, UnsupportedStatementError

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from pyspark.sql.connect.proto import Relation


@dataclass(frozen=True)
class NamedRead:
    """A read of something that has a name.

    Attributes:
        parts: the name as written, without quotes.
        version: Delta version asked for.
        timestamp: moment asked for, as written.
        streaming: a streaming read.
        options: further read options.
    """

    parts: tuple[str, ...]
    version: int | None = None
    timestamp: str | None = None
    streaming: bool = False
    options: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name as written, joined by dots."""
        return ".".join(self.parts)


_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){0,2}")


# Sail 0.7 ends the process (its stack overflows) at plans of 275 nested relations and more.
MAX_DEPTH: Final = 240

# A view is rewritten by a rewriter of its own, and its relations lie below those that read it.
_depth: ContextVar[int] = ContextVar("headrace_plan_depth", default=0)


class Resolver(Protocol):
    """What to do with each read."""

    def table(self, read: NamedRead) -> Relation | None:
        """The relation to read instead of the name; ``None`` leaves it as it is."""

    def source(self, relation: Relation) -> Relation | None:
        """The relation to read instead of a path; ``None`` leaves it as it is."""

    def model(self, uri: str) -> None:
        """A function of the plan applies this model."""

    def function(self, name: str) -> None:
        """The plan calls a function by name."""


class Rewriter:
    """Applies a resolver to plans, in place."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def apply(self, message: Message, hidden: frozenset[str] = frozenset()) -> None:
        """Rewrite every read inside a message.

        Args:
            message: a relation, a command, a request, or anything that holds some.
            hidden: names that stand for something given inside the plan.

        Raises:
            HeadraceError: what the resolver raises, or a relation that hides its tables.
        """
        kind = message.DESCRIPTOR.name
        if kind == "Relation":
            above = _depth.set(_depth.get() + 1)
            try:
                if _depth.get() > MAX_DEPTH:
                    raise _too_deep()
                self._relation(message, hidden)
            finally:
                _depth.reset(above)
            return
        if kind in {"PythonUDF", "PythonUDTF"}:
            for uri in models.uris(message.command):
                self._resolver.model(uri)
        elif kind in {"UnresolvedFunction", "CallFunction"}:
            self._resolver.function(message.function_name)
        elif kind == "ExpressionString":
            self._expression(message.expression)
        for child in messages.children(message):
            self.apply(child, hidden)

    def _relation(self, relation: Relation, hidden: frozenset[str]) -> None:
        kind = relation.WhichOneof("rel_type")
        if kind == "read":
            self._read(relation, hidden)
        elif kind == "sql":
            self._sql(relation, hidden)
        elif kind == "with_relations":
            for reference in relation.with_relations.references:
                self.apply(reference, hidden)
            given = frozenset(
                reference.subquery_alias.alias.lower()
                for reference in relation.with_relations.references
                if reference.HasField("subquery_alias")
            )
            self.apply(relation.with_relations.root, hidden | given)
        elif kind in {"catalog", "extension", "relation_changes", "ml_relation"}:
            raise UnsupportedStatementError(
                f"A {kind} relation inside a plan",
                "the tables behind it cannot be told from the plan",
                "read the tables with spark.table(...)",
            )
        else:
            for child in messages.children(relation):
                self.apply(child, hidden)

    def _read(self, relation: Relation, hidden: frozenset[str]) -> None:
        if relation.read.WhichOneof("read_type") == "data_source":
            other = self._resolver.source(relation)
        else:
            read = named_read(relation)
            if len(read.parts) == 1 and read.parts[0].lower() in hidden:
                return
            other = self._resolver.table(read)
        if other is not None:
            messages.replace(relation, other)

    def _sql(self, relation: Relation, hidden: frozenset[str]) -> None:
        for child in messages.children(relation.sql):
            self.apply(child, hidden)
        statement = sql.read(relation.sql.query)
        self.functions(statement)
        require_query(statement)
        self._bind(relation, statement, hidden)

    def _bind(self, relation: Relation, statement: sql.Statement, hidden: frozenset[str]) -> None:
        references: list[Relation] = []
        relation.sql.query = self.text(statement, hidden, references)
        if not references:
            return
        root = messages.new_relation()
        messages.replace(root, relation)
        messages.replace(relation, messages.with_references(root, references))

    def resolve_given(self, relation: Relation) -> None:
        """Rewrite the relations and arguments that SQL text was given, and not the text."""
        while relation.HasField("with_relations"):
            for reference in relation.with_relations.references:
                self.apply(reference)
            relation = relation.with_relations.root
        for child in messages.children(relation.sql):
            self.apply(child)

    def text(
        self,
        statement: sql.Statement,
        hidden: frozenset[str],
        references: list[Relation],
        fixed: Mapping[sql.TableUse, str] | None = None,
    ) -> str:
        """The text over names that stand for the resolved relations, which are appended.

        Args:
            statement: what has been read.
            hidden: names that stand for relations the text was given.
            references: gets a named relation for each table.
            fixed: what to write for some of the tables instead.
        """
        made: dict[tuple[object, ...], str] = {}

        def name(use: sql.TableUse) -> str | None:
            if fixed and use in fixed:
                return fixed[use]
            if len(use.parts) == 1 and use.parts[0].lower() in hidden:
                return None
            key = (use.parts, use.version, use.timestamp, use.streaming)
            if key not in made:
                read = NamedRead(use.parts, use.version, use.timestamp, use.streaming)
                other = self._resolver.table(read)
                if other is None:
                    return None
                made[key] = f"__headrace_{other.common.plan_id}"
                references.append(messages.aliased(other, made[key]))
            return made[key]

        return statement.replaced(name)

    def functions(self, statement: sql.Statement) -> None:
        """Tell the resolver which functions SQL text calls: those of users and of sessions."""
        from sqlglot import exp

        for call in statement.tree.find_all(exp.Anonymous):
            self._resolver.function(call.name)
        for known in statement.tree.find_all(
            exp.CurrentCatalog, exp.CurrentDatabase, exp.CurrentSchema
        ):
            self._resolver.function(known.sql_name())

    def _expression(self, text: str) -> None:
        """SQL text of one expression: its functions; a subquery in it would hide its tables."""
        statement = sql.read(f"SELECT {text}")
        if statement.tables:
            raise UnsupportedStatementError(
                "A subquery in an expression string",
                f'"{statement.tables[0].name}" is named in text inside a DataFrame call',
                "write the whole query with spark.sql(...), or join the DataFrames",
            )
        self.functions(statement)


def _too_deep() -> UnsupportedStatementError:
    return UnsupportedStatementError(
        f"A plan of more than {MAX_DEPTH} steps on top of each other",
        "the engine's stack does not hold it",
        "withColumns({...}) and select(...) add many columns in one step; "
        "or save a table half-way and go on from there",
    )


def named_read(relation: Relation) -> NamedRead:
    """What a ``Read.NamedTable`` asks for."""
    table = relation.read.named_table
    options = {key.lower(): value for key, value in table.options.items()}
    version = options.pop("versionasof", None)
    timestamp = options.pop("timestampasof", None)
    if _PLAIN.fullmatch(table.unparsed_identifier):
        return NamedRead(
            tuple(table.unparsed_identifier.split(".")),
            None if version is None else version_number(version),
            timestamp,
            relation.read.is_streaming,
            options,
        )
    statement = sql.read(f"SELECT * FROM {table.unparsed_identifier}")
    if len(statement.tables) != 1:
        raise UnsupportedStatementError(
            f"spark.table({table.unparsed_identifier!r})",
            "it is not the name of one table",
            "spark.sql(...) runs queries",
        )
    use = statement.tables[0]
    return NamedRead(
        use.parts,
        use.version if version is None else version_number(version),
        use.timestamp if timestamp is None else timestamp,
        relation.read.is_streaming,
        options,
    )


def version_number(text: str) -> int:
    """The number that the read option ``versionAsOf`` holds.

    Raises:
        InvalidVersionError: it holds none.
    """
    if not text.strip().isdecimal():
        raise InvalidVersionError(text)
    return int(text)


def require_query(statement: sql.Statement) -> None:
    """Refuse text that changes something where only a query can stand."""
    from sqlglot import exp

    if not isinstance(statement.tree, (exp.Query, exp.Values)):
        raise UnsupportedStatementError(
            f"{statement.tree.key.upper()} as a part of a query",
            "a statement that changes something runs once, at spark.sql(...)",
            "call spark.sql(...) for it by itself",
        )


def parts_of(text: str) -> tuple[str, ...]:
    """The parts of a table name in an API call, without quotes."""
    if _PLAIN.fullmatch(text):
        return tuple(text.split("."))
    statement = sql.read(f"SELECT * FROM {text}")
    if len(statement.tables) != 1 or statement.tables[0].end != len(statement.text):
        raise UnsupportedStatementError(
            f'"{text}" as a table name', "it is not the name of one table", "write schema.table"
        )
    return statement.tables[0].parts
