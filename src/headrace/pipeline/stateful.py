"""Refuses, in a streaming query, what needs to remember rows of earlier batches.

Each batch runs as a query over its own rows. An aggregation would be one over each
batch, which is never what was meant: such queries are refused by name, as is a join of two
streams.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from pyspark.sql.connect.proto import Relation
    from sqlglot import exp

_STATEFUL: Final = {
    "aggregate": "An aggregation",
    "deduplicate": "Removing duplicates",
    "limit": "LIMIT",
    "offset": "OFFSET",
    "tail": "tail",
    "group_map": "A grouped map",
    "co_group_map": "A grouped map",
    "apply_in_pandas_with_state": "A function with state",
    "as_of_join": "An as-of join",
    "summary": "summary",
    "crosstab": "crosstab",
    "describe": "describe",
    "transpose": "transpose",
    "freq_items": "freqItems",
}

# Join types whose unmatched rows come from one side: that side has to be the stream.
_LEFT: Final = {"JOIN_TYPE_LEFT_OUTER", "JOIN_TYPE_LEFT_SEMI", "JOIN_TYPE_LEFT_ANTI"}
_RIGHT: Final = {"JOIN_TYPE_RIGHT_OUTER"}


def stateful(relation: Relation, views: Mapping[str, bool]) -> str | None:
    """What in a plan needs earlier batches, in words; ``None`` if nothing does.

    Args:
        relation: the plan of a flow.
        views: for each temporary view, whether it reads a stream.
    """
    for found in _relations(relation):
        reason = _reason(found, views)
        if reason is not None:
            return reason
    return None


def _reason(relation: Any, views: Mapping[str, bool]) -> str | None:
    kind = relation.WhichOneof("rel_type")
    if kind == "sql":
        return _sql(relation.sql.query)
    if not _streams(relation, views):
        return None
    if kind == "sort" and relation.sort.is_global:
        return "Sorting"
    if kind == "join":
        return _join(relation.join, views)
    if kind == "set_op":
        return _set_operation(relation.set_op)
    if kind in ("project", "with_columns", "filter"):
        return _expressions(relation)
    return _STATEFUL.get(kind)


def _streams(relation: Any, views: Mapping[str, bool]) -> bool:
    """Whether rows of a stream flow into a relation."""
    for found in _relations(relation):
        kind = found.WhichOneof("rel_type")
        if kind == "read" and found.read.is_streaming:
            return True
        if kind == "read" and found.read.HasField("named_table"):
            name = found.read.named_table.unparsed_identifier.replace("`", "").lower()
            if views.get(name, False):
                return True
        if kind == "sql" and _sql_streams(found.sql.query):
            return True
    return False


def _join(join: Any, views: Mapping[str, bool]) -> str | None:
    left, right = _streams(join.left, views), _streams(join.right, views)
    if left and right:
        return "A join of two streams"
    kind = join.JoinType.Name(join.join_type)
    outer = "An outer join whose outer side is not the stream"
    if kind == "JOIN_TYPE_FULL_OUTER" or (kind in _LEFT and right) or (kind in _RIGHT and left):
        return outer
    return None


def _set_operation(operation: Any) -> str | None:
    kind = operation.SetOpType.Name(operation.set_op_type)
    if kind == "SET_OP_TYPE_UNION" and operation.is_all:
        return None
    return "UNION, EXCEPT or INTERSECT without duplicates"


def _expressions(relation: Any) -> str | None:
    """Window and aggregate functions in the expressions of one relation."""
    pending: list[Any] = [getattr(relation, relation.WhichOneof("rel_type"))]
    while pending:
        for child in _children(pending.pop()):
            name = child.DESCRIPTOR.name
            if name == "Relation":
                continue
            if name == "Window":
                return "A window function"
            if name == "UnresolvedFunction" and child.function_name.lower() in _aggregates():
                return f"{child.function_name}, an aggregation,"
            if name == "ExpressionString":
                reason = _sql(f"SELECT {child.expression} FROM STREAM t")
                if reason is not None:
                    return reason
            pending.append(child)
    return None


def _sql(text: str) -> str | None:
    import sqlglot
    from sqlglot import exp

    tree = sqlglot.parse_one(text, dialect="databricks")
    for node in tree.find_all(exp.SetOperation):
        if _has_stream(node) and not (isinstance(node, exp.Union) and not node.args["distinct"]):
            return "UNION, EXCEPT or INTERSECT without duplicates"
    for select in tree.find_all(exp.Select):
        if _has_stream(select):
            reason = _select(select)
            if reason is not None:
                return reason
    return None


def _select(select: exp.Select) -> str | None:
    from sqlglot import exp

    for clause, words in (
        ("group", "An aggregation"),
        ("distinct", "DISTINCT"),
        ("order", "Sorting"),
        ("limit", "LIMIT"),
        ("offset", "OFFSET"),
        ("having", "An aggregation"),
        ("qualify", "A window function"),
    ):
        if select.args.get(clause):
            return words
    joins = [join.this for join in select.args.get("joins") or ()]
    origin = select.args.get("from_")
    parts = [*joins, *([origin.this] if origin is not None else [])]
    if sum(_has_stream(part) for part in parts) > 1:
        return "A join of two streams"
    if any(_keeps_unmatched(join) for join in select.args.get("joins") or ()):
        return "An outer join whose outer side is not the stream"
    for expression in select.expressions:
        for node in expression.walk(prune=lambda node: isinstance(node, exp.Query)):
            if isinstance(node, exp.Window):
                return "A window function"
            if isinstance(node, exp.AggFunc):
                return f"{node.sql_name().lower()}, an aggregation,"
    return None


def _keeps_unmatched(join: exp.Join) -> bool:
    """Whether rows of the side that is no stream come out although nothing matched them."""
    side = join.side.upper()
    joins_stream = _has_stream(join.this)
    if side == "LEFT" or join.kind.upper() in ("SEMI", "ANTI"):
        return joins_stream
    return side == "FULL" or (side == "RIGHT" and not joins_stream)


def _has_stream(node: exp.Expr) -> bool:
    from sqlglot import exp

    return node.find(exp.Stream) is not None


def _sql_streams(text: str) -> bool:
    import sqlglot

    return _has_stream(sqlglot.parse_one(text, dialect="databricks"))


@cache
def _aggregates() -> frozenset[str]:
    """Names of aggregate functions."""
    from sqlglot import exp

    pending: list[type[exp.Expr]] = [exp.AggFunc]
    names: set[str] = set()
    while pending:
        current = pending.pop()
        pending.extend(current.__subclasses__())
        if issubclass(current, exp.Func):
            names.update(name.lower() for name in current.sql_names())
    return frozenset(names | {"collect_list", "collect_set", "mean", "count_distinct"})


def _relations(message: Message) -> Iterator[Any]:
    """The relations inside a message, itself included."""
    pending: list[Any] = [message]
    while pending:
        found = pending.pop()
        if found.DESCRIPTOR.name == "Relation":
            yield found
        pending.extend(_children(found))


def _children(message: Message) -> Iterator[Any]:
    from headrace.engine import messages

    return messages.children(message)
