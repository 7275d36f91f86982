"""Values of one column of a request as one of MLflow's data types, nothing cast silently."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from headrace.payloads.errors import InvalidInputError
from headrace.payloads.payload import MISSING

if TYPE_CHECKING:
    import numpy as np

#: MLflow's scalar types, each with the neutral value that stands for it in a made-up request.
TYPES: Final[dict[str, Any]] = {
    "double": 0.0,
    "float": 0.0,
    "long": 0,
    "integer": 0,
    "boolean": False,
    "string": "",
    "binary": "",
    "datetime": "2000-01-01T00:00:00",
}

NUMPY_TYPES: Final = {
    "double": "float64",
    "float": "float32",
    "long": "int64",
    "integer": "int32",
    "boolean": "bool",
}
#: The types of JSON values that fit a column as they are, whatever the value; null only as NaN.
_PLAIN_TYPES: Final[dict[str, frozenset[type]]] = {
    "double": frozenset({float, int, type(None)}),
    "float": frozenset({float, int, type(None)}),
    "long": frozenset({int}),
    "integer": frozenset({int}),
    "boolean": frozenset({bool}),
    "string": frozenset({str}),
}
_WIDE: Final = {**NUMPY_TYPES, "float": "float64", "integer": "int64"}
LARGEST_FLOAT32: Final = 3.4028234663852886e38
_WHOLE = re.compile(r"[+-]?[0-9]{1,400}")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?) ?"
    r"([Zz]|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?)?"
)
#: Whole years that nanoseconds since 1970 can count in 64 bits.
_YEARS: Final = (1678, 2261)
#: What pandas, and so MLflow, reads as a missing value in CSV.
_NULL_TEXTS = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"})


class _Unfit(Exception):
    """A value that its column cannot hold; the text says why."""


def column_of(
    kind: str, values: Sequence[Any], name: str, *, text: bool = False, required: bool = True
) -> np.ndarray:
    """The values as an array of one dimension, of objects where the type needs them.

    Args:
        kind: a type of ``TYPES``, or ``any`` to leave the values as they are.
        values: as they were sent; ``MISSING`` where the row has none.
        name: the column, for errors.
        text: the values are text (CSV).
        required: a missing value is an error; null is one only where the type has no null.

    Raises:
        InvalidInputError: names the column, the row and the value.
    """
    import numpy as np

    if not text:
        array = _at_once(kind, values)
        if array is not None:
            return array
    convert = _CONVERTERS.get(kind, lambda value: value)
    converted = []
    for row, value in enumerate(values):
        try:
            converted.append(_converted(convert, kind, value, text=text, required=required))
        except _Unfit as error:
            raise InvalidInputError(str(error), column=name, row=row) from None
    if kind == "datetime":
        return np.array(converted, dtype="datetime64[ns]")
    if kind in ("double", "float"):
        return np.array([math.nan if v is None else v for v in converted], dtype=NUMPY_TYPES[kind])
    if kind in NUMPY_TYPES and None not in converted:
        return np.array(converted, dtype=NUMPY_TYPES[kind])
    return np.fromiter(converted, dtype=object, count=len(converted))


def _at_once(kind: str, values: Sequence[Any]) -> np.ndarray | None:
    """The column where every value fits without a second look; ``None``: look at each."""
    import numpy as np

    types = set(map(type, values))
    if not types <= _PLAIN_TYPES.get(kind, frozenset()):
        return None
    if kind == "string":
        return np.fromiter(values, dtype=object, count=len(values))
    try:
        array = np.array(values, dtype=_WIDE[kind])
    except OverflowError:
        return None  # a whole number beyond 64 bits
    if kind == "integer" and len(array) and not -(2**31) <= array.min() <= array.max() < 2**31:
        return None
    if kind == "float":
        if (np.abs(array) > LARGEST_FLOAT32).any():
            return None
        return array.astype(np.float32)
    return array.astype(np.int32) if kind == "integer" else array


def _converted(
    convert: Callable[[Any], Any], kind: str, value: Any, *, text: bool, required: bool
) -> Any:
    if text and value in _NULL_TEXTS:
        value = None
    if value is MISSING:
        if required:
            raise _Unfit("the value is missing")
        value = None
    elif value is None and required and kind in ("long", "integer", "boolean"):
        raise _Unfit(f"null is no {kind}")
    if value is None:
        return None
    if text and kind in _FROM_TEXT:
        value = _FROM_TEXT[kind](value.strip())
    return convert(value)


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else shown[:37] + "..."


def _number_of_text(text: str) -> Any:
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


def _boolean_of_text(text: str) -> Any:
    return {"true": True, "false": False}.get(text.lower(), text)


_FROM_TEXT: Final[dict[str, Callable[[str], Any]]] = {
    "double": _number_of_text,
    "float": _number_of_text,
    "long": _number_of_text,
    "integer": _number_of_text,
    "boolean": _boolean_of_text,
}


def _double(value: Any) -> float:
    if type(value) not in (int, float):
        raise _Unfit(f"{_shown(value)} is no number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise _Unfit("the number is too large for a double")
    return number


def _float(value: Any) -> float:
    number = _double(value)
    if abs(number) > LARGEST_FLOAT32:
        raise _Unfit(f"{_shown(value)} is too large for a float")
    return number


def _whole(value: Any, bits: int) -> int:
    if type(value) is not int and not (type(value) is float and value.is_integer()):
        raise _Unfit(f"{_shown(value)} is no whole number")
    # The lowest whole number is none as a double: what is lower would round to it.
    lowest = -(2 ** (bits - 1))
    if not lowest <= value < -lowest or (value == lowest and bits == 64 and type(value) is float):
        raise _Unfit(f"the number does not fit in {bits} bits")
    return int(value)


def _long(value: Any) -> int:
    return _whole(value, 64)


def _integer(value: Any) -> int:
    return _whole(value, 32)


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise _Unfit(f"{_shown(value)} is neither true nor false")
    return value


def _string(value: Any) -> str:
    if type(value) is not str:
        raise _Unfit(f"{_shown(value)} is no text")
    return value


def _binary(value: Any) -> bytes:
    if type(value) is bytes:
        return value  # of a protocol that has bytes
    if type(value) is not str:
        raise _Unfit(f"{_shown(value)} is no Base64 text")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise _Unfit(f"{_shown(value)} is no Base64 text") from None


def _datetime(value: Any) -> Any:
    """The moment without its zone, in UTC: what MLflow's ``datetime`` is."""
    import numpy as np

    match = _MOMENT.fullmatch(value) if type(value) is str else None
    try:
        if match is None or not _YEARS[0] <= int(value[:4]) <= _YEARS[1]:
            raise ValueError
        day, clock, zone = match.groups()
        moment = np.datetime64(f"{day}T{clock or '00:00'}".replace(",", "."), "ns")
    except ValueError:
        raise _Unfit(f"{_shown(value)} is no ISO 8601 time") from None
    if zone and zone not in "Zz":
        minutes = int(zone[1:3]) * 60 + int(zone[-2:] if len(zone) > 3 else 0)
        moment -= np.timedelta64(minutes if zone[0] == "+" else -minutes, "m")
    return moment


_CONVERTERS: Final[dict[str, Callable[[Any], Any]]] = {
    "double": _double,
    "float": _float,
    "long": _long,
    "integer": _integer,
    "boolean": _boolean,
    "string": _string,
    "binary": _binary,
    "datetime": _datetime,
}
