"""The same graph in float32: what it would cost in accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.kernels.graph import INPUT, OUTPUT

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import onnx


def scores(graph: bytes, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What the graph would give in float32.

    Raises:
        Exception: ONNX Runtime refuses the graph.
    """
    import numpy as np

    from headrace.kernels.runtime import session_of

    with np.errstate(over="ignore", invalid="ignore"):
        session = session_of(in_float32(graph), threads=1)
        found = session.run([OUTPUT], {INPUT: matrix.astype(np.float32)})[0]
    return np.asarray(found, np.float64)


def in_float32(graph: bytes) -> bytes:
    """Each float64 tensor of a graph in float32; a threshold is rounded down, as trees need it."""
    import onnx
    from onnx import TensorProto

    model = onnx.load_model_from_string(graph)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    for constant in model.graph.initializer:
        _shorten(constant, down=False)
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.DOUBLE:
                attribute.i = TensorProto.FLOAT
            elif attribute.HasField("t"):
                _shorten(attribute.t, down=attribute.name in ("nodes_splits",))
    short: bytes = model.SerializeToString()
    return short


def _shorten(tensor: onnx.TensorProto, down: bool) -> None:
    import numpy as np
    from onnx import numpy_helper

    values = numpy_helper.to_array(tensor)
    if values.dtype != np.float64:
        return
    short = values.astype(np.float32)
    if down:
        above = short.astype(np.float64) > values
        short = np.where(above, np.nextafter(short, np.float32(-np.inf)), short)
    tensor.CopyFrom(numpy_helper.from_array(short, tensor.name))
