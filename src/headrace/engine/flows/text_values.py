"""Where the values of SQL expressions come from, told from sqlglot's trees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from headrace.engine.flows.frame import (
    NOTHING,
    Col,
    Origins,
    indirect,
    union,
)
from headrace.engine.flows.scope import GENERATORS, ORDERED, Scope

_CONDITIONAL: Final = frozenset({"if", "case"})


def origins(node: Any, scope: Scope) -> Origins:
    """The origins of the value of an expression."""
    from sqlglot import exp

    if isinstance(node, exp.Column):
        return _column(node, scope)
    if isinstance(node, (exp.Query, exp.Subquery)):
        return _subquery(node, scope)
    if isinstance(node, exp.In) and node.args.get("query") is not None:
        return origins(node.this, scope) | _subquery(node.args["query"], scope)
    if isinstance(node, exp.Star):
        return union(col.everything for col in _star(node, scope))
    if isinstance(node, exp.Count) and isinstance(node.this, exp.Star):
        return NOTHING
    if isinstance(node, exp.Lambda):
        hidden = scope.hidden | {each.name.lower() for each in node.expressions}
        return origins(node.this, replace(scope, hidden=hidden))
    if isinstance(node, exp.Window):
        return _window(node, scope)
    if node.key in _CONDITIONAL:
        return _conditional(node, scope)
    found = union(origins(each, scope) for each in node.iter_expressions())
    if _name(node) in ORDERED:
        found |= indirect(scope.frame.order)
    return found


def _column(node: Any, scope: Scope) -> Origins:
    from sqlglot import exp

    if isinstance(node.this, exp.Star):
        return union(col.everything for col in _star(node, scope))
    parts = [part.name.lower() for part in node.parts]
    if parts[0] in scope.hidden:
        return NOTHING
    return scope.find(parts)


def _subquery(node: Any, scope: Scope) -> Origins:
    from headrace.engine.flows import text
    from headrace.engine.flows.frame import Frame

    frame = text.query(node, scope.inside(Frame(())))
    return frame.everything | indirect(frame.rows)


def _window(node: Any, scope: Scope) -> Origins:
    keys = union(origins(each, scope) for each in node.args.get("partition_by") or ())
    order = node.args.get("order")
    if order is not None:
        keys |= origins(order, scope)
    by_name = node.args.get("alias")
    if by_name is not None:
        keys |= scope.aliases.get(f"window {by_name.name.lower()}", NOTHING)
    given = NOTHING if node.args.get("over") is None else origins(node.this, scope)
    return given | indirect(keys | scope.frame.order)


def _conditional(node: Any, scope: Scope) -> Origins:
    """``CASE`` and ``IF``: values of conditions decide which value it is."""
    conditions: list[Any] = []
    results: list[Any] = []
    branches = [node] if node.key == "if" else list(node.args.get("ifs") or ())
    for each in branches:
        conditions.append(each.this)
        results.append(each.args.get("true"))
        results.append(each.args.get("false"))
    if node.key == "case":
        conditions.append(node.this)
        results.append(node.args.get("default"))
    decides = union(origins(each, scope) for each in conditions if each is not None)
    return union(origins(each, scope) for each in results if each is not None) | indirect(decides)


def columns(node: Any, scope: Scope) -> list[Col]:
    """The columns that an entry of a select list makes."""
    from sqlglot import exp

    if is_star(node):
        return _star(node, scope)
    if isinstance(node, exp.Aliases):
        given = origins(node.this, scope)
        return [Col(each.name, given) for each in node.expressions]
    if isinstance(node, exp.Alias):
        return [Col(node.alias, origins(node.this, scope))]
    if isinstance(node, exp.Column):
        found = scope.frame.candidates([part.name.lower() for part in node.parts])
        kept = found[0].qualifiers if len(found) == 1 else frozenset[str]()
        return [Col(node.name, origins(node, scope), kept)]
    if isinstance(node, exp.Dot):
        return [Col(node.name, origins(node, scope))]
    return [Col(None, origins(node, scope), many=generates(node))]


def is_star(node: Any) -> bool:
    """Whether an entry of a select list is ``*`` or ``t.*``."""
    from sqlglot import exp

    return isinstance(node, exp.Star) or (
        isinstance(node, exp.Column) and isinstance(node.this, exp.Star)
    )


def _star(node: Any, scope: Scope) -> list[Col]:
    from sqlglot import exp

    star = node if isinstance(node, exp.Star) else node.this
    found = list(scope.frame.columns)
    if isinstance(node, exp.Column):
        parts = [part.name.lower() for part in node.parts[:-1]]
        found = list(scope.frame.of_alias(parts[-1]))
        if not found:  # the fields of a struct
            return [Col(None, scope.find(parts), many=True)]
    left_out = star.args.get("except_") or star.args.get("except") or ()
    without = {each.name.lower() for each in left_out}
    found = [col for col in found if col.name is None or col.name.lower() not in without]
    for each in star.args.get("replace") or ():
        other = Col(each.alias, origins(each.this, scope))
        found = [
            other if col.name is not None and col.name.lower() == each.alias.lower() else col
            for col in found
        ]
    for each in star.args.get("rename") or ():
        found = [
            replace(col, name=each.alias)
            if col.name is not None and col.name.lower() == each.this.name.lower()
            else col
            for col in found
        ]
    return found


def generates(node: Any) -> bool:
    """Whether an entry of a select list makes several rows of one."""
    from sqlglot import exp

    inner = node.this if isinstance(node, (exp.Alias, exp.Aliases)) else node
    return isinstance(inner, exp.Func) and _name(inner) in GENERATORS


def aggregates(node: Any) -> bool:
    """Whether an expression has the rows of a group as its argument, beside windows."""
    from sqlglot import exp

    return any(
        isinstance(each, exp.AggFunc) and not isinstance(each.parent, exp.Window)
        for each in node.walk(prune=lambda inner: isinstance(inner, exp.Query))
    )


def is_constant(node: Any) -> bool:
    """Whether an expression names no column and calls nothing that is not known."""
    from sqlglot import exp

    return not any(
        isinstance(each, (exp.Column, exp.Star, exp.Query, exp.Anonymous)) for each in node.walk()
    )


def keys(group: Any) -> Iterator[Any]:
    """The expressions of ``GROUP BY``, also those inside ``ROLLUP``, ``CUBE`` and sets."""
    from sqlglot import exp

    yield from group.expressions
    for kind in ("rollup", "cube", "grouping_sets"):
        for each in group.args.get(kind) or ():
            if isinstance(each, exp.Expression):
                yield each


def ordinal(node: Any, count: int) -> int | None:
    """The place of a select list that ``GROUP BY 1`` or ``ORDER BY 1`` means."""
    from sqlglot import exp

    if isinstance(node, exp.Literal) and not node.is_string and node.name.isdecimal():
        place = int(node.name) - 1
        return place if 0 <= place < count else None
    return None


def named(node: Any) -> list[str]:
    """The names inside an expression."""
    from sqlglot import exp

    return [each.name for each in node.find_all(exp.Identifier)]


def _name(node: Any) -> str:
    from sqlglot import exp

    if isinstance(node, exp.Anonymous):
        return str(node.name).lower()
    return str(node.sql_name()).lower() if isinstance(node, exp.Func) else ""
