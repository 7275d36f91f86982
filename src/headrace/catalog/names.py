"""Three-level names of tables and views."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from headrace.catalog.errors import InvalidNameError

DEFAULT_CATALOG: Final = "main"
DEFAULT_SCHEMA: Final = "default"

_LONGEST_PART: Final = 255  # a part is a directory name
_QUOTED_OR_BARE = re.compile(r"(?:`([^`]*)`|([^.`]*))(\.|\Z)")
_PART = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")


@dataclass(frozen=True, order=True)
class TableName:
    """A qualified name. Parts are lower case: names match without regard to case, as in Spark."""

    catalog: str
    schema: str
    name: str

    def __post_init__(self) -> None:
        for part in (self.catalog, self.schema, self.name):
            _check(part, str(self))

    @classmethod
    def parse(
        cls, text: str, *, catalog: str = DEFAULT_CATALOG, schema: str = DEFAULT_SCHEMA
    ) -> Self:
        """The name that ``table``, ``schema.table`` or ``catalog.schema.table`` stands for.

        Parts may be quoted with backticks. ``catalog`` and ``schema`` fill what is missing.

        Raises:
            InvalidNameError: more than three parts, an empty part, a character other than
                letters, digits, ``_`` and (inside a part) ``-``, or an unclosed backtick.

        >>> str(TableName.parse("Gold.`Features`"))
        'main.gold.features'
        """
        parts = [part.lower() for part in _split(text)]
        if len(parts) > 3:
            raise InvalidNameError(text, f"it has {len(parts)} parts, and a name has at most three")
        for part in parts:
            _check(part, text)
        full = [catalog.lower(), schema.lower()][: 3 - len(parts)] + parts
        return cls(*full)

    def __str__(self) -> str:
        return f"{self.catalog}.{self.schema}.{self.name}"

    @property
    def qualifier(self) -> str:
        """``catalog.schema``."""
        return f"{self.catalog}.{self.schema}"


def _split(text: str) -> list[str]:
    parts = []
    position = 0
    while match := _QUOTED_OR_BARE.match(text, position):
        parts.append(match[2] if match[1] is None else match[1])
        if not match[3]:
            return parts
        position = match.end()
    raise InvalidNameError(text, "a backtick is not closed, or stands inside a part")


def _check(part: str, whole: str) -> None:
    if not part:
        raise InvalidNameError(whole, "a part of it is empty")
    if len(part) > _LONGEST_PART:
        raise InvalidNameError(whole, f"a part of it is longer than {_LONGEST_PART} characters")
    if not _PART.fullmatch(part):
        raise InvalidNameError(
            whole, f'"{part}" has a character other than letters, digits, "_" and "-" inside'
        )
