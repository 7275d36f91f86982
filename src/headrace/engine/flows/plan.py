"""Where the columns of Spark Connect's relations come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from headrace.engine import messages
from headrace.engine.flows import text, text_values
from headrace.engine.flows.frame import (
    NOTHING,
    Col,
    Frame,
    Leaf,
    Origins,
    combined,
    constants,
    indirect,
    joined,
    read,
    union,
    unknown,
)
from headrace.engine.flows.schemas import declared, of_arrow, of_type
from headrace.engine.flows.scope import Scope, parts
from headrace.engine.flows.trees import entries, tree
from headrace.engine.flows.values import Values

_SAME: Final = frozenset(
    {
        "collect_metrics", "hint", "html_string", "repartition", "repartition_by_expression",
        "show_string", "with_watermark",
    }
)  # fmt: skip
_CUT: Final = frozenset({"limit", "offset", "sample", "tail"})
_SET_KINDS: Final = {1: "intersect", 2: "union", 3: "except"}
_ANTI, _SEMI = 5, 6
_NOWHERE: Final = Scope(Frame(()))


class Plan:
    """Reads one resolved plan.

    Args:
        leaf: what a read of the plan is; ``None`` for one of which nothing is recorded.
    """

    def __init__(self, leaf: Callable[[Any], Leaf | None]) -> None:
        self._leaf = leaf
        self._subqueries: dict[int, Callable[[Scope], Frame]] = {}
        self.values = Values(subqueries=self._subqueries)
        self._steps: dict[str, Callable[[Any, Scope | None], Frame]] = {
            "aggregate": self._aggregate,
            "as_of_join": self._as_of_join,
            "co_group_map": self._mapped,
            "apply_in_pandas_with_state": self._mapped,
            "deduplicate": self._deduplicate,
            "drop": self._drop,
            "drop_na": self._drop_na,
            "fill_na": self._filled,
            "filter": self._filter,
            "group_map": self._mapped,
            "join": self._join,
            "lateral_join": self._lateral_join,
            "local_relation": _local,
            "map_partitions": self._mapped,
            "project": self._project,
            "range": lambda _node, _outer: constants(["id"]),
            "replace": self._filled,
            "sample_by": self._sample_by,
            "set_op": self._set_operation,
            "sort": self._sort,
            "subquery_alias": self._alias,
            "to_df": self._to_df,
            "to_schema": self._to_schema,
            "unpivot": self._unpivot,
            "with_columns": self._with_columns,
            "with_columns_renamed": self._renamed,
        }

    def frame(self, relation: Any, outer: Scope | None = None) -> Frame:
        """The result of a relation.

        Args:
            relation: resolved, with the plan ids of its reads.
            outer: what a subquery can name of the query around it.
        """
        kind = relation.WhichOneof("rel_type")
        if kind is None:
            return constants()
        node = getattr(relation, kind)
        if kind == "read":
            leaf = self._leaf(relation)
            found = constants() if leaf is None else read(leaf)
        elif kind == "sql":
            found = text.query(tree(node.query), _around(outer))
        elif kind == "with_relations":
            found = self._with_relations(relation, outer)
        elif kind in _SAME:
            found = self.frame(node.input, outer)
        elif kind in _CUT:
            found = self.frame(node.input, outer).cut()
        elif kind in self._steps:
            found = self._steps[kind](node, outer)
        else:
            found = self._opaque(node, outer)
        self.values.nodes[relation.common.plan_id] = found
        return found

    def _scope(self, frame: Frame, outer: Scope | None) -> Scope:
        return Scope(frame, outer)

    def _of(self, expressions: Any, scope: Scope) -> Origins:
        return union(self.values.origins(each, scope) for each in expressions)

    def _project(self, node: Any, outer: Scope | None) -> Frame:
        frame = self.frame(node.input, outer) if node.HasField("input") else Frame(())
        scope = self._scope(frame, outer)
        columns: list[Col] = []
        rows = frame.rows
        for each in node.expressions:
            found = self.values.columns(each, scope)
            if self.values.generates(each):
                rows |= indirect(union(col.everything for col in found))
            columns += found
        if frame.columns and any(_aggregates(each) for each in node.expressions):
            # A projection of aggregates is an aggregation without groups.
            columns = [replace(each, origins=each.origins | frame.rows) for each in columns]
        return Frame(tuple(columns), rows, frame.order)

    def _filter(self, node: Any, outer: Scope | None) -> Frame:
        frame = self.frame(node.input, outer)
        return frame.filtered(self.values.origins(node.condition, self._scope(frame, outer)))

    def _with_columns(self, node: Any, outer: Scope | None) -> Frame:
        frame = self.frame(node.input, outer)
        scope = self._scope(frame, outer)
        columns = list(frame.columns)
        rows = frame.rows
        for alias in node.aliases:
            given = self.values.origins(alias.expr, scope)
            if self.values.generates(alias.expr):
                rows |= indirect(given)
            for name in alias.name:
                places = [
                    index
                    for index, each in enumerate(columns)
                    if each.name is not None and each.name.lower() == name.lower()
                ]
                for index in places:
                    columns[index] = Col(name, given)
                if not places:
                    columns.append(Col(name, given))
        return Frame(tuple(columns), rows, frame.order)

    def _renamed(self, node: Any, outer: Scope | None) -> Frame:
        frame = self.frame(node.input, outer)
        names = {each.col_name: each.new_col_name for each in node.renames}
        names |= dict(node.rename_columns_map)
        by_lower = {old.lower(): new for old, new in names.items()}
        columns = [
            replace(each, name=by_lower.get(each.name.lower(), each.name))
            if each.name is not None
            else each
            for each in frame.columns
        ]
        for old, new in names.items():
            found = frame.find([old.lower()])
            if not frame.candidates([old.lower()]) and found is not None:
                columns.append(Col(new, found))
        return replace(frame, columns=tuple(columns))

    def _drop(self, node: Any, outer: Scope | None) -> Frame:
        frame = self.frame(node.input, outer)
        gone: list[Col] = []
        for name in node.column_names:
            gone += frame.candidates(parts(name)[-1:])
        for each in node.columns:
            if each.HasField("unresolved_attribute"):
                attribute = each.unresolved_attribute
                found = frame.candidates(parts(attribute.unparsed_identifier))
                if len(found) > 1 and attribute.plan_id in self.values.nodes:
                    side = self.values.nodes[attribute.plan_id].columns
                    found = [col for col in found if col in side] or found
                # Which of several is meant cannot be told: all stay, none is too few.
                gone += found if len(found) == 1 else []
        kept = tuple(col for col in frame.columns if not any(col is each for each in gone))
        return replace(frame, columns=kept)

    def _to_df(self, node: Any, outer: Scope | None) -> Frame:
        return self.frame(node.input, outer).renamed(list(node.column_names))

    def _to_schema(self, node: Any, outer: Scope | None) -> Frame:
        frame = self.frame(node.input, outer)
        names = of_type(node.schema)
        if names is None:
            return frame
        scope = self._scope(frame, None)
        return replace(
            frame, columns=tuple(Col(name, scope.find([name.lower()])) for name in names)
        )

    def _join(self, node: Any, outer: Scope | None) -> Frame:
        left, right = self.frame(node.left, outer), self.frame(node.right, outer)
        condition = NOTHING
        if node.HasField("join_condition"):
            both = Frame((*left.columns, *right.columns))
            condition = self.values.origins(node.join_condition, self._scope(both, outer))
        kind = {_ANTI: "anti", _SEMI: "semi"}.get(node.join_type, "inner")
        return joined(left, right, condition, list(node.using_columns), kind)

    def _as_of_join(self, node: Any, outer: Scope | None) -> Frame:
        left, right = self.frame(node.left, outer), self.frame(node.right, outer)
        scope = self._scope(Frame((*left.columns, *right.columns)), outer)
        given = (node.left_as_of, node.right_as_of, node.join_expr, node.tolerance)
        condition = self._of(given, scope)
        return joined(left, right, condition, list(node.using_columns))

    def _lateral_join(self, node: Any, outer: Scope | None) -> Frame:
        left = self.frame(node.left, outer)
        right = self.frame(node.right, Scope(left, outer))
        both = Scope(Frame((*left.columns, *right.columns)), outer)
        return joined(left, right, self._of([node.join_condition], both))

    def _set_operation(self, node: Any, outer: Scope | None) -> Frame:
        left, right = self.frame(node.left_input, outer), self.frame(node.right_input, outer)
        return combined(
            left,
            right,
            kind=_SET_KINDS.get(node.set_op_type, "union"),
            by_name=node.by_name,
            distinct=not node.is_all,
        )

    def _sort(self, node: Any, outer: Scope | None) -> Frame:
        frame = self.frame(node.input, outer)
        keys = self._of((each.child for each in node.order), self._scope(frame, outer))
        return replace(frame, order=frame.order | indirect(keys))

    def _deduplicate(self, node: Any, outer: Scope | None) -> Frame:
        frame = self.frame(node.input, outer)
        if node.all_columns_as_keys or not node.column_names:
            return frame.filtered(frame.everything)
        scope = self._scope(frame, None)
        keys = union(scope.find(parts(name)) for name in node.column_names)
        return frame.filtered(keys).cut()

    def _alias(self, node: Any, outer: Scope | None) -> Frame:
        return self.frame(node.input, outer).aliased(node.alias)

    def _aggregate(self, node: Any, outer: Scope | None) -> Frame:
        frame = self.frame(node.input, outer)
        scope = self._scope(frame, outer)
        columns = [
            col for each in node.grouping_expressions for col in self.values.columns(each, scope)
        ]
        keys = union(col.everything for col in columns)
        for grouping in node.grouping_sets:
            keys |= self._of(grouping.grouping_set, scope)
        made = [
            col for each in node.aggregate_expressions for col in self.values.columns(each, scope)
        ]
        if node.HasField("pivot"):
            by = indirect(self.values.origins(node.pivot.col, scope))
            made = [Col(None, union(col.everything for col in made) | by, many=True)]
        if columns or node.grouping_sets:
            return Frame((*columns, *made), frame.rows | indirect(keys))
        # One row, whatever there is: what decides on the rows decides on its values.
        return Frame(tuple(replace(col, origins=col.origins | frame.rows) for col in made))

    def _unpivot(self, node: Any, outer: Scope | None) -> Frame:
        frame = self.frame(node.input, outer)
        scope = self._scope(frame, outer)
        ids = [col for each in node.ids for col in self.values.columns(each, scope)]
        if node.HasField("values"):
            given = self._of(node.values.values, scope)
        else:
            kept = {col.name for col in ids}
            given = union(col.everything for col in frame.columns if col.name not in kept)
        named = (Col(node.variable_column_name), Col(node.value_column_name, given))
        return Frame((*ids, *named), frame.rows | indirect(given))

    def _drop_na(self, node: Any, outer: Scope | None) -> Frame:
        frame = self.frame(node.input, outer)
        scope = self._scope(frame, None)
        looked_at = union(scope.find(parts(name)) for name in node.cols)
        return frame.filtered(looked_at if node.cols else frame.everything)

    def _filled(self, node: Any, outer: Scope | None) -> Frame:
        return self.frame(node.input, outer)

    def _sample_by(self, node: Any, outer: Scope | None) -> Frame:
        frame = self.frame(node.input, outer)
        return frame.filtered(self.values.origins(node.col, self._scope(frame, outer))).cut()

    def _mapped(self, node: Any, outer: Scope | None) -> Frame:
        """A Python function over rows: what it does with which column cannot be told."""
        inputs = [
            self.frame(getattr(node, each), outer)
            for each in ("input", "other", "initial_input")
            if each in node.DESCRIPTOR.fields_by_name and node.HasField(each)
        ]
        seen = unknown(union(each.everything for each in inputs))
        rows = union(each.rows | unknown(each.order) for each in inputs) | seen
        function = node.func.python_udf
        names = of_type(function.output_type) if function.HasField("output_type") else None
        return Frame(tuple(Col(name) for name in names) if names else constants().columns, rows)

    def text(self, relation: Any, outer: Scope | None = None) -> tuple[Any, Scope]:
        """SQL text inside the relations that it was given: its tree, and what it can name."""
        around = _around(outer)
        while relation.HasField("with_relations"):
            tables = dict(around.tables)
            for reference in relation.with_relations.references:
                self._subqueries[reference.common.plan_id] = self._later(reference)
                if reference.HasField("subquery_alias"):
                    name = reference.subquery_alias.alias.lower()
                    tables[name] = self.frame(reference, around)
            around = replace(around, tables=tables)
            relation = relation.with_relations.root
        return tree(relation.sql.query), around

    def _with_relations(self, relation: Any, outer: Scope | None) -> Frame:
        """SQL text over given relations; or a plan with its subqueries."""
        if _is_text(relation):
            return text.query(*self.text(relation, outer))
        for reference in relation.with_relations.references:
            self._subqueries[reference.common.plan_id] = self._later(reference)
        return self.frame(relation.with_relations.root, outer)

    def _later(self, reference: Any) -> Callable[[Scope], Frame]:
        return lambda scope: self.frame(reference, scope)

    def _opaque(self, node: Any, outer: Scope | None) -> Frame:
        """A step that is not looked into: each of its columns can come from all."""
        frames = [self.frame(each, outer) for each in _inputs(node)]
        everything = union(each.everything for each in frames)
        if outer is not None:
            everything |= outer.everything
        rows = union(each.rows | each.order for each in frames) | indirect(everything)
        return Frame((Col(None, everything, many=True),), rows)


def _around(outer: Scope | None) -> Scope:
    """The scope of SQL text inside a plan."""
    return _NOWHERE if outer is None else outer.inside(Frame(()))


def _is_text(relation: Any) -> bool:
    """Whether a relation is SQL text inside what it was given."""
    while relation.HasField("with_relations"):
        relation = relation.with_relations.root
    return bool(relation.HasField("sql"))


def _inputs(message: Any) -> Sequence[Any]:
    """The nearest relations inside a message."""
    found: list[Any] = []
    for child in messages.children(message):
        if child.DESCRIPTOR.name == "Relation":
            found.append(child)
        else:
            found += _inputs(child)
    return found


def _local(node: Any, _outer: Scope | None) -> Frame:
    if node.HasField("data"):
        return constants(of_arrow(node.data) or ())
    return constants(declared(node.schema) or ())


_AGGREGATES: Final = frozenset(
    {
        "any_value", "approx_count_distinct", "avg", "bool_and", "bool_or", "collect_list",
        "collect_set", "corr", "count", "count_if", "covar_pop", "covar_samp", "first", "last",
        "kurtosis", "max", "max_by", "mean", "median", "min", "min_by", "mode", "percentile",
        "percentile_approx", "skewness", "std", "stddev", "stddev_pop", "stddev_samp", "sum",
        "try_avg", "try_sum", "var_pop", "var_samp", "variance",
    }
)  # fmt: skip


def _aggregates(expression: Any) -> bool:
    kind = expression.WhichOneof("expr_type")
    if kind == "window":
        return False
    if kind == "unresolved_function":
        if expression.unresolved_function.function_name.lower() in _AGGREGATES:
            return True
    elif kind == "expression_string":
        text = expression.expression_string.expression
        return any(text_values.aggregates(each) for each in entries(text))
    if kind in ("literal", "unresolved_attribute", "unresolved_star", None):
        return False
    return any(
        _aggregates(child)
        for child in messages.children(getattr(expression, kind))
        if child.DESCRIPTOR.name == "Expression"
    )
