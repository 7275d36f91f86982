"""Shares of a whole, written as percentages: ``1%``, ``0.5%``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer


def read_percent(value: object) -> float:
    """The share that a percentage names, such as 0.01 for ``1%``.

    Raises:
        ValueError: it is no text with a percent sign. A bare number would leave open whether 1
            is all or one in a hundred.
    """
    if not isinstance(value, str):
        raise ValueError("a percentage is text with its sign, such as 1% or 0.5%")
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value)
    if match is None:
        raise ValueError(f'"{value}" is no percentage; write it as 1% or 0.5%')
    return float(match[1]) / 100


Percent = Annotated[
    float,
    BeforeValidator(read_percent, json_schema_input_type=str),
    PlainSerializer(lambda share: f"{share * 100:.10g}%", return_type=str),
]
"""A share, written such as ``1%`` or ``0.5%``; what bounds it has, its field says."""
