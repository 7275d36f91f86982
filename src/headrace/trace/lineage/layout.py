"""Where the boxes of a picture stand: layers from left to right, with few crossings.

The method of Sugiyama, Tagawa and Toda (1981): layers by the longest way, points on the layers
that an arrow passes, and sweeps that put each box at the mean place of its neighbours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_SWEEPS: Final = 8
_OPEN, _DONE = 1, 2

#: A box by its id; a point of an arrow on a layer between its ends.
Place = str | tuple[str, str, int]


@dataclass(frozen=True)
class Layout:
    """Places of the boxes and of the points of arrows.

    Attributes:
        layers: the places of each layer, from top to bottom.
        of: layer of each place.
        rows: height of each place, in rows; the topmost is at 0.
        ways: the places that each arrow passes, ends included.
    """

    layers: tuple[tuple[Place, ...], ...]
    of: Mapping[Place, int]
    rows: Mapping[Place, float]
    ways: Mapping[tuple[str, str], tuple[Place, ...]]


def arrange(boxes: Sequence[str], arrows: Iterable[tuple[str, str]]) -> Layout:
    """Arrange boxes so that arrows run from left to right.

    Args:
        boxes: their ids; earlier ones stand higher where nothing else decides.
        arrows: from and to; those that close a circle run back.
    """
    ends = [each for each in dict.fromkeys(arrows) if each[0] != each[1]]
    forward = _without_circles(boxes, ends)
    layer = _layers(boxes, forward)
    ways: dict[tuple[str, str], tuple[Place, ...]] = {}
    layers: dict[int, list[Place]] = defaultdict(list)
    for box in boxes:
        layers[layer[box]].append(box)
    of: dict[Place, int] = {box: layer[box] for box in boxes}
    for source, target in ends:
        low, high = sorted((layer[source], layer[target]))
        points: list[Place] = [(source, target, number) for number in range(low + 1, high)]
        for point, number in zip(points, range(low + 1, high), strict=True):
            of[point] = number
            layers[number].append(point)
        if layer[source] > layer[target]:
            points.reverse()
        ways[source, target] = (source, *points, target)
    ordered = _sweep([layers[number] for number in sorted(layers)], ways.values())
    return Layout(tuple(map(tuple, ordered)), of, _rows(ordered, ways.values()), ways)


def _without_circles(
    boxes: Sequence[str], arrows: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    """The arrows but those that lead back to a box on the way to them."""
    after: dict[str, list[str]] = defaultdict(list)
    for source, target in arrows:
        after[source].append(target)
    state: dict[str, int] = {}
    kept: list[tuple[str, str]] = []
    for start in boxes:
        stack = [(start, iter(after[start]))] if start not in state else []
        state.setdefault(start, _OPEN)
        while stack:
            box, rest = stack[-1]
            for target in rest:
                if state.get(target) == _OPEN:
                    continue
                kept.append((box, target))
                if target not in state:
                    state[target] = _OPEN
                    stack.append((target, iter(after[target])))
                    break
            else:
                state[box] = _DONE
                stack.pop()
    return kept


def _layers(boxes: Sequence[str], arrows: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The longest way to each box; boxes that nothing leads to stand next to what they feed."""
    before: dict[str, list[str]] = defaultdict(list)
    after: dict[str, list[str]] = defaultdict(list)
    for source, target in arrows:
        before[target].append(source)
        after[source].append(target)
    layer: dict[str, int] = {}
    missing = {box: len(before[box]) for box in boxes}
    ready = [box for box in boxes if not missing[box]]
    while ready:
        box = ready.pop()
        layer[box] = max((layer[each] + 1 for each in before[box]), default=0)
        for target in after[box]:
            missing[target] -= 1
            if not missing[target]:
                ready.append(target)
    for box in sorted(boxes, key=lambda each: -layer[each]):
        if not before[box] and after[box]:
            layer[box] = min(layer[each] for each in after[box]) - 1
    return layer


def _sweep(layers: list[list[Place]], ways: Iterable[tuple[Place, ...]]) -> list[list[Place]]:
    """Fewer crossings: each place goes to the mean of its neighbours on the layer before."""
    left: dict[Place, list[Place]] = defaultdict(list)
    right: dict[Place, list[Place]] = defaultdict(list)
    of = {place: number for number, layer in enumerate(layers) for place in layer}
    for way in ways:
        for one, other in pairwise(way):
            first, second = (one, other) if of[one] <= of[other] else (other, one)
            right[first].append(second)
            left[second].append(first)
    for turn in range(_SWEEPS):
        neighbours = left if turn % 2 == 0 else right
        order = range(len(layers)) if turn % 2 == 0 else range(len(layers) - 1, -1, -1)
        at = {place: index for layer in layers for index, place in enumerate(layer)}
        for number in order:
            layer = layers[number]
            mean = {
                place: sum(at[each] for each in neighbours[place]) / len(neighbours[place])
                if neighbours[place]
                else float(at[place])
                for place in layer
            }
            layer.sort(key=mean.__getitem__)
            at.update({place: index for index, place in enumerate(layer)})
    return layers


def _rows(
    layers: Sequence[Sequence[Place]], ways: Iterable[tuple[Place, ...]]
) -> dict[Place, float]:
    """Heights: near the neighbours, in the order of the layer, at least one row apart."""
    near: dict[Place, list[Place]] = defaultdict(list)
    for way in ways:
        for one, other in pairwise(way):
            near[one].append(other)
            near[other].append(one)
    rows: dict[Place, float] = {}
    for layer in layers:
        for index, place in enumerate(layer):
            rows[place] = float(index)
    for turn in range(_SWEEPS):
        for layer in layers if turn % 2 == 0 else layers[::-1]:
            wanted = [
                sum(rows[each] for each in near[place]) / len(near[place])
                if near[place]
                else rows[place]
                for place in layer
            ]
            rows.update(zip(layer, _apart(layer, wanted), strict=True))
    lowest = min(rows.values(), default=0.0)
    return {place: row - lowest for place, row in rows.items()}


def _apart(layer: Sequence[Place], wanted: Sequence[float]) -> list[float]:
    """Heights as near to the wanted ones as their order and distance allow.

    Neighbours that would overlap form a block, which stands at the mean of what they want.
    """
    blocks: list[list[float]] = []  # sum of wishes, count, height needed before
    for place, wish in zip(layer, wanted, strict=True):
        need = _height(place)
        blocks.append([wish, 1.0, need])
        while len(blocks) > 1 and _top(blocks[-1]) < _top(blocks[-2]) + blocks[-2][2]:
            total, count, height = blocks.pop()
            last = blocks[-1]
            last[0] += total - count * last[2]
            last[1] += count
            last[2] += height
    rows: list[float] = []
    index = 0
    for total, count, _ in blocks:
        at = total / count
        for place in layer[index : index + int(count)]:
            rows.append(at)
            at += _height(place)
        index += int(count)
    return rows


def _top(block: Sequence[float]) -> float:
    return block[0] / block[1]


def _height(place: Place) -> float:
    return 1.0 if isinstance(place, str) else 0.6
