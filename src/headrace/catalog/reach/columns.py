"""From things to their columns: which of them are on the way, and how."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from headrace.catalog.flows import Row
    from headrace.catalog.operation import How
    from headrace.catalog.reach.walk import Hop

#: Every column, and which rows there are.
EVERY: Final = "*"
_RANK: Final[dict[How, int]] = {"unknown": 0, "indirect": 1, "direct": 2}
_INDIRECT, _DIRECT = 1, 2
_HOW: Final[tuple[How, ...]] = ("unknown", "indirect", "direct")

#: Columns, ``None`` for which rows there are, and how surely they are on the way.
Marks = dict["str | None", int]
#: A written column, the column it came from, and how surely.
Pair = tuple["str | None", "str | None", int]
#: By the column at the near end: columns at the far end, and how surely.
Index = dict["str | None", list[tuple["str | None", int]]]


class Columns:
    """Marks columns along the hops of a walk until no mark is new.

    Args:
        hops: of the walk.
        flows: of each set.
        up: from written columns to what they came from; else the other way.
    """

    def __init__(
        self, hops: Iterable[Hop], flows: Mapping[int, Sequence[Row]], *, up: bool
    ) -> None:
        self._up = up
        self._flows = flows
        self._indices: dict[tuple[int, int], Index] = {}
        self._from: dict[int, list[Hop]] = defaultdict(list)
        for hop in hops:
            self._from[hop.near].append(hop)
        self.marks: dict[int, Marks] = defaultdict(dict)
        self.pairs: dict[tuple[int, int], dict[tuple[str | None, str | None], int]] = {}

    def run(self, start: Mapping[int, Iterable[str | None]]) -> None:
        """Mark from the columns of these items on."""
        new: dict[int, Marks] = {item: dict.fromkeys(some, _DIRECT) for item, some in start.items()}
        for item, marks in new.items():
            self.marks[item].update(marks)
        while new:
            found: dict[int, Marks] = defaultdict(dict)
            for item, marks in new.items():
                for hop in self._from.get(item, ()):
                    self._pass(hop, marks, found)
            new = {item: marks for item, marks in found.items() if marks}

    def _pass(self, hop: Hop, new: Marks, found: dict[int, Marks]) -> None:
        """Hand new marks of a hop's near end on to its far end."""
        far, added = self.marks[hop.far], found[hop.far]
        pairs = self.pairs.setdefault((hop.near, hop.far), {})
        cap = 0 if hop.guessed else _DIRECT
        for near_column, far_column, known in self._passed(hop, new):
            rank = min(known, cap)
            pair = (near_column, far_column) if self._up else (far_column, near_column)
            if pairs.get(pair, -1) < rank:
                pairs[pair] = rank
            if far.get(far_column, -1) < rank:
                far[far_column] = added[far_column] = rank

    def _passed(self, hop: Hop, new: Marks) -> Iterator[Pair]:
        if hop.learned:
            yield from self._learned(hop, new)
        elif hop.flow_set is None or hop.flow_set not in self._flows:
            for column in new:
                yield column, EVERY, 0
        else:
            index = self._index(hop.flow_set, hop.position)
            for column, rank in new.items():
                yield from self._by_index(index, column, rank)

    def _by_index(self, index: Index, column: str | None, rank: int) -> Iterator[Pair]:
        everywhere = column == EVERY or (column is None and not self._up)
        if everywhere:
            # Other rows are other values of every column.
            most = rank if column == EVERY else min(rank, _INDIRECT)
            for each, flows in index.items():
                for far, known in flows:
                    same = each is None and column is None
                    yield column, far, min(known, rank if same else most)
            return
        for far, known in index.get(column, ()):
            yield column, far, min(rank, known)
        if self._up and column is not None:
            # What decides on the rows decides on the values of each column.
            for far, known in index.get(None, ()):
                yield column, far, min(rank, known, _INDIRECT)
        for far, _ in index.get(EVERY, ()):
            yield column, far, 0

    def _index(self, flow_set: int, position: int) -> Index:
        key = (flow_set, position)
        index = self._indices.get(key)
        if index is None:
            index = self._indices[key] = defaultdict(list)
            for written, read, source, how in self._flows[flow_set]:
                if read != position:
                    continue
                if source is None and how == "unknown":
                    source = EVERY
                near, far = (written, source) if self._up else (source, written)
                index[near].append((far, _RANK[how]))
            index = self._indices[key] = dict(index)
        return index

    def _learned(self, hop: Hop, new: Marks) -> Iterator[Pair]:
        """What a run read is in its models, whichever part of it was used."""
        for column, rank in new.items():
            if self._up:
                for source in (EVERY,) if hop.columns is None else (*hop.columns, None):
                    yield column, source, rank
            elif hop.columns is None or column in (None, EVERY) or column in hop.columns:
                yield column, EVERY, rank


def how(rank: int) -> How:
    """The word for a rank."""
    return _HOW[rank]
