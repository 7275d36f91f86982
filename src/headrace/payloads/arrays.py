"""numpy's arrays to Arrow's and back, by their buffers.

``pyarrow.array`` and ``to_numpy`` import pandas, to see whether they deal with something of it:
most of a second, once, in a process that has no other use for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def arrow_array(column: np.ndarray) -> pa.Array | None:
    """Numbers, truth values, times, texts, bytes, or equal lists of numbers; ``None``: others.

    Objects are read as what they are if they are of one type. ``None`` among them is null, and
    NaT is too; NaN stays NaN.
    """
    import numpy as np
    import pyarrow as pa

    if column.ndim == 2 and column.dtype.kind in "biuf":
        flat = arrow_array(np.ascontiguousarray(column).reshape(-1))
        offsets = np.arange(0, column.size + 1, column.shape[1] or 1, dtype=np.int32)
        if column.shape[1] == 0:
            offsets = np.zeros(len(column) + 1, dtype=np.int32)
        return pa.ListArray.from_arrays(arrow_array(offsets), flat)
    if column.ndim != 1:
        return None
    kind = column.dtype.kind
    if kind in "iuf":
        return _primitive(pa.from_numpy_dtype(column.dtype), column)
    if kind == "b":
        return _truths(column)
    if kind == "M":
        moments = column.astype("datetime64[ns]")
        return _primitive(pa.timestamp("ns"), moments.view(np.int64), ~np.isnat(moments))
    return _objects(column.tolist()) if kind in "OU" else None


def text_array(values: Sequence[str]) -> pa.Array:
    """Texts, of which none is null."""
    import pyarrow as pa

    return _variable(pa.string(), [value.encode() for value in values], None)


def numpy_array(array: pa.Array) -> np.ndarray:
    """Numbers, truth values and ``datetime64`` as such; texts, bytes and nulls as objects.

    Null is NaN among floats and NaT among times, and else makes the array one of objects.

    Args:
        array: of numbers, truth values, timestamps, dates, texts, bytes or nulls; validated.
    """
    import numpy as np
    from pyarrow import types

    kind = array.type
    fixed = types.is_floating(kind) or types.is_timestamp(kind) or types.is_date(kind)
    whole = types.is_integer(kind) or types.is_boolean(kind)
    if not len(array) or not (fixed or (whole and not array.null_count)):
        return np.fromiter(array.to_pylist(), dtype=object, count=len(array))
    data, window = array.buffers()[1], slice(array.offset, array.offset + len(array))
    if types.is_boolean(kind):
        return _bits(data)[window]
    # The count: a buffer may be longer than its values, by less than one too.
    dtype = np.dtype(_FIXED.get(str(kind), "int64"))
    values: np.ndarray = np.frombuffer(data, dtype, window.stop)[window]
    if types.is_timestamp(kind):
        values = values.view(f"datetime64[{kind.unit}]")
    elif types.is_date(kind):
        values = values.astype(np.int64).view(
            f"datetime64[{'D' if types.is_date32(kind) else 'ms'}]"
        )
    if array.null_count:
        values = values.copy()
        values[~_bits(array.buffers()[0])[window]] = "NaT" if values.dtype.kind == "M" else np.nan
    return values


def numpy_column(column: pa.ChunkedArray) -> np.ndarray:
    """All chunks of a column as ``numpy_array`` has each."""
    import numpy as np

    found = [numpy_array(chunk) for chunk in column.chunks if len(chunk)]
    if not found:
        return np.empty(0, dtype=object)
    return found[0] if len(found) == 1 else np.concatenate(found)


#: numpy's names of Arrow's types of one width.
_FIXED: Final = {
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "halffloat": "float16",
    "float": "float32",
    "double": "float64",
    "date32[day]": "int32",
}


def _bits(buffer: pa.Buffer) -> np.ndarray:
    import numpy as np

    bits = np.unpackbits(np.frombuffer(buffer, dtype=np.uint8), bitorder="little")
    return bits.view(bool)


def _objects(values: list[Any]) -> pa.Array | None:
    """Texts, bytes, truth values, whole numbers or doubles with nulls; ``None``: anything else."""
    import numpy as np
    import pyarrow as pa

    types = set(map(type, values)) - {type(None)}
    valid = np.array([value is not None for value in values], dtype=bool)
    if types <= {str}:
        return _variable(pa.string(), [(value or "").encode() for value in values], valid)
    if types == {bytes}:
        return _variable(pa.binary(), [value or b"" for value in values], valid)
    if types == {bool}:
        return _truths(np.array([bool(value) for value in values]), valid)
    numbers = {frozenset({int}): np.int64, frozenset({float}): np.float64}.get(frozenset(types))
    if numbers is None:
        return None
    try:
        column = np.array([value or 0 for value in values], dtype=numbers)
    except OverflowError:
        return None
    return _primitive(pa.from_numpy_dtype(numbers), column, valid)


def _truths(column: np.ndarray, valid: np.ndarray | None = None) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    bits = pa.py_buffer(np.packbits(column, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(column), [_bitmap(valid), bits])


def _primitive(kind: pa.DataType, column: np.ndarray, valid: np.ndarray | None = None) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    data = pa.py_buffer(np.ascontiguousarray(column))
    return pa.Array.from_buffers(kind, len(column), [_bitmap(valid), data])


def _variable(kind: pa.DataType, values: list[bytes], valid: np.ndarray | None) -> pa.Array | None:
    import numpy as np
    import pyarrow as pa

    offsets = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum([len(value) for value in values], out=offsets[1:])
    if offsets[-1] >= 2**31:
        return None
    buffers = [
        _bitmap(valid),
        pa.py_buffer(offsets.astype(np.int32)),
        pa.py_buffer(b"".join(values)),
    ]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _bitmap(valid: np.ndarray | None) -> pa.Buffer | None:
    import numpy as np
    import pyarrow as pa

    if valid is None or valid.all():
        return None
    return pa.py_buffer(np.packbits(valid, bitorder="little"))
