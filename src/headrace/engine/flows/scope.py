"""What names in an expression mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from headrace.engine.flows.frame import Frame, Origins, union, unknown

_PART: Final = re.compile(r"`((?:[^`]|``)*)`|([^.`]+)")

#: Functions that make several rows of one.
GENERATORS: Final = frozenset(
    {
        "explode", "explode_outer", "inline", "inline_outer", "json_tuple", "posexplode",
        "posexplode_outer", "stack", "variant_explode", "variant_explode_outer",
    }
)  # fmt: skip

#: Functions whose value depends on the order in which rows come.
ORDERED: Final = frozenset(
    {
        "any_value", "array_agg", "collect_list", "collect_set", "first", "first_value", "last",
        "last_value", "listagg", "max_by", "min_by", "mode", "monotonically_increasing_id",
        "row_number", "string_agg",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Scope:
    """The relations whose columns an expression can name.

    Attributes:
        frame: those of the query itself.
        outer: those of the query around it.
        aliases: further names, such as those that a select list has made so far.
        tables: relations that SQL text can name, by lower-case name.
        hidden: lower-case names of lambda variables, which are no columns.
    """

    frame: Frame
    outer: Scope | None = None
    aliases: Mapping[str, Origins] = field(default_factory=dict)
    tables: Mapping[str, Frame] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()

    def find(self, parts: Sequence[str]) -> Origins:
        """The origins of what a name means; of everything where it cannot be told."""
        scope: Scope | None = self
        while scope is not None:
            found = scope.frame.find(parts)
            if found is None:
                found = scope.aliases.get(parts[0])
            if found is not None:
                return found
            scope = scope.outer
        return self.everything

    @property
    def everything(self) -> Origins:
        """The origins of every column that can be named, as of a name that is not understood."""
        scope: Scope | None = self
        found: list[Origins] = []
        while scope is not None:
            found.append(scope.frame.everything)
            scope = scope.outer
        return unknown(union(found))

    def inside(self, frame: Frame) -> Scope:
        """The scope of a query inside this one."""
        return Scope(frame, self, {}, self.tables, self.hidden)

    def over(self, frame: Frame) -> Scope:
        """The same scope with other relations of the query itself."""
        return replace(self, frame=frame)


def parts(identifier: str) -> list[str]:
    """The parts of ``table.column.field`` in lower case."""
    return [
        (quoted.replace("``", "`") or bare).lower() for quoted, bare in _PART.findall(identifier)
    ]


def last_part(identifier: str) -> str:
    """The last part of a name, as written."""
    found = _PART.findall(identifier)
    return (found[-1][0].replace("``", "`") or found[-1][1]) if found else identifier
