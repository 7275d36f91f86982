"""Reading SQL text: which tables it names, and where in the text.

The text itself is never printed back from a syntax tree. Names are replaced at their positions
and everything else stays as the user wrote it, so that no function or type is changed on the way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from headrace.engine.errors import SqlSyntaxError, UnsupportedStatementError

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.tokenizer_core import Token

DIALECT: Final = "databricks"

_OPAQUE_FUNCTIONS: Final = {
    "IDENTIFIER": "write the name itself",
    "READ_FILES": "spark.read.format(...).load(path), or parquet.`path` in FROM",
    "TABLE_CHANGES": "SELECT ... VERSION AS OF two versions and compare them",
}
_AT_VERSION: Final = re.compile(r"v(\d+)")


@dataclass(frozen=True)
class TableUse:
    """One place in the text where a table is named.

    Attributes:
        parts: the name as written, without quotes.
        start: offset of its first character, including ``STREAM``.
        end: offset after its last character, including ``VERSION AS OF``.
        alias: whether the text gives it another name.
        version: the number after ``VERSION AS OF``.
        timestamp: the text after ``TIMESTAMP AS OF``.
        streaming: read with ``STREAM``.
    """

    parts: tuple[str, ...]
    start: int
    end: int
    alias: bool
    version: int | None = None
    timestamp: str | None = None
    streaming: bool = False

    @property
    def name(self) -> str:
        """The name as written, joined by dots."""
        return ".".join(self.parts)


@dataclass(frozen=True)
class Statement:
    """One SQL statement that has been read.

    Attributes:
        text: the text that the offsets count in.
        tree: sqlglot's tree.
        tables: where tables are named, in the order of the text; names of common table
            expressions and of table functions are none.
    """

    text: str
    tree: exp.Expr
    tables: tuple[TableUse, ...]

    def replaced(self, name: Callable[[TableUse], str | None]) -> str:
        """The text with other names for the tables; ``None`` keeps one as it is.

        A table without an alias gets its old last part as one, and qualified columns
        (``gold.features.id``) are cut to it, so that the rest of the text stays valid.
        """
        edits: list[tuple[int, int, str]] = []
        renamed: set[tuple[str, ...]] = set()
        for use in self.tables:
            other = name(use)
            if other is None:
                continue
            alias = "" if use.alias else f" AS {quoted(use.parts[-1])}"
            edits.append((use.start, use.end, other + alias))
            if len(use.parts) > 1:
                renamed.add(tuple(part.lower() for part in use.parts))
        edits += _shorter_qualifiers(self.tree, renamed)
        return edited(self.text, edits)


def quoted(part: str) -> str:
    """An identifier in backticks."""
    return "`" + part.replace("`", "``") + "`"


def edited(text: str, edits: Iterable[tuple[int, int, str]]) -> str:
    """The text with spans replaced; spans do not overlap."""
    for start, end, other in sorted(edits, reverse=True):
        text = text[:start] + other + text[end:]
    return text


def tokens_of(text: str) -> list[Token]:
    """The tokens of SQL text.

    Raises:
        SqlSyntaxError: a quote is not closed, or the like.
    """
    import sqlglot

    try:
        return sqlglot.tokenize(text, read=DIALECT)
    except sqlglot.errors.SqlglotError as error:
        raise SqlSyntaxError(text, _reason(error)) from error


@lru_cache(maxsize=512)
def read(text: str) -> Statement:
    """Read one statement of a kind whose tables can be told: a query, or one that changes rows.

    Each text is read once: a query is looked at several times on its way, and refreshes run the
    same ones again. Nobody changes a tree.

    Raises:
        SqlSyntaxError: it is no such statement, or more than one.
        UnsupportedStatementError: a table is named in a way that hides which one it is.
    """
    import sqlglot

    text = _spelled_out(text)
    try:
        trees = [tree for tree in sqlglot.parse(text, read=DIALECT) if tree is not None]
    except sqlglot.errors.SqlglotError as error:
        raise SqlSyntaxError(text, _reason(error)) from error
    except RecursionError as error:
        raise SqlSyntaxError(text, "it is nested too deeply") from error
    if len(trees) != 1:
        raise SqlSyntaxError(text, f"it holds {len(trees)} statements, and spark.sql runs one")
    return Statement(text, trees[0], tuple(_table_uses(text, trees[0])))


def _spelled_out(text: str) -> str:
    """Two spellings that sqlglot does not read: ``TABLE t`` and ``t@v3``."""
    tokens = tokens_of(text)
    edits = []
    if tokens and tokens[0].text.upper() == "TABLE":
        edits.append((tokens[0].start, tokens[0].end + 1, "SELECT * FROM"))
    for at, version in pairwise(tokens):
        found = _AT_VERSION.fullmatch(version.text)
        if at.text == "@" and found and version.start == at.end + 1:
            edits.append((at.start, version.end + 1, f" VERSION AS OF {found[1]}"))
    return edited(text, edits)


def _table_uses(text: str, tree: exp.Expr) -> Iterator[TableUse]:
    from sqlglot import exp

    tokens = tokens_of(text)
    position = {token.start: index for index, token in enumerate(tokens)}
    found = []
    for table in tree.find_all(exp.Table):
        if table.find_ancestor(exp.Hint) is not None:
            continue
        if not isinstance(table.this, (exp.Identifier, exp.Dot)):
            _check_function(table)
            continue
        identifiers = (
            list(table.find_all(exp.Identifier)) if isinstance(table.this, exp.Dot) else table.parts
        )
        names = [part for part in identifiers if "start" in part.meta]
        parts = tuple(part.name for part in table.parts)
        if len(names) < len(parts):
            raise SqlSyntaxError(text, f'the place of "{".".join(parts)}" in it is not known')
        if len(parts) == 1 and _is_cte(table, parts[0]):
            continue
        spans = sorted((part.meta["start"], part.meta["end"]) for part in names)[: len(parts)]
        found.append(_use(text, table, parts, spans, tokens, position))
    yield from sorted(found, key=lambda use: use.start)


def _use(
    text: str,
    table: exp.Table,
    parts: tuple[str, ...],
    spans: list[tuple[int, int]],
    tokens: list[Token],
    position: dict[int, int],
) -> TableUse:
    first, last = position[spans[0][0]], position[spans[-1][0]]
    version = timestamp = None
    moment = table.args.get("version")
    if moment is not None:
        is_literal = moment.expression.key == "literal"
        last, version, timestamp = _moment(text, tokens, last + 1, is_literal)
    streaming = alias = False
    if first >= 1 and tokens[first - 1].text.upper() == "STREAM":
        first, streaming = first - 1, True
    elif (
        first >= 2 and tokens[first - 1].text == "(" and tokens[first - 2].text.upper() == "STREAM"
    ):
        first, last, streaming = first - 2, last + 1, True
        alias = bool(table.parent is not None and table.parent.args.get("alias"))
    plain = not table.args.get("sample") and not table.args.get("pivots")
    return TableUse(
        parts=parts,
        start=tokens[first].start,
        end=tokens[last].end + 1,
        alias=alias or bool(table.args.get("alias")) or not plain,
        version=version,
        timestamp=timestamp,
        streaming=streaming,
    )


def _moment(
    text: str, tokens: list[Token], index: int, is_literal: bool
) -> tuple[int, int | None, str | None]:
    """``[FOR] VERSION AS OF 3``: index of its last token, and the version or the timestamp."""
    if tokens[index].text.upper() == "FOR":
        index += 1
    word, literal = tokens[index].text.upper(), tokens[index + 3]
    if not is_literal:
        raise UnsupportedStatementError(
            f"{word} AS OF with an expression",
            "the version must be known before the query runs",
            f"{word} AS OF a number or a quoted timestamp",
        )
    if word in {"VERSION", "SYSTEM_VERSION"}:
        if not literal.text.isdigit():
            raise SqlSyntaxError(text, f'"{literal.text}" is no version number')
        return index + 3, int(literal.text), None
    return index + 3, None, literal.text


def _is_cte(table: exp.Table, name: str) -> bool:
    """Whether the name is a common table expression at this place.

    One sees those before it, and itself only with ``RECURSIVE``; the query sees them all.
    """
    node: Any = table
    while node.parent is not None:
        inside, node = node, node.parent
        clause = node.args.get("with_")
        if clause is None:
            continue
        for cte in clause.expressions:
            if inside is clause and _holds(cte, table):
                if clause.args.get("recursive") and cte.alias.lower() == name.lower():
                    return True
                break
            if cte.alias.lower() == name.lower():
                return True
    return False


def _holds(outer: Any, inner: Any) -> bool:
    node = inner
    while node is not None:
        if node is outer:
            return True
        node = node.parent
    return False


def _check_function(table: exp.Table) -> None:
    name = str(getattr(table.this, "name", "") or table.this.sql_name()).upper()
    instead = _OPAQUE_FUNCTIONS.get(name)
    if instead is not None:
        raise UnsupportedStatementError(
            f"{name}(...) in FROM", "the tables it reads cannot be told from the text", instead
        )


def _shorter_qualifiers(
    tree: exp.Expr, renamed: set[tuple[str, ...]]
) -> list[tuple[int, int, str]]:
    """Edits that cut ``gold.features.id`` to ``features.id``."""
    from sqlglot import exp

    edits = []
    for column in tree.find_all(exp.Column) if renamed else ():
        qualifier = [column.args.get(key) for key in ("catalog", "db", "table")]
        parts = [part for part in qualifier if part is not None]
        if len(parts) > 1 and tuple(part.name.lower() for part in parts) in renamed:
            edits.append((parts[0].meta["start"], parts[-1].meta["start"], ""))
    return edits


def _reason(error: Exception) -> str:
    """sqlglot's message without terminal colours, on one line."""
    return " ".join(re.sub(r"\x1b\[\d+m", "", str(error)).split())
