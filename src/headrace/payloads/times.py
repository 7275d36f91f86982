"""Moments as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def iso_times(moments: np.ndarray) -> list[str | None]:
    """ISO 8601 of ``datetime64`` values as pandas writes it: the fraction only where there is one.

    NaT is ``None``.
    """
    import numpy as np

    return [
        _short(text) for text in np.datetime_as_string(moments.astype("datetime64[ns]")).tolist()
    ]


def _short(text: str) -> str | None:
    if text == "NaT":
        return None
    seconds, _, fraction = text.partition(".")
    return f"{seconds}.{fraction.removesuffix('000')}" if fraction.strip("0") else seconds
