"""Spans of time as a project file writes them: ``90s``, ``2m``, ``24h``, ``1d12h``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_UNITS: Final = {
    "ms": "milliseconds",
    "s": "seconds",
    "m": "minutes",
    "h": "hours",
    "d": "days",
    "w": "weeks",
}
_PART: Final = r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)"


def parse_duration(text: str) -> timedelta:
    """Numbers with one of the units ms, s, m, h, d, w.

    >>> parse_duration("1d12h")
    datetime.timedelta(days=1, seconds=43200)

    Raises:
        ValueError: the text has another form, or is too long a time to count.
    """
    if not re.fullmatch(rf"(\s*{_PART})+\s*", text):
        raise ValueError(f'"{text}" is no duration; write it as 500ms, 90s, 2m, 24h or 7d')
    try:
        return sum(
            (timedelta(**{_UNITS[unit]: float(count)}) for count, unit in re.findall(_PART, text)),
            timedelta(),
        )
    except OverflowError:
        raise ValueError(f'"{text}" is too long a duration') from None


def _read(value: object) -> timedelta:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, timedelta):
        return value
    # A bare number would leave open whether it counts seconds, hours or days.
    raise ValueError("a duration is text with a unit, such as 30s or 2m")


def _write(value: timedelta) -> str:
    seconds = value.total_seconds()
    return f"{seconds:.0f}s" if seconds.is_integer() else f"{seconds * 1000:g}ms"


Duration = Annotated[
    timedelta,
    BeforeValidator(_read),
    PlainSerializer(_write, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^(\s*\d+(\.\d+)?\s*(ms|s|m|h|d|w))+\s*$"}),
]
