"""Sets of versions as spans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

NEWEST: Final = 1 << 62


class Spans:
    """Versions from and to, both included."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._spans)

    def __bool__(self) -> bool:
        return bool(self._spans)

    def add(self, low: int, high: int) -> list[tuple[int, int]]:
        """Add a span; the parts of it that are new.

        >>> spans = Spans()
        >>> spans.add(3, 5), spans.add(1, 9), spans.add(2, 4)
        ([(3, 5)], [(1, 2), (6, 9)], [])
        """
        new = []
        at = low
        for start, end in self._spans:
            if end < at or start > high:
                continue
            if at < start:
                new.append((at, start - 1))
            at = end + 1
        if at <= high:
            new.append((at, high))
        touching = [each for each in self._spans if each[0] <= high + 1 and each[1] >= low - 1]
        others = [each for each in self._spans if each not in touching]
        whole = (
            min([low, *(start for start, _ in touching)]),
            max([high, *(end for _, end in touching)]),
        )
        self._spans = sorted([*others, whole])
        return new
