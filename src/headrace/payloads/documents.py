"""Bodies as JSON documents: fast where they are good, and words for what is wrong where not."""

from __future__ import annotations

import json
import math
from typing import Any, Final

import orjson

from headrace.payloads.errors import MalformedRequestError

MAX_DEPTH: Final = 32


def read_json(body: bytes) -> Any:
    """The document of a body in UTF-8.

    Whole numbers that do not fit in 64 bits are doubles, unless no double can hold them.

    Raises:
        MalformedRequestError: it is no JSON, or nested deeper than ``MAX_DEPTH`` levels.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _read_slowly(utf8(body))
    brackets = body.count(b"[") + body.count(b"{")
    if brackets > MAX_DEPTH and not _is_flat(document, brackets):
        check_depth(document)
    return document


def utf8(body: bytes) -> str:
    """The text of a body.

    Raises:
        MalformedRequestError: it is not UTF-8, or empty.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedRequestError(f"byte {error.start} is not valid UTF-8") from None
    if not text.strip():
        raise MalformedRequestError("the body is empty")
    return text


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value"}
    return "null" if value is None else names.get(type(value), "a number")


def check_depth(document: Any) -> None:
    """Refuse what is nested deeper than ``MAX_DEPTH`` levels.

    Raises:
        MalformedRequestError: it is.
    """
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for value in level
            if isinstance(value, list | dict)
            for child in (value.values() if isinstance(value, dict) else value)
            if isinstance(child, list | dict)
        ]
        if not level:
            return
    raise MalformedRequestError(f"it is nested deeper than {MAX_DEPTH} levels")


def _is_flat(document: Any, brackets: int) -> bool:
    """Whether so few brackets are left beside one a row that none can be nested too deep."""
    if type(document) is not dict:
        return False
    rows = 0
    for value in document.values():
        if type(value) is dict:
            rows = max(rows, _rows(value.get("data")), _rows(list(value.values())))
        else:
            rows = max(rows, _rows(value))
    # At most one row's bracket is in the deepest path, with all that are no row's.
    return brackets - rows + 1 <= MAX_DEPTH


def _rows(value: Any) -> int:
    """Entries of a list, if all of them are lists or objects."""
    return len(value) if type(value) is list and {list, dict} >= set(map(type, value)) else 0


def _read_slowly(text: str) -> Any:
    """Read with the standard library, whose errors say where and can be told apart."""
    try:
        document = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise MalformedRequestError(
            f"{error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise MalformedRequestError(f"it is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        # Python refuses to read integers of thousands of digits.
        raise MalformedRequestError(str(error).partition(";")[0]) from None
    check_depth(document)
    if "\\u" in text:
        _check_surrogates(document)
    return document


def _refuse_constant(name: str) -> float:
    raise MalformedRequestError(f"{name} is not JSON", next="send null for a value that is missing")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise MalformedRequestError(f"the number {text[:40]} is too large for a double")
    return value


def _check_surrogates(document: Any) -> None:
    # JSON can spell half of a surrogate pair, which no UTF-8 file can hold.
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise MalformedRequestError("it has a lone surrogate, which is no character") from None
