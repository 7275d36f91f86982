"""Table properties that a dataset may declare."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from headrace.pipeline.errors import DefinitionError, UnsupportedDefinitionError

if TYPE_CHECKING:
    from headrace.pipeline.elements import Location

_INTERVAL: Final = r"(?i)interval \d+ (second|minute|hour|day|week)s?"

# Properties of Delta change what writers must do: only those that every writer of ours heeds.
_DELTA: Final = {
    "delta.logretentionduration": _INTERVAL,
    "delta.deletedfileretentionduration": _INTERVAL,
    "delta.checkpointinterval": r"[1-9]\d*",
}


def check_properties(properties: Mapping[str, str], location: Location) -> None:
    """Refuse properties that would not be kept; any without ``delta.`` is free text.

    Raises:
        UnsupportedDefinitionError: a property of Delta that is not in the list.
        DefinitionError: a value that Delta does not take.
    """
    for key, value in properties.items():
        if not key.lower().startswith("delta."):
            continue
        pattern = _DELTA.get(key.lower())
        if pattern is None:
            raise UnsupportedDefinitionError(
                f"The table property {key}", location, "leave the property out"
            )
        if not re.fullmatch(pattern, value):
            raise DefinitionError(
                f'The table property {key} cannot be "{value}".',
                location,
                "it must be a number" if pattern[0] == "[" else "it must be like: interval 30 days",
            )
