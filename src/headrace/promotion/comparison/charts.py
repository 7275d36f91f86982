"""Charts of a comparison as SVG, in the colours of the page that holds them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from headrace.gate.findings import Calibration
    from headrace.promotion.comparison.facts import Histogram, Importance

_NUMBER: Final = ".4g"


def _svg(width: int, height: int, label: str, body: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
        f"{''.join(body)}</svg>"
    )


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def interval(gain: float, low: float, high: float, reach: float, state: str) -> str:
    """A gain with its interval about zero, for a cell of a table.

    Args:
        gain, low, high: the numbers.
        reach: the end of the axis on both sides.
        state: ``better``, ``worse`` or ``open``, the class that colours it.
    """
    reach = reach or 1.0

    def at(value: float) -> float:
        return 90 + 84 * max(-1.0, min(1.0, value / reach))

    body = [
        _line(6, 10, 174, 10, "axis"),
        _line(90, 2, 90, 18, "zero"),
        _line(at(low), 10, at(high), 10, f"span {state}"),
        f'<circle cx="{at(gain):.1f}" cy="10" r="4" class="dot {state}"/>',
    ]
    return _svg(180, 20, f"gain {gain:+.3g}, from {low:+.3g} to {high:+.3g}", body)


def reliability(candidate: Calibration, champion: Calibration) -> str:
    """Share of positives by score, both models, beside the line on which they agree."""
    side, left, top = 300, 44, 12
    # A rare class has small scores: the axes end where the scores do.
    most = max(0.01, *(max(each.score, each.share) for each in (*candidate.bins, *champion.bins)))
    step = _step(most / 4)
    most = step * math.ceil(most / step)

    def x(value: float) -> float:
        return left + side * value / most

    def y(value: float) -> float:
        return top + side - side * value / most

    body = [_line(x(0), y(0), x(most), y(most), "ideal")]
    for part in range(round(most / step) + 1):
        value = step * part
        body += [
            _line(x(0), y(value), x(most), y(value), "grid"),
            _text(left - 6, y(value) + 4, f"{value:.2g}", "tick", "end"),
            _text(x(value), top + side + 16, f"{value:.2g}", "tick", "middle"),
        ]
    for kind, table in (("champion", champion), ("candidate", candidate)):
        points = " ".join(f"{x(each.score):.1f},{y(each.share):.1f}" for each in table.bins)
        body.append(f'<polyline points="{points}" class="curve {kind}"/>')
        body += [
            f'<circle cx="{x(each.score):.1f}" cy="{y(each.share):.1f}" r="3.5" class="{kind}">'
            f"<title>{each.rows:,} rows: mean score {each.score:{_NUMBER}}, "
            f"share {each.share:{_NUMBER}}</title></circle>"
            for each in table.bins
        ]
    body += [
        _text(left + side / 2, top + side + 34, "mean score", "tick", "middle"),
        _text(left, top - 2, "share of positives", "tick"),
    ]
    return _svg(left + side + 16, top + side + 42, "calibration", body)


def _step(least: float) -> float:
    """The smallest of 1, 2, 2.5 and 5 times a power of ten that is at least so much."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= least * (1 - 1e-9))


def histogram(found: Histogram) -> str:
    """Shares of rows by score: the candidate upwards, the champion downwards."""
    width, half, left = 300, 90, 16
    most = max((*found.candidate, *found.champion, 1e-9))
    bar = width / len(found.candidate)
    middle = half + 8
    body = []
    for at, (ours, theirs) in enumerate(zip(found.candidate, found.champion, strict=True)):
        place = left + at * bar + 1
        up, down = half * ours / most, half * theirs / most
        body += [
            f'<rect x="{place:.1f}" y="{middle - up:.1f}" width="{bar - 2:.1f}" '
            f'height="{up:.1f}" class="candidate"><title>{ours * 100:.2g} % of rows</title></rect>',
            f'<rect x="{place:.1f}" y="{middle:.1f}" width="{bar - 2:.1f}" '
            f'height="{down:.1f}" class="champion"><title>{theirs * 100:.2g} % of rows</title>'
            "</rect>",
        ]
    bottom = 2 * half + 26
    body += [
        _line(left, middle, left + width, middle, "zero"),
        _text(left, bottom, f"{found.low:.3g}", "tick"),
        _text(left + width, bottom, f"{found.high:.3g}", "tick", "end"),
    ]
    return _svg(left * 2 + width, bottom + 6, f"scores, {found.of} rows", body)


def importance(shifts: Sequence[Importance]) -> str:
    """Shares of importance of both, a line for each feature between them."""
    left, width, step = 190, 300, 22
    most = max((max(each.candidate or 0, each.champion or 0) for each in shifts), default=0) or 1
    body = []
    for row, each in enumerate(shifts):
        y = 16 + row * step
        ours, theirs = (left + width * (v or 0) / most for v in (each.candidate, each.champion))
        name = each.feature if len(each.feature) <= 26 else f"{each.feature[:25]}…"
        body += [
            _text(left - 10, y + 4, name, "", "end"),
            _line(left, y, left + width, y, "grid"),
            _line(theirs, y, ours, y, "link"),
            f'<circle cx="{theirs:.1f}" cy="{y}" r="5" class="champion"/>',
            f'<circle cx="{ours:.1f}" cy="{y}" r="5" class="candidate"/>',
            _text(left + width + 12, y + 4, f"{each.shift * 100:+.1f} points", "tick"),
        ]
    return _svg(left + width + 90, 16 + len(shifts) * step, "shares of importance", body)
