"""SQL files: statements, with their lines, that declare datasets and flows.

The text of a query is kept as the user wrote it; ``sqlglot`` finds the statements and reads
their heads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.errors import did_you_mean
from headrace.pipeline.elements import Flow, Kind, Location, Output
from headrace.pipeline.errors import DefinitionError, UnsupportedDefinitionError
from headrace.pipeline.properties import check_properties

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from sqlglot import Token
    from sqlglot import expressions as exp

_REFERENCE = re.compile(r"\$\{([^}]+)\}")
_HOW = "CREATE MATERIALIZED VIEW, CREATE STREAMING TABLE, CREATE TEMPORARY VIEW and CREATE FLOW"


@dataclass
class SqlFile:
    """What one SQL file declares."""

    outputs: list[Output] = field(default_factory=list)
    flows: list[Flow] = field(default_factory=list)


@dataclass(frozen=True)
class _Statement:
    text: str
    tokens: tuple[Token, ...]
    location: Location

    def words(self, count: int) -> list[str]:
        """The first words, upper case."""
        return [_word(token) for token in self.tokens[:count]]

    def after(self, token: Token) -> str:
        """The text behind a token."""
        return self.text[token.end + 1 - self.tokens[0].start :].strip()


def read_sql(
    text: str,
    file: str,
    configuration: Mapping[str, str],
    run: Callable[[str], DataFrame],
) -> SqlFile:
    """Read the statements of a file.

    Args:
        text: the file's contents; ``${key}`` stands for the pipeline's configuration.
        file: its path, for messages.
        configuration: values of ``${key}``; ``SET key = value`` in the file adds to them.
        run: makes a DataFrame of a query.

    Raises:
        DefinitionError: a statement that cannot be read.
        UnsupportedDefinitionError: a statement that declares nothing, or something that is not
            supported; the message names it.
    """
    found = SqlFile()
    conf: dict[str, str] = {}
    for statement in _statements(text, file, configuration, conf):
        words = statement.words(2)
        if words[0] == "SET":
            key, value = _setting(statement)
            conf[key] = value
        elif words == ["CREATE", "FLOW"]:
            found.flows.append(_flow(statement, dict(conf), run))
        else:
            output, flow = _dataset(statement, dict(conf), run)
            found.outputs.append(output)
            if flow is not None:
                found.flows.append(flow)
    return found


def _statements(
    text: str, file: str, configuration: Mapping[str, str], conf: Mapping[str, str]
) -> Iterator[_Statement]:
    from sqlglot import TokenType
    from sqlglot.errors import TokenError

    try:
        tokens = _tokens(text)
    except TokenError as error:
        raise DefinitionError(
            f"{file} is not SQL.", Location(file), _first_line(str(error))
        ) from error
    current: list[Token] = []
    for token in [*tokens, None]:
        if token is not None and token.token_type is not TokenType.SEMICOLON:
            current.append(token)
            continue
        if current:
            location = Location(file, text.count("\n", 0, current[0].start) + 1)
            raw = text[current[0].start : current[-1].end + 1]
            filled = _fill(raw, {**configuration, **conf}, location)
            yield _Statement(filled, tuple(_tokens(filled)), location)
        current = []


def _word(token: Token) -> str:
    """The token in upper case; empty for a quoted one, which is no keyword."""
    from sqlglot import TokenType

    quoted = token.token_type in (TokenType.STRING, TokenType.IDENTIFIER)
    return "" if quoted else token.text.upper()


def _tokens(text: str) -> list[Token]:
    import sqlglot

    return list(sqlglot.tokenize(text, dialect="databricks"))


def _fill(text: str, values: Mapping[str, str], location: Location) -> str:
    def value(match: re.Match[str]) -> str:
        key = match[1].strip()
        if key not in values:
            raise DefinitionError(
                f"The configuration has no {key}.",
                location,
                did_you_mean(key, values) or f"${{{key}}} stands in the SQL text",
                "add it under configuration in spark-pipeline.yml or headrace.yaml",
            )
        return values[key]

    return _REFERENCE.sub(value, text)


def _setting(statement: _Statement) -> tuple[str, str]:
    body = statement.after(statement.tokens[0])
    key, equals, value = body.partition("=")
    if not equals:
        raise DefinitionError("A SET statement cannot be read.", statement.location, "no = in it")
    return key.strip().strip("`"), value.strip().strip("'\"")


def _flow(statement: _Statement, conf: dict[str, str], run: Callable[[str], DataFrame]) -> Flow:
    """``CREATE FLOW name [COMMENT text] AS INSERT INTO target BY NAME query``."""
    tokens = statement.tokens
    upper = [_word(token) for token in tokens]
    body = upper.index("AS") if "AS" in upper else len(upper)
    name, _ = _name(tokens, 2)
    if upper[body + 1 : body + 3] == ["AUTO", "CDC"]:
        raise UnsupportedDefinitionError(
            "AUTO CDC", statement.location, "merge in a materialized view: latest row of each key"
        )
    if upper[body + 1 : body + 3] != ["INSERT", "INTO"] or "ONCE" in upper[: body + 4]:
        raise DefinitionError(
            f"The flow {name} cannot be read.",
            statement.location,
            "its form is: CREATE FLOW name AS INSERT INTO table BY NAME SELECT ...",
        )
    target, end = _name(tokens, body + 3)
    if upper[end : end + 2] != ["BY", "NAME"]:
        raise DefinitionError(
            f"The flow {name} cannot be read.",
            statement.location,
            f"BY NAME must follow INSERT INTO {target}: columns are matched by name",
        )
    query = statement.after(tokens[end + 1])
    return _sql_flow(name, target, query, statement.location, conf, run)


def _name(tokens: tuple[Token, ...], start: int) -> tuple[str, int]:
    """A dotted name that starts at a token, and the index behind it."""
    from sqlglot import TokenType

    parts = []
    position = start
    while position < len(tokens):
        token = tokens[position]
        quoted = token.token_type is TokenType.IDENTIFIER
        parts.append(f"`{token.text}`" if quoted else token.text)
        position += 1
        if position >= len(tokens) or tokens[position].text != ".":
            break
        position += 1
    return ".".join(parts), position


def _sql_flow(
    name: str,
    target: str,
    query: str,
    location: Location,
    conf: dict[str, str],
    run: Callable[[str], DataFrame],
) -> Flow:
    normal = _parse(query, location).sql(dialect="databricks", comments=False)
    return Flow(name, target, location, lambda: run(query), conf, normal)


def _parse(text: str, location: Location) -> exp.Expr:
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        return sqlglot.parse_one(text, dialect="databricks")
    except SqlglotError as error:
        raise DefinitionError(
            "An SQL statement cannot be read.", location, _first_line(str(error))
        ) from error


def _first_line(text: str) -> str:
    # sqlglot underlines the place with terminal codes, over several lines.
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return plain.strip().splitlines()[0].rstrip(". ")


_KINDS: Mapping[tuple[str, ...], Kind] = {
    ("MATERIALIZED", "VIEW"): "materialized_view",
    ("STREAMING", "TABLE"): "streaming_table",
    ("TEMPORARY", "VIEW"): "temporary_view",
    ("TEMP", "VIEW"): "temporary_view",
}


def _dataset(
    statement: _Statement, conf: dict[str, str], run: Callable[[str], DataFrame]
) -> tuple[Output, Flow | None]:
    kind, at = _kind(statement)
    tokens = statement.tokens
    name, after_name = _name(tokens, at)
    query = _query(statement, after_name)
    head = statement.text if query is None else statement.text[: -len(query)].rstrip()
    if query is None and kind != "streaming_table":
        raise DefinitionError(
            f"{name} has no query.", statement.location, "AS SELECT ... is missing"
        )
    created = _parse(f"{head} SELECT 1" if query is not None else head, statement.location)
    output = _output(created, name, kind, statement.location)
    if query is None:
        return output, None
    return output, _sql_flow(name, name, query, statement.location, conf, run)


def _kind(statement: _Statement) -> tuple[Kind, int]:
    """The kind of dataset that a statement creates, and the index of the name's token."""
    words = statement.words(9)
    at = 1
    if words[at : at + 1] == ["OR"]:
        at += 2  # OR REFRESH, OR REPLACE
    kind = _KINDS.get(tuple(words[at : at + 2]))
    if words[0] != "CREATE" or kind is None:
        raise UnsupportedDefinitionError(
            " ".join(words[: 2 if at == 1 else 4]),
            statement.location,
            f"a definitions file may hold {_HOW}; other statements run through headrace.spark()",
        )
    at += 2
    if words[at : at + 3] == ["IF", "NOT", "EXISTS"]:
        at += 3
    return kind, at


