"""Values of one column of a request as one of MLflow's data types, nothing cast silently."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from headrace.payloads.codec import MISSING
from headrace.payloads.errors import InvalidInputError

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

_NUMPY: Final = {
    "double": "float64",
    "float": "float32",
    "long": "int64",
    "integer": "int32",
    "boolean": "bool",
}
_LARGEST_FLOAT32: Final = 3.4028234663852886e38
_WHOLE = re.compile(r"[+-]?[0-9]{1,400}")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
#: What pandas, and so MLflow, reads as a missing value in CSV.
_NULL_TEXTS = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"})


class _Unfit(Exception):
    """A value that its column cannot hold; the text says why."""


def column_of(
    kind: str, values: Sequence[Any], name: str, *, text: bool = False, required: bool = True
) -> Any:
    """A numpy array, or a Series of objects, of the values.

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
    import pandas as pd

    if kind == "double" and set(map(type, values)) <= {float}:
        return np.array(values, dtype=np.float64)
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
        return np.array([math.nan if v is None else v for v in converted], dtype=_NUMPY[kind])
    if kind in _NUMPY and None not in converted:
        return np.array(converted, dtype=_NUMPY[kind])
    return pd.Series(converted, dtype=object)


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
    if abs(number) > _LARGEST_FLOAT32:
        raise _Unfit(f"{_shown(value)} is too large for a float")
    return number


def _whole(value: Any, bits: int) -> int:
    if type(value) is not int and not (type(value) is float and value.is_integer()):
        raise _Unfit(f"{_shown(value)} is no whole number")
    if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
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
    if type(value) is not str:
        raise _Unfit(f"{_shown(value)} is no Base64 text")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise _Unfit(f"{_shown(value)} is no Base64 text") from None


def _datetime(value: Any) -> Any:
    """The moment without its zone, in UTC: what MLflow's ``datetime`` is."""
    import pandas as pd

    if type(value) is not str:
        raise _Unfit(f"{_shown(value)} is no ISO 8601 time")
    try:
        moment = pd.Timestamp(value)
    except (ValueError, OverflowError):
        raise _Unfit(f"{_shown(value)} is no ISO 8601 time") from None
    if moment.tzinfo is not None:
        moment = moment.tz_convert("UTC").tz_localize(None)
    return moment.to_datetime64()


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
