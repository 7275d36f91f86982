"""Encoders of categories. Texts come as codes that the runtime looks up, see ``graph.Column``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from headrace.kernels.errors import NotCompilableError
from headrace.kernels.graph import Block, Column
from headrace.kernels.steps import converts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from headrace.kernels.graph import Graph

# Stand for a null, and for a category that no value can be, where numbers are compared.
_NULL: Final = -1.0715086071862673e301
_NEVER: Final = -1.0715086071862672e301


@dataclass(frozen=True)
class _Matches:
    """Which category each value is.

    Attributes:
        name: float64, a column a category, 1 where the value is it.
        owner: which feature each category belongs to.
        place: its number among that feature's.
    """

    name: str
    owner: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]


def _matches(
    graph: Graph, rows: Block, categories: list[Any], wanted: list[list[int]] | None = None
) -> _Matches:
    """Compare each value with its feature's categories, or with some of them."""
    import numpy as np
    from onnx import TensorProto

    wanted = wanted or [list(range(len(known))) for known in categories]
    codes = [
        _code(column, known[place])
        for column, known, places in zip(rows.columns, categories, wanted, strict=True)
        for place in places
    ]
    owner = np.repeat(np.arange(len(wanted)), [len(places) for places in wanted])
    name = rows.name
    if _NULL in codes:
        name = graph.op("Where", graph.op("IsNaN", name), graph.constant(_NULL), name)
    if owner.tolist() != list(range(rows.width)):
        name = graph.op("Gather", name, graph.constant(owner, "int64"), axis=1)
    equal = graph.op("Equal", name, graph.constant([codes]))
    place = np.array([place for places in wanted for place in places], np.int64)
    return _Matches(graph.op("Cast", equal, to=TensorProto.DOUBLE), owner, place)


def _code(column: Column, category: Any) -> float:
    missing = isinstance(category, float) and math.isnan(category)
    if column.codes is None:
        return _NULL if category is None or missing else float(category)
    if category is None:
        return _NULL
    # A text that is missing is None where predictions are made, which is another category.
    return _NEVER if missing else float(column.codes.setdefault(str(category), len(column.codes)))


@converts("transform", "OneHotEncoder")
def one_hot(graph: Graph, step: Any, rows: Block) -> Block:
    """A column a category; rare categories may share one, and one may be dropped."""
    import numpy as np

    if any(found is not None for found in getattr(step, "_infrequent_indices", [])):
        return _grouped(graph, step, rows)
    drop = step.drop_idx_ if step.drop_idx_ is not None else [None] * rows.width
    wanted = [
        [place for place in range(len(known)) if place != dropped]
        for known, dropped in zip(step.categories_, drop, strict=True)
    ]
    found = _matches(graph, rows, step.categories_, wanted)
    single = bool(np.dtype(step.dtype) == np.float32)
    return Block(found.name, (Column(single=single),) * len(found.owner))


def _grouped(graph: Graph, step: Any, rows: Block) -> Block:
    """With rare categories in one column, the last of their feature."""
    import numpy as np

    found = _matches(graph, rows, step.categories_)
    unknown_is_rare = step.handle_unknown in ("infrequent_if_exist", "warn")
    weights: list[npt.NDArray[np.float64]] = []
    first: list[float] = []
    for feature, mapping in enumerate(step._default_to_infrequent_mappings):
        mine = np.flatnonzero(found.owner == feature)
        into = np.arange(len(mine)) if mapping is None else np.asarray(mapping)
        dropped = None
        if step._drop_idx_after_grouping is not None:
            dropped = step._drop_idx_after_grouping[feature]
        for column in range(int(into.max()) + 1):
            if column == dropped:
                continue
            share = np.zeros(len(found.owner))
            rare = mapping is not None and column == into.max()
            if rare and unknown_is_rare:
                share[mine[into != column]] = -1.0
            else:
                share[mine[into == column]] = 1.0
            weights.append(share)
            first.append(1.0 if rare and unknown_is_rare else 0.0)
    name = graph.op("MatMul", found.name, graph.constant(np.column_stack(weights)))
    if any(first):
        name = graph.op("Add", name, graph.constant([first]))
    return Block(name, (Column(),) * len(weights))


@converts("transform", "OrdinalEncoder")
def ordinal(graph: Graph, step: Any, rows: Block) -> Block:
    """The number of the category."""
    import numpy as np

    values = []
    for feature, known in enumerate(step.categories_):
        numbers = np.arange(len(known), dtype=np.float64)
        mappings = getattr(step, "_default_to_infrequent_mappings", None)
        if mappings is not None and mappings[feature] is not None:
            numbers = np.asarray(mappings[feature], np.float64)
        missing = getattr(step, "_missing_indices", {}).get(feature)
        if missing is not None:
            numbers[missing] = step.encoded_missing_value
        values.append(numbers)
    unknown = step.unknown_value if step.handle_unknown == "use_encoded_value" else float("nan")
    return _looked_up(graph, rows, step.categories_, values, [float(unknown)] * rows.width)


@converts("transform", "TargetEncoder")
def target(graph: Graph, step: Any, rows: Block) -> Block:
    """The mean target of the category, as it was at training."""
    if step.target_type_ == "multiclass":
        raise NotCompilableError("TargetEncoder of several classes has no converter")
    mean = float(step.target_mean_)
    return _looked_up(graph, rows, step.categories_, step.encodings_, [mean] * rows.width)


def _looked_up(
    graph: Graph, rows: Block, categories: list[Any], values: list[Any], unknown: list[float]
) -> Block:
    """A number for each category, and one for all others; NaN is a number here."""
    import numpy as np
    from onnx import TensorProto

    found = _matches(graph, rows, categories)
    member = np.zeros((len(found.owner), rows.width))
    member[np.arange(len(found.owner)), found.owner] = 1.0
    numbers = np.concatenate([np.asarray(item, np.float64) for item in values])
    table = member * np.nan_to_num(numbers, nan=0.0)[:, None]
    name = graph.op("MatMul", found.name, graph.constant(table))
    known = graph.op("MatMul", found.name, graph.constant(member))
    is_known = graph.op("Cast", known, to=TensorProto.BOOL)
    name = graph.op("Where", is_known, name, graph.constant([unknown]))
    if np.isnan(numbers).any():
        nowhere = member * np.isnan(numbers)[:, None]
        flags = graph.op("MatMul", found.name, graph.constant(nowhere))
        is_nan = graph.op("Cast", flags, to=TensorProto.BOOL)
        name = graph.op("Where", is_nan, graph.constant(float("nan")), name)
    return Block(name, (Column(),) * rows.width)
