"""What was found: things, and the links between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from headrace.catalog.operation import How

ThingKind = Literal["table", "path", "model"]
Direction = Literal["up", "down"]


@dataclass(frozen=True, order=True)
class Thing:
    """A table, a path or a model, whatever its version.

    Attributes:
        kind: what it is.
        name: qualified name of a table; absolute path; id of a logged model (``m-...``).
    """

    kind: ThingKind
    name: str


@dataclass(frozen=True)
class Reached:
    """A thing on the way.

    Attributes:
        thing: what it is.
        distance: operations between it and where the way began.
        first: the lowest version that belongs to it; ``None`` where there are none.
        last: the highest; ``None`` where there are none, or where all later ones belong too.
        columns: those on the way, and how they are on it; ``None`` stands for which rows there
            are. Empty where the way was asked for whole things.
    """

    thing: Thing
    distance: int
    first: int | None
    last: int | None
    columns: Mapping[str | None, How] = field(default_factory=dict)


@dataclass(frozen=True)
class Link:
    """Operations that read one thing and wrote another.

    Attributes:
        source: what was read.
        target: what was written.
        operations: how many.
        kinds: kinds of operations, such as ``refresh``.
        last: when the newest of them ended.
        columns: pairs of a written column and the column it came from, where columns were asked
            for; ``None`` for which rows there are.
    """

    source: Thing
    target: Thing
    operations: int
    kinds: tuple[str, ...]
    last: datetime
    columns: tuple[tuple[str | None, str | None, How], ...] = ()


@dataclass(frozen=True)
class Map:
    """What a way up or down found.

    Attributes:
        direction: ``up`` to the causes, ``down`` to the effects.
        things: by thing, the nearest first.
        links: between them.
    """

    direction: Direction
    things: Mapping[Thing, Reached]
    links: tuple[Link, ...]
