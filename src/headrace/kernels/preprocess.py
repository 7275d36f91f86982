"""Scalers, imputers, selections, and what strings them together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from headrace.kernels.errors import NotCompilableError
from headrace.kernels.graph import Block, Column
from headrace.kernels.steps import converts, transform

if TYPE_CHECKING:
    from headrace.kernels.graph import Graph

_SELECTORS: Final = (
    "SelectKBest", "SelectPercentile", "SelectFromModel", "SelectFpr", "SelectFdr", "SelectFwe",
    "GenericUnivariateSelect", "VarianceThreshold", "RFE", "RFECV", "SequentialFeatureSelector",
)  # fmt: skip


@converts("transform", "Pipeline")
def pipeline(graph: Graph, step: Any, rows: Block) -> Block:
    """One step after another."""
    for _, inner in step.steps:
        rows = transform(graph, inner, rows)
    return rows


@converts("transform", "ColumnTransformer")
def columns(graph: Graph, step: Any, rows: Block) -> Block:
    """Some columns to each step, the results side by side."""
    made = []
    for name, inner, _ in step.transformers_:
        which = list(step._transformer_to_input_indices[name])
        if which and inner != "drop":
            made.append(transform(graph, inner, graph.columns(rows, which)))
    return graph.join(made)


@converts("transform", "FeatureUnion")
def union(graph: Graph, step: Any, rows: Block) -> Block:
    """All columns to each step, the results side by side, weighted."""
    made = []
    for name, inner in step.transformer_list:
        if inner == "drop":
            continue
        block = transform(graph, inner, rows)
        weight = (step.transformer_weights or {}).get(name)
        if weight is not None:
            scaled = graph.op("Mul", block.name, graph.constant(float(weight)))
            block = graph.numbers(scaled, block.width, block.single)
        made.append(block)
    return graph.join(made)


@converts("transform", "FunctionTransformer")
def function(graph: Graph, step: Any, rows: Block) -> Block:
    """Those numpy functions that have a counterpart."""
    import numpy as np

    if step.func is None or getattr(step.func, "__name__", "") == "check_array":
        return rows
    if getattr(getattr(step.func, "func", None), "__name__", "") == "check_array":
        return rows
    rows.only_numbers(step)
    simple = {np.log: "Log", np.exp: "Exp", np.sqrt: "Sqrt", np.abs: "Abs", np.tanh: "Tanh"}
    if step.kw_args:
        raise NotCompilableError("FunctionTransformer with arguments has no converter")
    if step.func is np.log1p:
        made = graph.op("Log", graph.op("Add", rows.name, graph.constant(1.0)))
    elif step.func in simple:
        made = graph.op(simple[step.func], rows.name)
    else:
        name = getattr(step.func, "__qualname__", repr(step.func))
        raise NotCompilableError(f"FunctionTransformer of {name} has no converter")
    return graph.numbers(made, rows.width, rows.single)


@converts("transform", *_SELECTORS)
def selection(graph: Graph, step: Any, rows: Block) -> Block:
    """Some of the columns."""
    return graph.columns(rows, [int(index) for index in step.get_support(indices=True)])


def _arithmetic(graph: Graph, rows: Block, operation: str, values: Any) -> Block:
    """A row of constants applied to each row; rounded where the original keeps float32."""
    import numpy as np

    row = graph.constant(np.reshape(values, (1, -1)))
    return graph.numbers(graph.op(operation, rows.name, row), rows.width, rows.single)


@converts("transform", "StandardScaler")
def standard(graph: Graph, step: Any, rows: Block) -> Block:
    """Mean zero, variance one."""
    rows = rows.only_numbers(step)
    if step.with_mean:
        rows = _arithmetic(graph, rows, "Sub", step.mean_)
    return _arithmetic(graph, rows, "Div", step.scale_) if step.with_std else rows


@converts("transform", "RobustScaler")
def robust(graph: Graph, step: Any, rows: Block) -> Block:
    """Median zero, a range of quantiles one."""
    rows = rows.only_numbers(step)
    if step.with_centering:
        rows = _arithmetic(graph, rows, "Sub", step.center_)
    return _arithmetic(graph, rows, "Div", step.scale_) if step.with_scaling else rows


@converts("transform", "MaxAbsScaler")
def largest(graph: Graph, step: Any, rows: Block) -> Block:
    """The largest magnitude one."""
    if getattr(step, "clip", False):
        raise NotCompilableError("MaxAbsScaler that clips has no converter")
    return _arithmetic(graph, rows.only_numbers(step), "Div", step.scale_)


@converts("transform", "MinMaxScaler")
def bounded(graph: Graph, step: Any, rows: Block) -> Block:
    """Between two bounds."""
    rows = _arithmetic(graph, rows.only_numbers(step), "Mul", step.scale_)
    rows = _arithmetic(graph, rows, "Add", step.min_)
    if not step.clip:
        return rows
    low, high = (graph.constant(float(bound)) for bound in step.feature_range)
    # Min and Max of ONNX Runtime lose NaN, so a null goes round them.
    inside = graph.op("Min", graph.op("Max", rows.name, low), high)
    kept = graph.op("Where", graph.op("IsNaN", rows.name), rows.name, inside)
    return graph.numbers(kept, rows.width, rows.single)


@converts("transform", "SimpleImputer")
def imputer(graph: Graph, step: Any, rows: Block) -> Block:
    """A statistic, or a constant, for what is missing."""
    import numpy as np
    from onnx import TensorProto

    gone = _missing(graph, step, rows)
    kept = [at for at, value in enumerate(step.statistics_) if not _is_nan(value)]
    if step.keep_empty_features and len(kept) < rows.width:
        raise NotCompilableError("SimpleImputer that keeps empty features has no converter")
    fill = np.array([[_filled(rows.columns[at], step.statistics_[at]) for at in kept]])
    if gone is None:
        filled, mask = graph.columns(rows, kept), None
    else:
        mask = graph.op("Gather", gone, graph.constant(kept, "int64"), axis=1)
        part = graph.columns(rows, kept)
        name = graph.op("Where", mask, graph.constant(fill), part.name)
        filled = Block(graph.rounded(name) if rows.single else name, part.columns)
    if not step.add_indicator or not len(step.indicator_.features_):
        return filled
    if gone is None:
        raise NotCompilableError("SimpleImputer with an indicator of texts has no converter")
    which = graph.constant(step.indicator_.features_, "int64")
    flags = graph.op("Cast", graph.op("Gather", gone, which, axis=1), to=TensorProto.DOUBLE)
    added = (Column(single=rows.single),) * len(step.indicator_.features_)
    return graph.join([filled, Block(flags, added)])


def _missing(graph: Graph, step: Any, rows: Block) -> str | None:
    """Where a value is missing; ``None`` if that cannot be: texts have ``None``, never NaN."""
    sought = step.missing_values
    texts = [column.codes is not None for column in rows.columns]
    if isinstance(sought, str):
        if not all(texts):
            raise NotCompilableError("SimpleImputer of texts is given numbers")
        codes = [[float(_filled(column, sought)) for column in rows.columns]]
        return graph.op("Equal", rows.name, graph.constant(codes))
    if any(texts) and not all(texts):
        raise NotCompilableError("SimpleImputer is given texts and numbers at once")
    if sought is None or _is_nan(sought):
        return None if all(texts) and sought is not None else graph.op("IsNaN", rows.name)
    if all(texts):
        raise NotCompilableError(f"SimpleImputer that replaces {sought!r} is given texts")
    return graph.op("Equal", rows.name, graph.constant(float(sought)))


def _filled(column: Column, value: Any) -> float:
    if column.codes is None:
        return float(value)
    if value is None:
        return float("nan")
    return float(column.codes.setdefault(str(value), len(column.codes)))


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


@converts("transform", "PolynomialFeatures")
def polynomial(graph: Graph, step: Any, rows: Block) -> Block:
    """Products of columns, as many at a time as the degree; a column of ones fills up."""
    import numpy as np

    rows.only_numbers(step)
    degree = max(int(step.powers_.sum(axis=1).max()), 1)
    factors = [
        np.repeat(np.arange(rows.width), powers).tolist() + [rows.width] * (degree - powers.sum())
        for powers in step.powers_
    ]
    first = graph.op("Gather", rows.name, graph.constant([0], "int64"), axis=1)
    ones = graph.op("Where", graph.op("IsNaN", first), *[graph.constant(1.0)] * 2)
    with_ones = graph.op("Concat", rows.name, ones, axis=1)
    product = None
    for place in range(degree):
        which = graph.constant([found[place] for found in factors], "int64")
        factor = graph.op("Gather", with_ones, which, axis=1)
        product = factor if product is None else graph.op("Mul", product, factor)
    assert product is not None  # noqa: S101  # the degree is at least 1
    return graph.numbers(product, len(factors), rows.single)
