"""Tensors of the Open Inference Protocol: JSON or bytes to numpy and back.

The types, the JSON form and the binary tensor data extension are those of
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol and
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from headrace.payloads.answer import jsonable
from headrace.payloads.codec import MAX_CELLS
from headrace.payloads.documents import kind_of
from headrace.payloads.errors import InvalidInputError, MalformedRequestError

if TYPE_CHECKING:
    import numpy as np

#: The protocol's datatypes as numpy's; ``BYTES`` is an array of objects.
DATATYPES: Final = {
    "BOOL": "bool",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "object",
}
_NAMES: Final = {numpy: name for name, numpy in DATATYPES.items()}


def check_shape(shape: Any, name: str) -> tuple[int, ...]:
    """A tensor's shape.

    Raises:
        MalformedRequestError: it is no list of lengths, or of more values than are read.
    """
    if not isinstance(shape, list) or any(type(length) is not int for length in shape):
        raise MalformedRequestError("shape is not a list of whole numbers", where=name)
    if any(length < 0 for length in shape) or len(shape) > 16:
        raise MalformedRequestError(f"shape {shape} is not one of a tensor", where=name)
    if math.prod(shape) > MAX_CELLS:
        raise MalformedRequestError(f"it has more than {MAX_CELLS} values", where=name)
    return tuple(shape)


def of_json(data: Any, datatype: str, shape: tuple[int, ...], name: str) -> np.ndarray:
    """The array of a tensor's ``data``: a flat list or nested lists, in row-major order.

    Null stands for NaN in a tensor of floats, and for a missing value in ``BYTES``.

    Raises:
        MalformedRequestError: there are more or fewer values than the shape has.
        InvalidInputError: a value does not fit the datatype.
    """
    import numpy as np

    if not isinstance(data, list):
        raise MalformedRequestError(f"data is {kind_of(data)}, not a list", where=name)
    values = data
    while values and set(map(type, values)) == {list}:
        values = [value for inner in values for value in inner]
    if len(values) != math.prod(shape):
        raise MalformedRequestError(
            f"it has {len(values)} values, its shape {list(shape)} has {math.prod(shape)}",
            where=name,
        )
    _check_types(values, datatype, name)
    if datatype == "BYTES":
        return np.fromiter(values, dtype=object, count=len(values)).reshape(shape)
    try:
        with np.errstate(over="ignore"):  # what is too large is found by looking
            array = np.array(values, dtype=DATATYPES[datatype])
    except OverflowError:
        raise InvalidInputError(f"a value does not fit in {datatype}", column=name) from None
    if datatype.startswith("FP") and np.isinf(array).any():
        row = int(np.argmax(np.isinf(array)))
        raise InvalidInputError(f"{values[row]} does not fit in {datatype}", column=name, row=row)
    return array.reshape(shape)


def of_bytes(data: memoryview, datatype: str, shape: tuple[int, ...], name: str) -> np.ndarray:
    """The array of a tensor's bytes: little-endian, in row-major order.

    A value of ``BYTES`` is its length in four bytes and then itself.

    Raises:
        MalformedRequestError: there are more or fewer bytes than the shape needs.
    """
    import numpy as np

    count = math.prod(shape)
    if datatype == "BYTES":
        return np.fromiter(_texts(data, count, name), dtype=object, count=count).reshape(shape)
    dtype = np.dtype(DATATYPES[datatype]).newbyteorder("<")
    if len(data) != count * dtype.itemsize:
        raise MalformedRequestError(
            f"it has {len(data)} bytes, {count} values of {datatype} have {count * dtype.itemsize}",
            where=name,
        )
    if datatype == "BOOL":
        # Any byte but zero is true: numpy would keep others as truth values that equal neither.
        truths: np.ndarray = np.frombuffer(data, dtype=np.uint8) != 0
        return truths.reshape(shape)
    array = np.frombuffer(data, dtype=dtype).astype(dtype.newbyteorder("="), copy=False)
    return array.reshape(shape)


def datatype_of(array: np.ndarray) -> str:
    """The protocol's name of an array's type; ``BYTES`` for all that are no numbers."""
    return _NAMES.get(array.dtype.name, "BYTES")


def to_json(array: np.ndarray) -> list[Any]:
    """The values of an output as a flat list; NaN and infinity are null."""
    flat = array.reshape(-1)
    if datatype_of(array) == "BYTES":
        return [None if value is None else _text(value) for value in flat.tolist()]
    return (
        [jsonable(value) for value in flat.tolist()] if array.dtype.kind == "f" else flat.tolist()
    )


def to_bytes(array: np.ndarray) -> bytes:
    """The values of an output as the binary extension has them; null is an empty text."""
    if datatype_of(array) != "BYTES":
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    parts: list[bytes] = []
    for value in array.reshape(-1).tolist():
        data = (
            value
            if isinstance(value, bytes)
            else _text(value).encode()
            if value is not None
            else b""
        )
        parts += (struct.pack("<I", len(data)), data)
    return b"".join(parts)


def _text(value: Any) -> str:
    plain = jsonable(value)
    return plain if isinstance(plain, str) else json.dumps(plain)


_WANTED: Final[dict[str, tuple[frozenset[type], str]]] = {
    "BOOL": (frozenset({bool}), "neither true nor false"),
    "BYTES": (frozenset({str, type(None)}), "no text"),
    "FP": (frozenset({int, float, type(None)}), "no number"),
    "INT": (frozenset({int}), "no whole number"),
}


def _check_types(values: Sequence[Any], datatype: str, name: str) -> None:
    kind = datatype if datatype in _WANTED else "FP" if datatype.startswith("FP") else "INT"
    wanted, why = _WANTED[kind]
    if set(map(type, values)) <= wanted:
        return
    row = next(row for row, value in enumerate(values) if type(value) not in wanted)
    shown = repr(values[row])
    raise InvalidInputError(f"{shown[:40]} is {why}", column=name, row=row)


def _texts(data: memoryview, count: int, name: str) -> list[bytes]:
    found: list[bytes] = []
    at = 0
    for _ in range(count):
        if at + 4 > len(data):
            raise MalformedRequestError(f"it has {len(found)} values of {count}", where=name)
        (length,) = struct.unpack_from("<I", data, at)
        at += 4 + length
        if at > len(data):
            raise MalformedRequestError("a value is longer than the tensor", where=name)
        found.append(bytes(data[at - length : at]))
    if at != len(data):
        raise MalformedRequestError(f"it has {len(data) - at} bytes too many", where=name)
    return found
