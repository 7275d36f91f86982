"""Where the columns of SQL queries come from, told from sqlglot's trees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from headrace.engine.flows import text_values as values
from headrace.engine.flows.frame import (
    NOTHING,
    Col,
    Frame,
    Origins,
    combined,
    constants,
    indirect,
    joined,
    union,
    unknown,
)

if TYPE_CHECKING:
    from headrace.engine.flows.scope import Scope

_ROUNDS: Final = 8
_EMPTY: Final = Frame(())


def query(node: Any, scope: Scope) -> Frame:
    """The result of a query.

    Args:
        node: a tree of sqlglot's.
        scope: the relations that the text can name, and the columns of the query around it.
    """
    from sqlglot import exp

    scope = _with(node, scope)
    if isinstance(node, exp.Select):
        return _select(node, scope)
    if isinstance(node, exp.SetOperation):
        return _set_operation(node, scope)
    if isinstance(node, (exp.Subquery, exp.Paren)):
        return _modified(node, _aliased(node, query(node.this, scope)), scope)
    if isinstance(node, exp.Values):
        return _aliased(node, _values(node, scope))
    if isinstance(node, exp.Table):
        return source(node, scope)
    return _opaque(node, scope)


def _with(node: Any, scope: Scope) -> Scope:
    """The scope with the common table expressions of a query."""
    clause = node.args.get("with_")
    if clause is None:
        return scope
    for cte in clause.expressions:
        name = cte.alias.lower()
        if clause.args.get("recursive"):
            frame = _recursive(cte, name, scope)
        else:
            frame = _aliased(cte, query(cte.this, scope))
        scope = replace(scope, tables={**scope.tables, name: frame})
    return scope


def _recursive(cte: Any, name: str, scope: Scope) -> Frame:
    """A common table expression over itself: repeated until no origin is new."""
    frame = constants()
    for _ in range(_ROUNDS):
        tables = {**scope.tables, name: frame}
        found = _aliased(cte, query(cte.this, replace(scope, tables=tables)))
        if found == frame:
            return frame
        frame = found
    everything = unknown(frame.everything)
    return replace(
        frame, columns=tuple(replace(each, origins=everything) for each in frame.columns)
    )


def _select(node: Any, scope: Scope) -> Frame:
    frame = _from(node, scope)
    inner = replace(scope, frame=frame, aliases={})
    where = node.args.get("where")
    if where is not None:
        frame = frame.filtered(values.origins(where.this, inner))
        inner = inner.over(frame)
    for made in node.args.get("windows") or ():
        inner = replace(
            inner,
            aliases={**inner.aliases, f"window {made.name.lower()}": values.origins(made, inner)},
        )
    columns, inner, generated = _listed(node.expressions, inner)
    result = _grouped(node, columns, inner)
    result = result.filtered(generated)
    for clause in ("having", "qualify"):
        condition = node.args.get(clause)
        if condition is not None:
            result = result.filtered(values.origins(condition.this, inner))
    if node.args.get("distinct") is not None:
        result = result.filtered(result.everything)
    return _modified(node, result, inner)


def _listed(expressions: Iterable[Any], scope: Scope) -> tuple[list[Col], Scope, Origins]:
    """The columns of a select list, the scope with its names, and what made rows in it."""
    columns: list[Col] = []
    generated = NOTHING
    for each in expressions:
        found = values.columns(each, scope)
        if values.generates(each):
            generated |= union(col.everything for col in found)
        columns += found
        named = {
            col.name.lower(): col.everything
            for col in found
            if col.name is not None and not values.is_star(each)
        }
        if named:
            scope = replace(scope, aliases={**scope.aliases, **named})
    return columns, scope, generated


def _grouped(node: Any, columns: list[Col], scope: Scope) -> Frame:
    """The select list as a result: one row for each, or one for each group."""
    frame = scope.frame
    group = node.args.get("group")
    if group is None and node.args.get("having") is None:
        whole = node.expressions and all(
            values.aggregates(each) or values.is_constant(each) for each in node.expressions
        )
        if not (whole and any(values.aggregates(each) for each in node.expressions)):
            return Frame(tuple(columns), frame.rows, frame.order)
    by = NOTHING
    keyed = group is not None and bool(
        group.args.get("all") or any(True for _ in values.keys(group))
    )
    if group is not None:
        if group.args.get("all"):
            by = union(col.everything for col in columns)
        else:
            by = union(
                columns[place].everything
                if (place := values.ordinal(key, len(columns))) is not None
                else values.origins(key, scope)
                for key in values.keys(group)
            )
    if keyed:
        return Frame(tuple(columns), frame.rows | indirect(by))
    # One row, whatever there is: what decides on the rows decides on its values.
    return Frame(tuple(replace(col, origins=col.origins | frame.rows) for col in columns))


def _modified(node: Any, frame: Frame, scope: Scope) -> Frame:
    """With the clauses that any query can have at its end."""
    inner = replace(scope.over(frame), outer=scope)
    for clause in ("order", "sort", "cluster"):
        ordering = node.args.get(clause)
        if ordering is not None:
            by = union(
                frame.columns[place].everything
                if (place := values.ordinal(getattr(key, "this", key), len(frame.columns)))
                is not None
                else values.origins(key, inner)
                for key in ordering.expressions
            )
            frame = replace(frame, order=frame.order | indirect(by))
    if node.args.get("limit") is not None or node.args.get("offset") is not None:
        frame = frame.cut()
    return frame


def _set_operation(node: Any, scope: Scope) -> Frame:
    kind = {"union": "union", "intersect": "intersect"}.get(node.key, "except")
    left, right = query(node.this, scope), query(node.expression, scope)
    made = combined(
        left,
        right,
        kind=kind,
        by_name=bool(node.args.get("by_name")),
        distinct=bool(node.args.get("distinct")),
    )
    return _modified(node, made, scope)


def _from(node: Any, scope: Scope) -> Frame:
    clause = node.args.get("from_")
    frame = source(clause.this, scope) if clause is not None else _EMPTY
    for view in node.args.get("laterals") or ():
        frame = _generated(view, frame, scope)
    for join in node.args.get("joins") or ():
        frame = _join(join, frame, scope)
    return frame


def _join(node: Any, left: Frame, scope: Scope) -> Frame:
    from sqlglot import exp

    if isinstance(node.this, exp.Lateral) and not isinstance(node.this.this, exp.Subquery):
        return _generated(node.this, left, scope)
    # What stands on the right of LATERAL can name the columns on its left.
    right = source(node.this, scope.over(left).inside(_EMPTY))
    kind = f"{node.args.get('side') or ''} {node.args.get('kind') or ''}".lower()
    using = [each.name for each in node.args.get("using") or ()]
    if str(node.args.get("method") or "").upper() == "NATURAL":
        using = _shared(left, right)
    on = node.args.get("on")
    condition = NOTHING
    if on is not None:
        both = Frame((*left.columns, *right.columns))
        condition = values.origins(on, scope.over(both))
    keeps_left = next((each for each in ("semi", "anti") if each in kind), "inner")
    return joined(left, right, condition, using, keeps_left)


def _shared(left: Frame, right: Frame) -> list[str]:
    """The columns that both sides of a natural join have, or may have."""
    names = [each.name for each in (*left.columns, *right.columns) if each.name is not None]
    return [
        name
        for name in dict.fromkeys(names)
        if left.find([name.lower()]) is not None and right.find([name.lower()]) is not None
    ]


def source(node: Any, scope: Scope) -> Frame:
    """What stands in ``FROM``, with the joins inside its parentheses."""
    from sqlglot import exp

    if isinstance(node, exp.Lateral):
        if isinstance(node.this, exp.Subquery):
            frame = _aliased(node, query(node.this, scope))
        else:
            frame = _generated(node, _EMPTY, scope)
    elif isinstance(node, exp.Table):
        frame = _table(node, scope)
    elif isinstance(node, (exp.Subquery, exp.Paren)):
        inner = _with(node, scope)
        found = (
            source(node.this, inner)
            if isinstance(node.this, exp.Table)
            else query(node.this, inner)
        )
        frame = _aliased(node, found)
    elif isinstance(node, exp.Values):
        frame = _aliased(node, _values(node, scope))
    else:
        frame = _opaque(node, scope)
    for join in node.args.get("joins") or ():
        frame = _join(join, frame, scope)
    for view in node.args.get("laterals") or ():
        frame = _generated(view, frame, scope)
    for pivot in node.args.get("pivots") or ():
        frame = _pivot(pivot, frame, scope)
    if node.args.get("sample") is not None:
        frame = frame.cut()
    return frame


def _table(node: Any, scope: Scope) -> Frame:
    from sqlglot import exp

    name = node.name.lower()
    if isinstance(node.this, exp.Identifier) and not node.args.get("db"):
        found = scope.tables.get(name)
        if found is not None:
            return _aliased(node, found.aliased(name))
    if isinstance(node.this, exp.Func):
        given = union(values.origins(each, scope) for each in node.this.iter_expressions())
        name = "id" if node.this.name.lower() == "range" else None
        made = Col(name, given, many=name is None)
        return _aliased(node, Frame((made,), indirect(given)))
    # A name that stands for nothing here can be any of what is there.
    everything = unknown(union(each.everything for each in scope.tables.values()))
    return _aliased(node, Frame((Col(None, everything, many=True),), everything))


def _values(node: Any, scope: Scope) -> Frame:
    from sqlglot import exp

    rows = [
        each.expressions if isinstance(each, exp.Tuple) else [each] for each in node.expressions
    ]
    columns = [
        Col(f"col{index + 1}", union(values.origins(each, scope) for each in column))
        for index, column in enumerate(zip(*rows, strict=False))
    ]
    return Frame(tuple(columns))


def _generated(node: Any, frame: Frame, scope: Scope) -> Frame:
    """``LATERAL VIEW explode(...)``: further columns, and other rows."""
    given = values.origins(node.this, scope.over(frame))
    alias = node.args.get("alias")
    names = [each.name for each in alias.columns] if alias is not None else []
    qualifiers = frozenset({alias.name.lower()} if alias is not None and alias.name else ())
    columns = [Col(name, given, qualifiers) for name in names]
    if not columns:
        columns = [Col(None, given, qualifiers, many=True)]
    return Frame((*frame.columns, *columns), frame.rows | indirect(given), frame.order)


def _pivot(node: Any, frame: Frame, scope: Scope) -> Frame:
    inner = scope.over(frame)
    if node.args.get("unpivot"):
        return _aliased(node, _unpivot(node, frame, inner))
    fields = list(node.args.get("fields") or ())
    keys = union(values.origins(getattr(each, "this", each), inner) for each in fields)
    made = union(values.origins(each, inner) for each in node.expressions)
    used = {name.lower() for each in (*fields, *node.expressions) for name in values.named(each)}
    kept = [col for col in frame.columns if col.name is None or col.name.lower() not in used]
    by = union(col.everything for col in kept)
    pivoted = Col(None, made | indirect(keys), many=True)
    rows = frame.rows | indirect(by)
    return _aliased(node, Frame((*kept, pivoted), rows))


def _unpivot(node: Any, frame: Frame, scope: Scope) -> Frame:
    used: set[str] = set()
    given = NOTHING
    names: list[str] = []
    for each in node.args.get("fields") or ():
        names.append(getattr(each.this, "name", "") or "name")
        given |= union(values.origins(column, scope) for column in each.expressions)
        used |= {name.lower() for column in each.expressions for name in values.named(column)}
    kept = [col for col in frame.columns if col.name is None or col.name.lower() not in used]
    made = [Col(name) for name in names]
    made += [Col(name, given) for each in node.expressions for name in values.named(each)]
    rows = frame.rows | indirect(given)
    return Frame((*kept, *made), rows)


def _aliased(node: Any, frame: Frame) -> Frame:
    """Under the alias of a table, a query or a common table expression, and of its columns."""
    alias = node.args.get("alias")
    if alias is None:
        return frame
    if alias.name:
        frame = frame.aliased(alias.name)
    names: Sequence[Any] = alias.args.get("columns") or ()
    return frame.renamed([each.name for each in names]) if names else frame


def _opaque(node: Any, scope: Scope) -> Frame:
    """Text of a form that is not known: all that its names can mean."""
    from sqlglot import exp

    tables = {each.name.lower() for each in node.find_all(exp.Table)}
    frames = [frame for name, frame in scope.tables.items() if name in tables]
    everything = unknown(union(each.everything for each in frames)) | scope.everything
    rows = union(each.rows for each in frames) | everything
    return Frame((Col(None, everything, many=True),), rows)
