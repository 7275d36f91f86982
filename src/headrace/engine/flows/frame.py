"""What is known of a relation on the way from its reads to its result: where each column is from.

Every step of a plan maps frames to a frame. Where a step is not understood, a column comes from
everything below it: an answer can hold an origin too many, and never one too few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from headrace.catalog.operation import How


class Origin(NamedTuple):
    """A column of a read that something came from.

    Attributes:
        leaf: plan id of the read.
        column: its name as the read has it; ``None``: which rows there are.
        how: see ``headrace.catalog.ColumnFlow``.
    """

    leaf: int
    column: str | None
    how: How


Origins = frozenset[Origin]
NOTHING: Final[Origins] = frozenset()


def indirect(origins: Iterable[Origin]) -> Origins:
    """The same origins, of something that their values only decide on."""
    return frozenset(
        Origin(each.leaf, each.column, "indirect") if each.how == "direct" else each
        for each in origins
    )


def unknown(origins: Iterable[Origin]) -> Origins:
    """The same origins, seen by code that cannot be looked into."""
    return frozenset(
        each if each.column is None and each.how != "unknown" else each._replace(how="unknown")
        for each in origins
    )


@dataclass(frozen=True)
class Leaf:
    """A read.

    Attributes:
        id: its plan id.
        names: its columns, asked for where the order or a choice depends on them; ``None``
            where only running it could tell.
    """

    id: int
    names: Callable[[], Sequence[str] | None]


@dataclass(frozen=True)
class Col:
    """A column, or a place that any number of columns can take.

    Attributes:
        name: as the relation has it; ``None`` where the engine makes one up.
        origins: where its values are from.
        qualifiers: lower-case names of relations that can stand before its name.
        many: it stands for columns that are not told apart.
        leaves: reads whose columns these are, each under its own name.
    """

    name: str | None
    origins: Origins = NOTHING
    qualifiers: frozenset[str] = frozenset()
    many: bool = False
    leaves: tuple[Leaf, ...] = ()

    @property
    def everything(self) -> Origins:
        """The origins of all that it stands for."""
        if not self.leaves:
            return self.origins
        return self.origins | {Origin(leaf.id, None, "unknown") for leaf in self.leaves}

    def named(self, name: str) -> Origins:
        """The origins of the column of that name that it stands for."""
        if not self.leaves:
            return self.origins
        return self.origins | {
            Origin(leaf.id, _spelled(leaf, name), "direct") for leaf in self.leaves
        }

    def can_be(self, name: str) -> bool:
        """Whether a column of that name may be among those that it stands for."""
        if self.name is not None and not self.many:
            return self.name.lower() == name
        for leaf in self.leaves:
            names = leaf.names()
            if names is None or any(each.lower() == name for each in names):
                return True
        return not self.leaves


def _spelled(leaf: Leaf, name: str) -> str:
    names = leaf.names() or ()
    return next((each for each in names if each.lower() == name.lower()), name)


@dataclass(frozen=True)
class Frame:
    """A relation.

    Attributes:
        columns: in order.
        rows: what decides which rows there are.
        order: what decides their order, which counts once a limit or the like depends on it.
    """

    columns: tuple[Col, ...]
    rows: Origins = NOTHING
    order: Origins = field(default=NOTHING)

    @cached_property
    def _named(self) -> dict[str, list[Col]]:
        found: dict[str, list[Col]] = {}
        for each in self.columns:
            if each.name is not None:
                found.setdefault(each.name.lower(), []).append(each)
        return found

    @cached_property
    def _vague(self) -> list[Col]:
        return [each for each in self.columns if each.name is None]

    @cached_property
    def everything(self) -> Origins:
        """The origins of all columns."""
        return union(each.everything for each in self.columns)

    def candidates(self, parts: Sequence[str]) -> list[Col]:
        """The columns that a name can mean; more than one where it is ambiguous.

        Args:
            parts: ``table``, ``column``, ``field`` in lower case, any but the column left out.
        """
        for at in range(min(len(parts) - 1, 3), 0, -1):
            qualified = [
                each for each in self._named.get(parts[at], ()) if parts[at - 1] in each.qualifiers
            ]
            if qualified:
                return qualified
        plain = self._named.get(parts[0])
        return list(plain) if plain else []

    def find(self, parts: Sequence[str]) -> Origins | None:
        """The origins of the column that a name means; ``None`` where it is none of these."""
        found = self.candidates(parts)
        if found:
            return union(each.named(each.name or "") for each in found)
        at = next((i for i in range(len(parts) - 1, 0, -1) if self.has_alias(parts[i - 1])), 0)
        name = parts[at]
        possible = [
            each
            for each in self._vague
            if (not at or parts[at - 1] in each.qualifiers) and each.can_be(name)
        ]
        if not possible:
            return None
        origins = union(each.named(name) for each in possible)
        return origins if len(possible) == 1 else unknown(origins)

    def has_alias(self, name: str) -> bool:
        """Whether the name can stand before names of columns."""
        return any(name in each.qualifiers for each in self.columns)

    def of_alias(self, name: str) -> tuple[Col, ...]:
        """The columns that ``name.*`` means."""
        return tuple(each for each in self.columns if name in each.qualifiers)

    def aliased(self, *names: str) -> Frame:
        """The relation under another name."""
        given = frozenset(name.lower() for name in names)
        return replace(
            self, columns=tuple(replace(each, qualifiers=given) for each in self.columns)
        )

    def renamed(self, names: Sequence[str]) -> Frame:
        """The relation with other names for all of its columns, in order."""
        columns = self.spread(len(names))
        if columns is None:
            everything = unknown(self.everything)
            columns = [Col(name, everything) for name in names]
        given = [replace(each, name=name) for each, name in zip(columns, names, strict=True)]
        return replace(self, columns=tuple(given))

    def spread(self, count: int) -> list[Col] | None:
        """Exactly so many columns, each for one; ``None`` where the places cannot be told."""
        places: list[Col] = []
        for each in self.columns:
            names = each.leaves[0].names() if len(each.leaves) == 1 and each.many else None
            if names is not None:
                places += [Col(name, each.named(name), each.qualifiers) for name in names]
            else:
                places.append(each)
        vague = [index for index, each in enumerate(places) if each.many]
        if len(vague) == 1 and not places[vague[0]].leaves:
            at, more = vague[0], count - len(places) + 1
            places[at : at + 1] = [replace(places[at], many=False)] * max(more, 0)
            vague = []
        return places if len(places) == count and not vague else None

    def filtered(self, by: Origins) -> Frame:
        """The relation, of which values of these decide which rows there are."""
        return replace(self, rows=self.rows | indirect(by))

    def cut(self) -> Frame:
        """The relation, with an end that depends on the order of its rows."""
        return replace(self, rows=self.rows | self.order)


def union(parts: Iterable[Origins]) -> Origins:
    """All origins of the parts."""
    return NOTHING.union(*parts)


def constants(names: Iterable[str] = ()) -> Frame:
    """Rows that come from no read; without names, of columns that are not known."""
    columns = tuple(Col(name) for name in names)
    return Frame(columns or (Col(None, many=True),))


def read(leaf: Leaf, *aliases: str) -> Frame:
    """A read: each column comes from the one of its name."""
    names = leaf.names()
    given = frozenset(each.lower() for each in aliases)
    rows = frozenset({Origin(leaf.id, None, "direct")})
    if names is None:
        return Frame((Col(None, qualifiers=given, many=True, leaves=(leaf,)),), rows)
    columns = [Col(name, frozenset({Origin(leaf.id, name, "direct")}), given) for name in names]
    return Frame(tuple(columns), rows)


def joined(
    left: Frame, right: Frame, condition: Origins, using: Sequence[str] = (), kind: str = "inner"
) -> Frame:
    """Two relations side by side, or the rows of the left one that meet the right one or do not.

    Args:
        left: first columns.
        right: the columns after them.
        condition: what the condition looks at.
        using: columns of both that must agree.
        kind: ``semi`` and ``anti`` keep the columns of the left side alone.
    """
    keys = [(left.find([name.lower()]), right.find([name.lower()])) for name in using]
    by = condition | union(
        (left.everything if one is None else one) | (right.everything if other is None else other)
        for one, other in keys
    )
    rows = left.rows | right.rows | indirect(by)
    if kind in ("semi", "anti"):
        return Frame(left.columns, left.rows | indirect(right.rows) | indirect(by), left.order)
    shared = {name.lower() for name in using}
    merged = [
        Col(
            name,
            (one or NOTHING) | (other or NOTHING),
            union_of_names(left.candidates([name.lower()]) + right.candidates([name.lower()])),
        )
        for name, (one, other) in zip(using, keys, strict=True)
    ]
    others = [
        each
        for each in (*left.columns, *right.columns)
        if each.name is None or each.name.lower() not in shared
    ]
    return Frame((*merged, *others), rows, left.order | right.order)


def union_of_names(columns: Iterable[Col]) -> frozenset[str]:
    """All qualifiers of the columns."""
    return frozenset[str]().union(*(each.qualifiers for each in columns))


def combined(
    left: Frame, right: Frame, *, kind: str, by_name: bool = False, distinct: bool = True
) -> Frame:
    """A set operation: columns meet by position, or by name.

    Args:
        left: gives the names.
        right: its columns meet those.
        kind: ``union``, ``intersect`` or ``except``.
        by_name: columns meet by name; a side may lack some.
        distinct: equal rows become one.
    """
    pairs = _by_name(left, right) if by_name else _by_position(left, right)
    columns = tuple(
        one
        if kind == "except"
        else replace(one, origins=one.origins | other, qualifiers=frozenset())
        for one, other in pairs
    )
    rows = left.rows | right.rows
    if kind != "union" or distinct:
        rows |= indirect(left.everything) | indirect(right.everything)
    return Frame(columns, rows)


def _by_name(left: Frame, right: Frame) -> list[tuple[Col, Origins]]:
    met = [
        (each, right.find([each.name.lower()]) or NOTHING)
        if each.name is not None
        else (each, NOTHING if each.leaves else unknown(right.everything))
        for each in left.columns
    ]
    names = {each.name.lower() for each in left.columns if each.name is not None}
    for each in right.columns:
        if each.name is None:
            met.append((each, NOTHING))
        elif each.name.lower() not in names:
            met.append((each, left.find([each.name.lower()]) or NOTHING))
    return met


def _by_position(left: Frame, right: Frame) -> list[tuple[Col, Origins]]:
    count = len(left.columns)
    others = None if any(each.many for each in left.columns) else right.spread(count)
    ours: Sequence[Col] | None = left.columns
    if others is None and not any(each.many for each in right.columns):
        others = list(right.columns)
        ours = left.spread(len(others))
    if others is None or ours is None:
        everything = unknown(right.everything)
        return [(each, everything) for each in left.columns]
    return [
        (one if one.name is not None else replace(one, name=other.name), other.everything)
        for one, other in zip(ours, others, strict=True)
    ]


def written(frame: Frame, names: Sequence[str] | None) -> list[tuple[str | None, Origins]]:
    """The result of a plan, by the columns that were written.

    Args:
        frame: the result.
        names: the written columns in order; ``None`` where they are not known.

    Returns:
        Origins of each column, and under ``None`` of the rows.
    """
    found: list[tuple[str | None, Origins]] = [(None, frame.rows)]
    if names is None:
        for each in frame.columns:
            vague = each.name is None
            found.append((each.name, unknown(each.everything) if vague else each.everything))
        return found
    columns = frame.spread(len(names))
    if columns is not None:
        pairs = zip(names, columns, strict=True)
        return found + [(name, each.named(each.name or name)) for name, each in pairs]
    everything = unknown(frame.everything)
    for name in names:
        origins = frame.find([name.lower()])
        found.append((name, everything if origins is None else origins))
    return found
