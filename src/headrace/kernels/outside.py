"""Steps that skl2onnx converts: all that have no converter here. The proof decides on them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from headrace.kernels.errors import NeedsOlderOperatorsError, NotCompilableError
from headrace.kernels.graph import ML, OPSET, ROUNDED, Block
from headrace.kernels.steps import converts

if TYPE_CHECKING:
    import onnx

    from headrace.kernels.graph import Graph


@converts("probabilities", "*")
def probabilities(graph: Graph, model: Any, rows: Block) -> str:
    """The probabilities of a classifier."""
    converted = _converted(model, rows, {"zipmap": False})
    scores = _inlined(graph, model, converted, rows, 1)
    if len(model.classes_) > 2:
        return scores
    return graph.op("Gather", scores, graph.constant([1], "int64"), axis=1)


@converts("values", "*")
def values(graph: Graph, model: Any, rows: Block) -> str:
    """The values of a regressor."""
    made = _inlined(graph, model, _converted(model, rows), rows, 0)
    return graph.op("Reshape", made, graph.constant([-1, 1], "int64"))


@converts("transform", "*")
def transform(graph: Graph, step: Any, rows: Block) -> Block:
    """What a transformer makes."""
    import numpy as np

    made = _inlined(graph, step, _converted(step, rows), rows, 0)
    with warnings.catch_warnings():
        # Of the names that a matrix does not have.
        warnings.simplefilter("ignore")
        width = np.shape(step.transform(np.ones((1, rows.width))))[1]
    return graph.numbers(made, width)


def _converted(model: Any, rows: Block, options: dict[Any, Any] | None = None) -> onnx.ModelProto:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType

    rows.only_numbers(model)
    try:
        return to_onnx(
            model,
            initial_types=[("X", DoubleTensorType([None, rows.width]))],
            options=None if options is None else {id(model): options},
            target_opset={"": OPSET, ML: 3},
        )
    except Exception as error:
        # It raises anything for a class or an option that it does not know.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise NotCompilableError(
            f"{type(model).__name__} has no converter: {lines[0][:200]}"
        ) from error


def _inlined(graph: Graph, model: Any, made: onnx.ModelProto, rows: Block, output: int) -> str:
    from onnx import TensorProto

    if any(node.domain == ML for node in made.graph.node) and graph.ml > 3:
        raise NeedsOlderOperatorsError(f"{type(model).__name__} needs older operators")
    graph.loosen(ROUNDED, f"{type(model).__name__} is converted by skl2onnx")
    name = graph.inline(made, {"X": rows.name}, made.graph.output[output].name)
    return graph.op("Cast", name, to=TensorProto.DOUBLE)
