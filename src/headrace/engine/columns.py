"""Which columns of each read a plan uses.

A walk from the root to the reads carries the names that are still needed. A name stands for
every column of that name below it, so the answer can hold a column too many and never one too
few; what cannot be told, such as what a Python function over rows looks at, counts as all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from headrace.engine import messages, sql

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from pyspark.sql.connect.proto import Relation

Names = frozenset[str] | None  # lower case; None: all

# Relations whose columns are those of their input, by the fields that name further columns.
_PASSING: Final[dict[str, tuple[str, ...]]] = {
    "collect_metrics": ("metrics",),
    "filter": ("condition",),
    "hint": ("parameters",),
    "html_string": (),
    "limit": (),
    "offset": (),
    "repartition": (),
    "repartition_by_expression": ("partition_exprs",),
    "sample": (),
    "show_string": (),
    "sort": ("order",),
    "subquery_alias": (),
    "tail": (),
    "with_columns": ("aliases",),
    "with_watermark": (),
}
_PART: Final = re.compile(r"`((?:[^`]|``)*)`|([^.`]+)")


def used(relation: Relation) -> dict[int, Names]:
    """By plan id of each read in a resolved plan: names of the columns used, ``None`` for all.

    The names are in lower case, and some may be no columns of the read.
    """
    found: dict[int, Names] = {}
    _visit(relation, None, found)
    return found


def _visit(relation: Relation, needed: Names, found: dict[int, Names]) -> None:
    kind = relation.WhichOneof("rel_type")
    if kind is None:
        return
    node = getattr(relation, kind)
    if kind == "read":
        _note(found, relation.common.plan_id, needed)
    elif kind in _PASSING:
        names = _names(getattr(node, each) for each in _PASSING[kind])
        _visit(node.input, _both(needed, names), found)
    elif kind == "project":
        _visit(node.input, _projected(node.expressions, needed), found)
    elif kind == "aggregate":
        names = _names(
            (node.grouping_expressions, node.aggregate_expressions, node.pivot, node.grouping_sets)
        )
        _visit(node.input, names, found)
    elif kind == "join":
        given = frozenset(name.lower() for name in node.using_columns)
        names = _both(_both(needed, _names([node.join_condition])), given)
        _visit(node.left, names, found)
        _visit(node.right, names, found)
    elif kind == "deduplicate":
        keys = None if node.all_columns_as_keys else _lower(node.column_names)
        _visit(node.input, _both(needed, keys), found)
    elif kind == "set_op":
        # Columns meet by position: only the left side has the names that are asked for.
        keeps_rows = node.set_op_type == 2 and node.is_all
        _visit(node.left_input, needed if keeps_rows else None, found)
        _visit(node.right_input, needed if keeps_rows and node.by_name else None, found)
    elif kind == "with_relations":
        _given(node, needed, found)
    else:
        for child in _inputs(node):
            _visit(child, None, found)


def _given(node: Any, needed: Names, found: dict[int, Names]) -> None:
    """SQL text over given relations; or a plan with subqueries, which may look at all of it."""
    if not node.root.HasField("sql"):
        forced: dict[int, Names] = {}
        _visit(node.root, None, forced)
        for plan_id in forced:
            _note(found, plan_id, None)
        for reference in node.references:
            _visit(reference, None, found)
        return
    names = _of_text(node.root.sql.query, needed)
    for reference in node.references:
        _visit(reference, names, found)


def _of_text(text: str, needed: Names) -> Names:
    """Names in SQL text. A star hands on the columns that the outer plan asks for."""
    from sqlglot import exp

    statement = sql.read(text)
    names = set(needed or ())
    for node in statement.tree.walk():
        if isinstance(node, exp.Star) and not isinstance(node.parent, exp.Count):
            if needed is None or _looks_at_whole_rows(statement.tree):
                return None
        elif isinstance(node, exp.Column):
            names |= {part.name.lower() for part in node.parts if isinstance(part, exp.Identifier)}
        elif isinstance(node, exp.Dot):
            names |= {part.name.lower() for part in node.find_all(exp.Identifier)}
        elif isinstance(node, exp.Join):
            if node.method == "NATURAL":
                return None
            names |= {part.name.lower() for part in node.args.get("using") or ()}
    return frozenset(names)


def _looks_at_whole_rows(tree: Any) -> bool:
    """Whether a star in the text means more than the columns that are asked of its result."""
    from sqlglot import exp

    if tree.key == "merge" or any(each.columns for each in tree.find_all(exp.TableAlias)):
        return True
    compared = (each for each in tree.find_all(exp.SetOperation) if each.args.get("distinct"))
    return tree.find(exp.Distinct) is not None or next(compared, None) is not None


def _projected(expressions: Iterable[Any], needed: Names) -> Names:
    """``SELECT *, x``: the star hands on what is needed, the other expressions need their own."""
    stars: list[Any] = []
    others: list[Any] = []
    for each in expressions:
        (stars if each.HasField("unresolved_star") else others).append(each)
    names = _names([others])
    return _both(names, needed) if stars else names


def _names(fields: Iterable[Any]) -> Names:
    """Names in expressions: single messages or lists of them."""
    found: set[str] = set()
    for field in fields:
        for message in [field] if hasattr(field, "ListFields") else field:
            names = _of_expression(message)
            if names is None:
                return None
            found |= names
    return frozenset(found)


def _of_expression(message: Message, *, counted: bool = False) -> Names:
    kind = message.DESCRIPTOR.name
    value: Any = message
    if kind == "UnresolvedRegex" or (kind == "UnresolvedStar" and not counted):
        return None
    found: Names = frozenset()
    if kind == "UnresolvedAttribute":
        found = _parts(value.unparsed_identifier)
    elif kind == "ExpressionString":
        found = _of_text(f"SELECT {value.expression}", None)
    is_count = kind == "UnresolvedFunction" and value.function_name.lower() == "count"
    inherited = counted and kind == "Expression"
    for child in messages.children(message):
        found = _both(found, _of_expression(child, counted=is_count or inherited))
    return found


def _inputs(message: Message) -> Iterable[Relation]:
    """The nearest relations inside a message."""
    for child in messages.children(message):
        if child.DESCRIPTOR.name == "Relation":
            yield child
        else:
            yield from _inputs(child)


def _parts(identifier: str) -> frozenset[str]:
    """Each part of ``table.column.field``: any of them may be the column."""
    found = _PART.findall(identifier)
    return frozenset((quoted.replace("``", "`") or bare).lower() for quoted, bare in found)


def _lower(names: Iterable[str]) -> frozenset[str]:
    return frozenset(part for name in names for part in _parts(name))


def _both(one: Names, other: Names) -> Names:
    return None if one is None or other is None else one | other


def _note(found: dict[int, Names], plan_id: int, names: Names) -> None:
    known = found.get(plan_id, frozenset())
    found[plan_id] = _both(known, names)
