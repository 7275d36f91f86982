"""Arrays of binary protocols as one of MLflow's data types, by the rules of JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.payloads.errors import InvalidInputError
from headrace.payloads.values import LARGEST_FLOAT32, NUMPY_TYPES, column_of

if TYPE_CHECKING:
    import numpy as np

_KINDS = {"double": "fiu", "float": "fiu", "long": "fiu", "integer": "fiu", "boolean": "b"}
_WANTED = {
    "double": "is no number",
    "float": "is no number",
    "long": "is no whole number",
    "integer": "is no whole number",
    "boolean": "is neither true nor false",
    "string": "is no text",
    "binary": "is no bytes",
    "datetime": "is no time",
}


def cast_array(kind: str, array: np.ndarray, name: str, *, required: bool = True) -> np.ndarray:
    """The array as the type has it; nothing is cast that would change a value.

    Only the rounding of doubles to a ``float`` column, and of whole numbers to a double, is done
    as it is with JSON. Infinity stays what it is.

    Args:
        kind: one of ``TYPES``, or ``any`` to leave the array as it is.
        array: of one dimension: numbers, truth values, ``datetime64``, or objects where it has
            text, bytes or nulls.
        name: the column, for errors.
        required: null is refused where the type has none.

    Raises:
        InvalidInputError: names the column, and the row where one value is at fault.
    """
    if kind == "any":
        return array
    if array.dtype.kind in "OU":
        return column_of(kind, array.tolist(), name, required=required)
    if kind == "datetime" and array.dtype.kind == "M":
        return _nanoseconds(array, name)
    if array.dtype.kind not in _KINDS.get(kind, ""):
        raise InvalidInputError(f"{array.dtype} {_WANTED[kind]}", column=name)
    if kind in ("long", "integer"):
        return _whole(array, kind, name)
    if kind == "float":
        return _float(array, name)
    return array.astype(NUMPY_TYPES[kind], copy=False)


def _whole(array: np.ndarray, kind: str, name: str) -> np.ndarray:
    import numpy as np

    if array.dtype.kind == "f":
        broken = np.isnan(array)
        _refuse(broken, name, lambda _: f"null is no {kind}")
        _refuse(array != np.trunc(array), name, lambda row: f"{array[row]!s} is no whole number")
    bits = 64 if kind == "long" else 32
    lowest, beyond = -(2 ** (bits - 1)), 2 ** (bits - 1)
    if array.dtype.kind == "f":
        # As doubles: the lowest long is what lower numbers would round to.
        outside = (array <= lowest if bits == 64 else array < lowest) | (array >= beyond)
    elif array.dtype.itemsize * 8 < bits or array.dtype == NUMPY_TYPES[kind]:
        return array.astype(NUMPY_TYPES[kind], copy=False)
    else:
        limits = np.iinfo(array.dtype)
        outside = np.zeros(len(array), dtype=bool)
        if limits.max >= beyond:
            outside |= array >= array.dtype.type(beyond)
        if limits.min < lowest:
            outside |= array < array.dtype.type(lowest)
    _refuse(outside, name, lambda _: f"the number does not fit in {bits} bits")
    return array.astype(NUMPY_TYPES[kind])


def _float(array: np.ndarray, name: str) -> np.ndarray:
    import numpy as np

    if array.dtype == np.float32:
        return array
    wide = array.astype(np.float64)
    outside = (np.abs(wide) > LARGEST_FLOAT32) & np.isfinite(wide)
    _refuse(outside, name, lambda row: f"{array[row]!s} is too large for a float")
    return array.astype(np.float32)


def _nanoseconds(array: np.ndarray, name: str) -> np.ndarray:
    import numpy as np

    found = array.astype("datetime64[ns]")
    if found.dtype == array.dtype:
        return found
    # A time that nanoseconds cannot count wraps around, and does not come back as it was.
    back = found.astype(array.dtype)
    _refuse((back != array) & ~np.isnat(array), name, lambda _: "the time is outside 1678 to 2261")
    return found


def _refuse(wrong: np.ndarray, name: str, why: Any) -> None:
    import numpy as np

    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidInputError(why(row), column=name, row=row)