def _query(statement: _Statement, start: int) -> str | None:
    """The text behind the first ``AS`` outside parentheses."""
    depth = 0
    for token in statement.tokens[start:]:
        depth += {"(": 1, ")": -1}.get(_word(token), 0)
        if depth == 0 and _word(token) == "AS":
            return statement.after(token)
    return None


def _output(created: exp.Expr, name: str, kind: Kind, location: Location) -> Output:
    from sqlglot import expressions as exp

    if not isinstance(created, exp.Create):
        raise DefinitionError(f"{name} cannot be read.", location, "the head is not understood")
    comment: str | None = None
    partition_by: tuple[str, ...] = ()
    properties: dict[str, str] = {}
    for item in created.args["properties"].expressions if created.args.get("properties") else ():
        if isinstance(item, exp.SchemaCommentProperty):
            comment = _text(item.this)
        elif isinstance(item, exp.PartitionedByProperty):
            partition_by = tuple(column.name for column in item.this.expressions)
        elif isinstance(item, exp.FileFormatProperty):
            check_format(item.this.name, location)
        elif type(item) is exp.Property:
            properties[item.name] = _text(item.args["value"])
        elif not isinstance(
            item, exp.MaterializedProperty | exp.StreamingTableProperty | exp.TemporaryProperty
        ):
            clause = item.sql(dialect="databricks") or type(item).__name__
            raise UnsupportedDefinitionError(clause, location, "leave the clause out")
    check_properties(properties, location)
    return Output(
        name, kind, location, comment, _columns(created, location), partition_by, properties
    )


def _text(node: exp.Expr) -> str:
    """The value of a string; strings side by side are one."""
    from sqlglot import expressions as exp

    return "".join(literal.name for literal in node.find_all(exp.Literal)) or node.name


def _columns(created: exp.Create, location: Location) -> str | None:
    """Declared columns as DDL text."""
    from sqlglot import expressions as exp

    if not isinstance(created.this, exp.Schema):
        return None
    columns = created.this.expressions
    for column in columns:
        if not isinstance(column, exp.ColumnDef) or column.args.get("kind") is None:
            raise UnsupportedDefinitionError(
                column.sql(dialect="databricks"),
                location,
                "name each column with its type; expectations belong into headrace.yaml",
            )
    return ", ".join(
        f"{column.this.sql(dialect='databricks')} {column.args['kind'].sql(dialect='databricks')}"
        for column in columns
    )


def check_format(name: str | None, location: Location) -> None:
    """Refuse a table format other than Delta."""
    if name is not None and name.lower() != "delta":
        raise UnsupportedDefinitionError(
            f"Table format {name}", location, "leave the format out: tables are Delta tables"
        )
