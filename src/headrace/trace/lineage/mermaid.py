"""A picture as a Mermaid flow chart, for a pull request or a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.trace.lineage.text import columns_text
from headrace.trace.mermaid import escaped

if TYPE_CHECKING:
    from headrace.trace.lineage.picture import Box, Picture

_SHAPES: Final = {
    "table": ("[(", ")]"),
    "files": ("[/", "/]"),
    "model": ("{{", "}}"),
    "endpoint": ("([", "])"),
}
_LINES: Final = {None: "-->", "direct": "-->", "indirect": "-.->", "unknown": "-.->"}


def mermaid(picture: Picture) -> str:
    """The text of a chart from causes on the left to effects on the right."""
    names = {box.id: f"n{index}" for index, box in enumerate(picture.boxes)}
    lines = ["flowchart LR"]
    lines += [f"  {names[box.id]}{_box(box)}" for box in picture.boxes]
    for arrow in picture.arrows:
        line, label = _LINES[arrow.how], escaped(arrow.label)
        lines.append(f'  {names[arrow.source]} {line}|"{label}"| {names[arrow.target]}')
    lines.append(f"  style {names[picture.subject]} stroke-width:3px")
    return "\n".join(lines) + "\n"


def _box(box: Box) -> str:
    opening, closing = _SHAPES[box.kind]
    said = [box.title, box.detail, columns_text(box.columns, 6) if box.columns else ""]
    text = "<br>".join(escaped(each) for each in said if each)
    return f'{opening}"{text}"{closing}'
