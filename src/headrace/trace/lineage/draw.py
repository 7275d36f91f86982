"""A picture as SVG: one file, legible on light and dark ground."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from headrace.trace.lineage.layout import Layout, Place, arrange
from headrace.trace.lineage.text import columns_text

if TYPE_CHECKING:
    from headrace.trace.lineage.picture import Arrow, Box, Picture

_WIDTH: Final = 232
_HEIGHT: Final = 46
_GAP: Final = 84
_ROW: Final = 62
_MARGIN: Final = 28
_CHARACTERS: Final = 31

_STYLE: Final = """
:root { color-scheme: light dark; }
.ground { fill: #ffffff; }
.box { stroke-width: 1.2; }
.table { fill: #eef4fb; stroke: #5b8dbf; } .files { fill: #fbf5e6; stroke: #b9913a; }
.model { fill: #f6eefb; stroke: #9464b8; } .endpoint { fill: #ebf7ee; stroke: #4d9a62; }
.self { stroke-width: 3; }
text { font: 12px ui-sans-serif, system-ui, "Helvetica Neue", Arial, sans-serif; fill: #1c2733; }
.title { font-weight: 600; } .detail { font-size: 10.5px; fill: #5a6876; }
.head { font-size: 15px; font-weight: 600; }
.arrow { fill: none; stroke: #8794a1; stroke-width: 1.3; }
.indirect { stroke-dasharray: 5 4; } .unknown { stroke-dasharray: 1.5 4; stroke-linecap: round; }
.tip { fill: #8794a1; }
@media (prefers-color-scheme: dark) {
  .ground { fill: #14191f; }
  .table { fill: #182636; stroke: #5f93c6; } .files { fill: #2a2413; stroke: #b9913a; }
  .model { fill: #261b30; stroke: #a77fc6; } .endpoint { fill: #162a1c; stroke: #5cab72; }
  text { fill: #e6ebf0; } .detail { fill: #9aa8b5; }
  .arrow { stroke: #66737f; } .tip { fill: #66737f; }
}
"""


def draw(picture: Picture) -> str:
    """The text of the drawing, causes on the left and effects on the right."""
    layout = arrange(
        [box.id for box in picture.boxes],
        [(arrow.source, arrow.target) for arrow in picture.arrows],
    )
    layers = len(layout.layers)
    rows = max((row for row in layout.rows.values()), default=0)
    width = 2 * _MARGIN + layers * _WIDTH + (layers - 1) * _GAP
    height = int(2 * _MARGIN + 30 + rows * _ROW + _HEIGHT) + 22
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" role="img">',
        f"<title>Lineage of {escape(picture.title)}</title>",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"'
        ' markerHeight="7" orient="auto"><path class="tip" d="M0 0.5 L8 4 L0 7.5 z"/></marker></defs>',
        f'<rect class="ground" width="{width}" height="{height}"/>',
        f'<text class="head" x="{_MARGIN}" y="{_MARGIN + 6}">Lineage of {escape(picture.title)}</text>',
    ]
    parts += [_arrow(layout, arrow) for arrow in picture.arrows]
    parts += [_box(layout, box) for box in picture.boxes]
    parts.append(_legend(picture, height))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _at(layout: Layout, place: Place) -> tuple[float, float]:
    """Left edge and middle height of a place."""
    x = _MARGIN + layout.of[place] * (_WIDTH + _GAP)
    y = _MARGIN + 30 + layout.rows[place] * _ROW + _HEIGHT / 2
    return x, y


def _box(layout: Layout, box: Box) -> str:
    x, y = _at(layout, box.id)
    own = " self" if box.side == "self" else ""
    top = y - _HEIGHT / 2
    detail = columns_text(box.columns, 8) if box.columns else box.detail
    whole = " | ".join(
        each
        for each in (box.title, box.detail, columns_text(box.columns, 200) if box.columns else "")
        if each
    )
    radius = {"endpoint": 23, "model": 12}.get(box.kind, 5)
    lines = [
        f"<g><title>{escape(whole)}</title>",
        f'<rect class="box {box.kind}{own}" x="{x:.0f}" y="{top:.1f}" width="{_WIDTH}"'
        f' height="{_HEIGHT}" rx="{radius}"/>',
        f'<text class="title" x="{x + 12:.0f}" y="{y + (-3 if detail else 4):.1f}">'
        f"{escape(_short(box.title, _CHARACTERS))}</text>",
    ]
    if detail:
        lines.append(
            f'<text class="detail" x="{x + 12:.0f}" y="{y + 13:.1f}">'
            f"{escape(_short(detail, _CHARACTERS + 3, end=True))}</text>"
        )
    return "\n".join([*lines, "</g>"])


def _arrow(layout: Layout, arrow: Arrow) -> str:
    way = layout.ways[arrow.source, arrow.target]
    back = layout.of[arrow.source] > layout.of[arrow.target]
    x, y = _at(layout, way[0])
    x += 0 if back else _WIDTH
    path = [f"M{x:.0f} {y:.1f}"]
    for place in way[1:]:
        to_x, to_y = _at(layout, place)
        is_point = not isinstance(place, str)
        enter = to_x + (_WIDTH if back else 0)
        middle = (x + enter) / 2
        path.append(f"C{middle:.0f} {y:.1f} {middle:.0f} {to_y:.1f} {enter:.0f} {to_y:.1f}")
        x, y = enter, to_y
        if is_point:
            x = to_x + (0 if back else _WIDTH)
            path.append(f"L{x:.0f} {y:.1f}")
    kind = f" {arrow.how}" if arrow.how in ("indirect", "unknown") else ""
    title = f"<title>{escape(arrow.label)}</title>"
    return f'<path class="arrow{kind}" d="{" ".join(path)}" marker-end="url(#tip)">{title}</path>'


def _legend(picture: Picture, height: float) -> str:
    if picture.column is None:
        return ""
    y = height - 12
    items = [
        ("", "by value"),
        ("indirect", "decides on rows or values"),
        ("unknown", "seen by code"),
    ]
    parts = []
    x = float(_MARGIN)
    for kind, words in items:
        parts.append(f'<path class="arrow {kind}" d="M{x:.0f} {y - 4} L{x + 34:.0f} {y - 4}"/>')
        parts.append(f'<text class="detail" x="{x + 40:.0f}" y="{y}">{words}</text>')
        x += 70 + 6.2 * len(words)
    return "\n".join(parts)


def _short(text: str, most: int, *, end: bool = False) -> str:
    """The text, or its end, as far as it fits: the ends of names and paths tell them apart."""
    if len(text) <= most:
        return text
    return text[: most - 1] + "…" if end else "…" + text[-(most - 1) :]
