"""From things to their columns: which of them are on the way, and how."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
        # A million flows pass here: nothing is called in this loop that need not be.
        for near_column, far_column, known in self._passed(hop, new):
            rank = known if known < cap else cap
            pair = (near_column, far_column) if self._up else (far_column, near_column)
            if pair not in pairs or pairs[pair] < rank:
                pairs[pair] = rank
            if far_column not in far or far[far_column] < rank:
                far[far_column] = added[far_column] = rank

    def _passed(self, hop: Hop, new: Marks) -> list[Pair]:
        if hop.learned:
            return self._learned(hop, new)
        if hop.flow_set is None or hop.flow_set not in self._flows:
            return [(column, EVERY, 0) for column in new]
        index = self._index(hop.flow_set, hop.position)
        if EVERY in new or (None in new and not self._up):
            return self._of_all(index, new)
        found: list[Pair] = []
        for column, rank in new.items():
            if column in index:
                found += [
                    (column, far, known if known < rank else rank) for far, known in index[column]
                ]
            if self._up and column is not None and None in index:
                # What decides on the rows decides on the values of each column.
                most = min(rank, _INDIRECT)
                found += [(column, far, min(known, most)) for far, known in index[None]]
            if EVERY in index:
                found += [(column, far, 0) for far, _ in index[EVERY]]
        return found

    def _of_all(self, index: Index, new: Marks) -> list[Pair]:
        """What every flow hands on: other rows are other values of each column."""
        whole = new.get(EVERY, -1)
        rows = new.get(None, -1) if not self._up else -1
        found: list[Pair] = []
        for column, flows in index.items():
            by = EVERY if EVERY in new else None
            rank = max(whole, rows if column is None else min(rows, _INDIRECT))
            if column in new and new[column] >= rank:
                by, rank = column, new[column]
            found += [(by, far, min(known, rank)) for far, known in flows]
        return found

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

    def _learned(self, hop: Hop, new: Marks) -> list[Pair]:
        """What a run read is in its models, whichever part of it was used."""
        if self._up:
            read = (EVERY,) if hop.columns is None else (*hop.columns, None)
            return [(column, source, rank) for column, rank in new.items() for source in read]
        return [
            (column, EVERY, rank)
            for column, rank in new.items()
            if hop.columns is None or column in (None, EVERY) or column in hop.columns
        ]


def how(rank: int) -> How:
    """The word for a rank."""
    return _HOW[rank]
