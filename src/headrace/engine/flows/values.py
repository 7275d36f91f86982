"""Where the values of Spark Connect's expressions come from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.engine import messages
from headrace.engine.flows import text_values
from headrace.engine.flows.frame import NOTHING, Col, Frame, Origins, indirect, union
from headrace.engine.flows.scope import GENERATORS, ORDERED, Scope, last_part, parts
from headrace.engine.flows.trees import entries


@dataclass
class Values:
    """Reads expressions of one plan.

    Attributes:
        nodes: the frame of each relation of the plan so far, by plan id: a column can be bound
            to the relation that it was taken from.
        subqueries: makes the frame of a subquery, by plan id.
    """

    nodes: dict[int, Frame] = field(default_factory=dict)
    subqueries: Mapping[int, Callable[[Scope], Frame]] = field(default_factory=dict)

    def origins(self, expression: Any, scope: Scope) -> Origins:
        """The origins of the value of an expression."""
        kind = expression.WhichOneof("expr_type")
        if kind is None or kind == "literal":
            return NOTHING
        node = getattr(expression, kind)
        if kind == "unresolved_attribute":
            return self._attribute(node, scope)
        if kind in ("unresolved_star", "unresolved_regex"):
            return union(col.everything for col in self.columns(expression, scope))
        if kind == "unresolved_function":
            return self._function(node, scope)
        if kind == "expression_string":
            return union(text_values.origins(each, scope) for each in entries(node.expression))
        if kind == "window":
            keys = union(self.origins(each, scope) for each in node.partition_spec)
            keys |= union(self.origins(each.child, scope) for each in node.order_spec)
            given = self.origins(node.window_function, scope)
            return given | indirect(keys | scope.frame.order)
        if kind == "subquery_expression":
            return self._subquery(node, scope)
        return self._children(node, scope)

    def _children(self, message: Any, scope: Scope) -> Origins:
        found = NOTHING
        for child in messages.children(message):
            name = child.DESCRIPTOR.name
            found |= (
                self.origins(child, scope) if name == "Expression" else self._children(child, scope)
            )
        return found

    def _attribute(self, node: Any, scope: Scope) -> Origins:
        name = parts(node.unparsed_identifier)
        if not name:
            return scope.everything
        bound = None
        if node.HasField("plan_id") and node.plan_id in self.nodes:
            bound = self.nodes[node.plan_id].find(name)
        if bound is None:
            return scope.find(name)
        here = scope.frame.candidates(name)
        return bound | here[0].everything if len(here) == 1 else bound

    def _function(self, node: Any, scope: Scope) -> Origins:
        name = node.function_name.lower()
        given = list(node.arguments)
        if name == "count":
            given = [each for each in given if not each.HasField("unresolved_star")]
        made = [self.origins(each, scope) for each in given]
        if name == "when":
            # when(condition, value, condition, value, ..., otherwise)
            last = len(made) - 1 if len(made) % 2 else len(made)
            made = [
                indirect(each) if index % 2 == 0 and index < last else each
                for index, each in enumerate(made)
            ]
        elif name == "if" and made:
            made[0] = indirect(made[0])
        if name in ORDERED:
            made.append(indirect(scope.frame.order))
        return union(made)

    def _subquery(self, node: Any, scope: Scope) -> Origins:
        given = union(self.origins(each, scope) for each in node.in_subquery_values)
        make = self.subqueries.get(node.plan_id)
        if make is None:
            return given | scope.everything
        frame = make(scope)
        return given | frame.everything | indirect(frame.rows)

    def columns(self, expression: Any, scope: Scope) -> list[Col]:
        """The columns that an entry of a projection makes."""
        kind = expression.WhichOneof("expr_type")
        node = getattr(expression, kind)
        if kind == "unresolved_star":
            return self._star(node, scope)
        if kind == "unresolved_regex":
            return _matching(node.col_name, scope.frame)
        if kind == "expression_string":
            listed = entries(node.expression)
            return [col for each in listed for col in text_values.columns(each, scope)]
        given = self.origins(expression, scope)
        if kind == "alias":
            return [Col(name, given) for name in node.name] or [Col(None, given)]
        if kind == "unresolved_attribute":
            found = scope.frame.candidates(parts(node.unparsed_identifier))
            kept = found[0].qualifiers if len(found) == 1 else frozenset[str]()
            return [Col(last_part(node.unparsed_identifier), given, kept)]
        return [Col(None, given, many=self.generates(expression))]

    def _star(self, node: Any, scope: Scope) -> list[Col]:
        frame = scope.frame
        if node.HasField("plan_id") and node.plan_id in self.nodes:
            frame = self.nodes[node.plan_id]
        if not node.HasField("unparsed_target"):
            return list(frame.columns)
        target = parts(node.unparsed_target.removesuffix(".*"))
        found = frame.of_alias(target[-1])
        return list(found) or [Col(None, scope.find(target), many=True)]

    def generates(self, expression: Any) -> bool:
        """Whether an entry of a projection makes several rows of one."""
        kind = expression.WhichOneof("expr_type")
        if kind == "alias":
            return self.generates(expression.alias.expr)
        if kind == "unresolved_function":
            return str(expression.unresolved_function.function_name).lower() in GENERATORS
        if kind == "call_function":
            return str(expression.call_function.function_name).lower() in GENERATORS
        if kind == "expression_string":
            listed = entries(expression.expression_string.expression)
            return any(text_values.generates(each) for each in listed)
        return bool(kind == "common_inline_user_defined_table_function")


def _matching(pattern: str, frame: Frame) -> list[Col]:
    """The columns whose names a regular expression in backticks matches."""
    try:
        names = re.compile(pattern.strip("`"), re.IGNORECASE)
    except re.error:
        return list(frame.columns)
    return [each for each in frame.columns if each.name is None or names.fullmatch(each.name)]
