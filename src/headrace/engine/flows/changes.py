"""Where the columns that ``MERGE``, ``UPDATE`` and ``DELETE`` change come from.

Rows and columns that a statement leaves as they are stay the table's own, and are no flow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from headrace.engine.flows import text, text_values
from headrace.engine.flows.frame import NOTHING, Frame, Origins, indirect, unknown
from headrace.engine.flows.scope import Scope, parts

if TYPE_CHECKING:
    from headrace.engine.flows.plan import Plan

#: A changed column, or ``None`` for the rows, and where it is from.
Change = tuple[str | None, Origins]

_DELETE, _INSERT, _INSERT_ALL, _UPDATE_ALL = 1, 2, 3, 5


def of_text(statement: Any, target: Frame, scope: Scope) -> Iterator[Change]:
    """The changes of a statement.

    Args:
        statement: its tree; its target is named in place of the frame.
        target: the table's columns.
        scope: the relations that the text names.
    """
    name = statement.this.alias or statement.this.name
    target = target.aliased(name)
    inner = scope.over(target)
    if statement.key == "merge":
        yield from _merge(statement, target, scope)
        return
    where = statement.args.get("where")
    decides = NOTHING if where is None else indirect(text_values.origins(where.this, inner))
    if statement.key == "delete":
        yield None, decides
        return
    yield from _set(statement.expressions, target, inner, decides)


def _merge(statement: Any, target: Frame, scope: Scope) -> Iterator[Change]:
    source = text.source(statement.args["using"], scope)
    inner = scope.over(Frame((*target.columns, *source.columns)))
    met = indirect(text_values.origins(statement.args["on"], inner) | source.rows)
    for when in statement.args["whens"].expressions:
        condition = when.args.get("condition")
        decides = met
        if condition is not None:
            decides |= indirect(text_values.origins(condition, inner))
        then = when.args["then"]
        if then.key == "update":
            if any(text_values.is_star(each) for each in then.expressions):
                yield from _all(target, source, decides)
            else:
                yield from _set(then.expressions, target, inner, decides)
        elif then.key == "insert":
            yield None, decides | source.rows
            yield from _inserted(then, target, source, inner)
        else:
            yield None, decides


def _set(
    assignments: Iterable[Any], target: Frame, scope: Scope, decides: Origins
) -> Iterator[Change]:
    for each in assignments:
        name = _column(target, [part.name.lower() for part in _parts(each.this)])
        given = text_values.origins(each.expression, scope)
        if _is_field(target, _parts(each.this)):
            given |= target.find([(name or "").lower()]) or NOTHING
        yield name, given | decides


def _inserted(then: Any, target: Frame, source: Frame, scope: Scope) -> Iterator[Change]:
    values = then.args.get("expression")
    if values is None or text_values.is_star(then.this):
        yield from _all(target, source, NOTHING)
        return
    names = then.this.expressions if then.this is not None else []
    columns = [_column(target, [part.name.lower() for part in _parts(each)]) for each in names]
    if not columns:
        columns = [each.name for each in target.columns]
    for column, value in zip(columns, values.expressions, strict=False):
        yield column, text_values.origins(value, scope)


def _all(target: Frame, source: Frame, decides: Origins) -> Iterator[Change]:
    """``SET *`` and ``INSERT *``: each column from the source's of the same name."""
    for each in target.columns:
        found = source.find([(each.name or "").lower()])
        yield each.name, (unknown(source.everything) if found is None else found) | decides


def of_actions(
    command: Any, target: Frame, source: Frame, plan: Plan, aliases: Iterable[str]
) -> Iterator[Change]:
    """The changes of ``DataFrame.mergeInto``.

    Args:
        command: its message, resolved.
        target: the table's columns.
        source: the result of its source.
        plan: what read the source.
        aliases: names by which conditions mean the target.
    """
    target = target.aliased(*aliases)
    scope = Scope(Frame((*target.columns, *source.columns)))
    met = indirect(plan.values.origins(command.merge_condition, scope) | source.rows)
    for each in (
        *command.match_actions,
        *command.not_matched_actions,
        *command.not_matched_by_source_actions,
    ):
        action = each.merge_action
        decides = met
        if action.HasField("condition"):
            decides |= indirect(plan.values.origins(action.condition, scope))
        if action.action_type in (_DELETE, _INSERT, _INSERT_ALL):
            yield None, decides | (source.rows if action.action_type != _DELETE else NOTHING)
        if action.action_type in (_INSERT, _INSERT_ALL):
            decides = NOTHING  # it decided on the rows
        if action.action_type in (_INSERT_ALL, _UPDATE_ALL):
            yield from _all(target, source, decides)
        for assignment in action.assignments:
            key = parts(
                assignment.key.expression_string.expression
                or assignment.key.unresolved_attribute.unparsed_identifier
            )
            given = plan.values.origins(assignment.value, scope)
            yield _column(target, key), given | decides


def _column(target: Frame, name: list[str]) -> str | None:
    """The target's column that a name means; ``None``, which is every one, if that is unclear."""
    found = target.candidates(name) if name else []
    return found[0].name if len(found) == 1 else None


def _parts(node: Any) -> list[Any]:
    from sqlglot import exp

    if isinstance(node, exp.Column):
        return list(node.parts)
    return list(node.find_all(exp.Identifier))


def _is_field(target: Frame, name: list[Any]) -> bool:
    """Whether a name goes into a column, whose other fields stay."""
    lower = [part.name.lower() for part in name]
    found = target.candidates(lower)
    return len(found) == 1 and lower[-1] != (found[0].name or "").lower()
