"""A picture of what lies around an object: boxes, and arrows from causes to effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from headrace.catalog.operation import How

BoxKind = Literal["table", "files", "model", "endpoint"]
Side = Literal["self", "up", "down"]

#: Version of the JSON shape of ``Picture.as_json``; grows when a field changes its meaning.
JSON_VERSION: Final = 1


@dataclass(frozen=True)
class Box:
    """One thing, or several that are alike.

    Attributes:
        id: unique in the picture, and the same each time.
        kind: what it is.
        title: its name.
        side: on the way up to the causes, or down to the effects.
        distance: operations between it and the subject.
        detail: a few words: versions, or a count of files.
        columns: those on the way, and how they are; ``None`` for which rows there are.
        facts: what is known of it; JSON values.
    """

    id: str
    kind: BoxKind
    title: str
    side: Side
    distance: int
    detail: str = ""
    columns: Mapping[str | None, How] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Arrow:
    """Data went from ``source`` to ``target``.

    Attributes:
        source: id of a box.
        target: id of another.
        label: by what, such as ``3 refreshes``.
        how: the surest way of a column along it, where columns were asked for.
        pairs: written column, column it came from, and how.
    """

    source: str
    target: str
    label: str
    how: How | None = None
    pairs: tuple[tuple[str | None, str | None, How], ...] = ()


@dataclass(frozen=True)
class Picture:
    """What lies around a subject.

    Attributes:
        subject: id of its box.
        title: what was asked for.
        column: the column that was followed, if one was.
        boxes: the subject first, then by distance.
        arrows: between them.
        sides: those that were asked for.
        cut: sides that go on beyond the depth asked for.
    """

    subject: str
    title: str
    column: str | None
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    sides: tuple[Side, ...] = ("up", "down")
    cut: tuple[Side, ...] = ()

    def box(self, box_id: str) -> Box:
        """The box of that id.

        Raises:
            KeyError: there is none.
        """
        for each in self.boxes:
            if each.id == box_id:
                return each
        raise KeyError(box_id)

    def neighbours(self, box_id: str, side: Side) -> list[tuple[Arrow, Box]]:
        """The boxes next to one, further away from the subject on a side."""
        known = {each.id: each for each in self.boxes}
        if side == "up":
            return [(a, known[a.source]) for a in self.arrows if a.target == box_id]
        return [(a, known[a.target]) for a in self.arrows if a.source == box_id]

    def as_json(self) -> dict[str, Any]:
        """The documented shape: ``version``, ``subject``, ``boxes``, ``arrows``."""
        return {
            "version": JSON_VERSION,
            "subject": self.subject,
            "title": self.title,
            "column": self.column,
            "boxes": [
                {
                    "id": each.id,
                    "kind": each.kind,
                    "title": each.title,
                    "side": each.side,
                    "distance": each.distance,
                    "detail": each.detail,
                    "columns": [
                        {"column": column, "how": how} for column, how in each.columns.items()
                    ],
                    **each.facts,
                }
                for each in self.boxes
            ],
            "arrows": [
                {
                    "source": each.source,
                    "target": each.target,
                    "label": each.label,
                    "how": each.how,
                    "columns": [
                        {"column": column, "from": source, "how": how}
                        for column, source, how in each.pairs
                    ],
                }
                for each in self.arrows
            ],
            "sides": list(self.sides),
            "cut": list(self.cut),
        }
