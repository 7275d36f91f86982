"""A picture for a terminal: two trees, the causes and the effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.catalog.reach.columns import EVERY
from headrace.trace.render import plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    from headrace.catalog.operation import How
    from headrace.trace.lineage.picture import Arrow, Box, Picture, Side

_HEADS: Final[dict[Side, str]] = {"up": "came from", "down": "went into"}
_COLOURS: Final = {"table": "cyan", "files": "yellow", "model": "magenta", "endpoint": "green"}
_MARKS: Final[dict[How, str]] = {"direct": "", "indirect": "~", "unknown": "?"}
_SHOWN_COLUMNS: Final = 12


def print_picture(picture: Picture, console: Console | None = None) -> None:
    """Print the picture; without colours and at full width where output is a pipe."""
    from rich.console import Console
    from rich.text import Text

    console = console or Console()
    is_terminal = console.is_terminal
    if not is_terminal:
        console = Console(file=console.file, width=10_000, no_color=True, highlight=False)
    console.print(_line(picture.box(picture.subject), None), soft_wrap=not is_terminal)
    for side in picture.sides:
        console.print(tree(picture, side), soft_wrap=not is_terminal)
    if picture.column is not None:
        console.print(
            Text(
                "columns: as it is by value, ~ it decides on rows or values, ? code saw it", "dim"
            ),
            soft_wrap=not is_terminal,
        )
    for side in picture.cut:
        console.print(Text(f"more {_HEADS[side]} it: raise --{side}", "dim"))


def tree(picture: Picture, side: Side) -> Tree:
    """One side of the picture. What is reached twice is shown once, and named again."""
    from rich.text import Text
    from rich.tree import Tree

    top = Tree(Text(_HEADS[side], style="bold"))
    seen = {picture.subject}
    _grow(picture, top, picture.subject, side, seen)
    if not top.children:
        top.add(Text("nothing that was recorded", style="dim"))
    return top


def _grow(picture: Picture, parent: Tree, box_id: str, side: Side, seen: set[str]) -> None:

    found = sorted(picture.neighbours(box_id, side), key=lambda pair: pair[1].title)
    for arrow, box in found:
        if box.side == "self" or (box.side != side and box.id not in seen):
            continue
        line = _line(box, arrow)
        if box.id in seen or box.distance <= picture.box(box_id).distance:
            # Nearer to the subject it has a place of its own.
            line.append(f"  (see {'above' if box.id in seen else 'below'})", style="dim")
            parent.add(line)
            continue
        seen.add(box.id)
        _grow(picture, parent.add(line), box.id, side, seen)


def _line(box: Box, arrow: Arrow | None) -> Text:
    from rich.text import Text

    line = Text(box.title, style=f"bold {_COLOURS[box.kind]}")
    kind = box.kind if box.kind in ("model", "endpoint") else ""
    said = [each for each in (kind, box.detail, arrow.label if arrow else "") if each]
    if said:
        line.append("  " + ", ".join(said), style="not bold dim")
    if box.columns and (box.kind in ("table", "files")):
        line.append("  " + columns_text(box.columns), style="not bold")
    return line


def columns_text(columns: Mapping[str | None, How], most: int = _SHOWN_COLUMNS) -> str:
    """The columns of a box: the surest first, with their marks.

    >>> columns_text({"a": "direct", "b": "indirect", None: "indirect"})
    'a ~b'
    >>> columns_text({"*": "unknown"}), columns_text({None: "indirect"})
    ('?any', 'which rows there are')
    """
    order: dict[How, int] = {"direct": 0, "indirect": 1, "unknown": 2}
    named = sorted(
        ((column, how) for column, how in columns.items() if column is not None),
        key=lambda each: (order[each[1]], each[0]),
    )
    if not named:
        return "which rows there are"
    shown = [
        f"{_MARKS[how]}{column if column != EVERY else 'any' if how == 'unknown' else 'all'}"
        for column, how in named[:most]
    ]
    more = len(named) - most
    return " ".join(shown) + (f" and {plural(more, 'column')} more" if more > 0 else "")
