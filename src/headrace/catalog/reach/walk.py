"""The whole way: step by step, each version of a table once."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from headrace.catalog.reach.map import Thing
from headrace.catalog.reach.models import Models
from headrace.catalog.reach.paths import meet
from headrace.catalog.reach.spans import NEWEST, Spans
from headrace.catalog.reach.steps import Range, Steps, when
from headrace.catalog.tables import accesses, operations, replacing

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from headrace.catalog.reach.map import Direction
    from headrace.catalog.reach.steps import Found, Shape


class Key(NamedTuple):
    """A thing; of a name that several tables have had, one of them.

    Attributes:
        thing: what it is.
        life: which of the tables of the name, from 0.
        plain: without versions, as the files below a path.
    """

    thing: Thing
    life: int = 0
    plain: bool = False


@dataclass
class Item:
    """A thing, as far as the way has come.

    Attributes:
        key: what it is.
        number: of the item.
        distance: operations from the beginning.
        spans: the versions on the way.
        since: of plain files: accesses after this moment alone (down).
        until: the same, before (up).
    """

    key: Key
    number: int
    distance: int
    spans: Spans = field(default_factory=Spans)
    since: datetime | None = None
    until: datetime | None = None


@dataclass
class Hop:
    """Operations of one kind between two items.

    Attributes:
        near: number of the item that the step began at.
        far: of the one that it found.
        flow_set: where the columns came from; ``None``: all from all.
        position: of the read.
        columns: what a run read; ``None`` for all.
        learned: into, or out of, a model.
        guessed: that it belongs to the run is likely and no more.
        count: operations.
        kinds: their kinds.
        last: when the newest ended.
    """

    near: int
    far: int
    flow_set: int | None
    position: int
    columns: tuple[str, ...] | None
    learned: bool
    guessed: bool
    last: datetime
    count: int = 0
    kinds: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Life:
    born: datetime | None
    died: datetime | None
    replacing: tuple[int, ...]


_HopKey = tuple[int, int, "int | None", int, "tuple[str, ...] | None", bool, bool]


class Walk:
    """A way in one direction.

    Args:
        connection: of a transaction that reads.
        direction: ``up`` to the causes, ``down`` to the effects.
        depth: at most so many operations away; ``None`` for all.
    """

    def __init__(self, connection: Connection, direction: Direction, depth: int | None) -> None:
        self._connection = connection
        self._up = direction == "up"
        self._depth = depth
        self._steps = Steps(connection, direction)
        self._models: Models | None = None
        self._lives: dict[str, list[_Life]] = {}
        self._replaced: dict[str, tuple[int, ...]] = {}
        self._paths: list[str] | None = None
        self._waiting: list[Range] = []
        self._runs: list[Range] = []
        self._sessions: list[Range] = []
        self.items: list[Item] = []
        self.hops: dict[_HopKey, Hop] = {}
        self._keys: dict[Key, Item] = {}

    @property
    def models(self) -> Models:
        """MLflow's, loaded when the way first comes to one."""
        if self._models is None:
            self._models = Models.load(self._connection)
        return self._models

    # ---- beginning -------------------------------------------------------------------------

    def begin(self, thing: Thing, version: int | None) -> None:
        """Begin at a thing; at one version of a table, else the newest (up) or all (down)."""
        if thing.kind != "table" and version is None:
            self._add_plain(Key(thing, plain=True), 0)
            return
        lives = range(len(self.lives(thing.name)))
        if version is None and not self._up:
            for life in lives:
                self._add(Key(thing, life), 0, [(0, NEWEST)])
            return
        at = NEWEST if version is None else version
        self._add(Key(thing, lives[-1]), 0, self._rows_of(thing.name, lives[-1], [at]))

    def begin_at_files(self, path: str) -> None:
        """Begin at the operations that read a recorded file, or files below a path (down)."""
        item = self._item(Key(Thing("path", path), plain=True), 0)
        self._take(self._steps.of_files([Range(item.number, path, None, None)]), [])

    def run(self) -> None:
        """Go on to the end, or to the depth."""
        while self._waiting or self._runs or self._sessions:
            waiting, self._waiting = self._waiting, []
            runs, self._runs = self._runs, []
            sessions, self._sessions = self._sessions, []
            self._take(self._steps.run(waiting), waiting)
            if self._up:
                self._take(self._steps.of_runs(runs), [], learned=True)
                found = self._steps.of_runs(sessions, sessions=True)
                self._take(found, [], learned=True, guessed=True)

    # ---- steps -----------------------------------------------------------------------------

    def _take(
        self,
        found: Iterable[Found],
        asked: list[Range],
        *,
        learned: bool = False,
        guessed: bool = False,
    ) -> None:
        """Go on from what a step found.

        Args:
            found: what it found.
            asked: the ranges it began at, where it can be asked again version by version.
            learned: by the run of a model.
            guessed: probably by it.
        """
        tables: dict[tuple[int, str, str], list[Found]] = defaultdict(list)
        for each in found:
            near = self.items[each.item]
            if each.kind is None:
                self._to_models(near, each)
            elif each.low is None or each.kind == "model":
                self._hop(near, self._unversioned(each, near.distance + 1), each, learned, guessed)
            else:
                tables[each.item, each.kind, each.name].append(each)
        spans = self._spans_of(tables, asked)
        for (item, kind, name), group in tables.items():
            near = self.items[item]
            thing = Thing("path" if kind == "path" else "table", name)
            for life, some in spans[item, kind, name].items():
                far = self._add(Key(thing, life), near.distance + 1, some)
                for each in group:
                    if each.moment is None or self._life_at(name, each.moment) == life:
                        self._hop(near, far, each, learned, guessed)

    def _unversioned(self, found: Found, distance: int) -> Item:
        if found.kind == "model":
            key = Key(Thing("model", self.models.id_of(found.name)), plain=True)
            return self._add_plain(key, distance)
        if found.kind == "path":
            since, until = (None, found.last) if self._up else (found.first, None)
            key = Key(Thing("path", found.name), plain=True)
            return self._add_plain(key, distance, since, until)
        # A table of which no version was recorded: it can be any.
        return self._add(Key(Thing("table", found.name)), distance, [(0, NEWEST)])

    def _spans_of(
        self, tables: dict[tuple[int, str, str], list[Found]], asked: list[Range]
    ) -> dict[tuple[int, str, str], dict[int, list[tuple[int, int]]]]:
        """The versions of each table that a step came to, by life."""
        ranges, keys = [], list(tables)
        whole: dict[tuple[int, str, str], dict[int, list[tuple[int, int]]]] = {}
        for number, key in enumerate(keys):
            group = tables[key]
            if group[0].moment is not None:
                whole[key] = self._by_life(key[2], group)
                continue
            low = min(each.low for each in group if each.low is not None)
            high = max(each.high for each in group if each.high is not None)
            ranges.append(Range(number, key[2], low, high))
        shapes = self._steps.shapes(ranges)
        vague: dict[str, list[int]] = defaultdict(list)
        for span in ranges:
            key = keys[span.item]
            by_position: dict[int, int] = defaultdict(int)
            for each in tables[key]:
                by_position[each.position] += each.versions
            one = self._one_span(span, shapes[span.item], max(by_position.values()))
            if one is not None:
                whole[key] = {0: [one]}
            elif asked:
                vague[key[2]].append(key[0])
            else:
                whole[key] = {
                    0: self._rows_of(
                        key[2], 0, [each.low for each in tables[key] if each.low is not None]
                    )
                }
        for name, items in vague.items():
            again = [each for each in asked if each.item in set(items)]
            for item, versions in self._steps.each(again, name).items():
                for kind in ("table", "path"):
                    if (item, kind, name) in tables:
                        whole[item, kind, name] = {0: self._rows_of(name, 0, versions)}
        return whole

    def _one_span(self, span: Range, shape: Shape, versions: int) -> tuple[int, int] | None:
        """The span that all versions make together; ``None`` where they are, or may be, several."""
        low, high = span.low or 0, span.high or 0
        if self._up:
            if shape.floor == shape.last_floor or versions >= shape.writes:
                return (shape.floor or 0, high)
            return None
        if versions >= shape.replacing:
            return (low, NEWEST if shape.end is None else shape.end - 1)
        return None

    def _by_life(self, name: str, group: list[Found]) -> dict[int, list[tuple[int, int]]]:
        versions: dict[int, set[int]] = defaultdict(set)
        for each in group:
            life = 0 if each.moment is None else self._life_at(name, each.moment)
            versions[life] |= {v for v in (each.low, each.high) if v is not None}
        return {life: self._rows_of(name, life, some) for life, some in versions.items()}

    def _rows_of(self, name: str, life: int, versions: Iterable[int]) -> list[tuple[int, int]]:
        """Where the rows of these versions came into the table (up), or stay in it (down)."""
        replacing = self._replacing(name, life)
        spans = Spans()
        for version in versions:
            place = bisect_right(replacing, version)
            if self._up:
                spans.add(replacing[place - 1] if place else 0, version)
            else:
                end = replacing[place] - 1 if place < len(replacing) else NEWEST
                spans.add(version, end)
        return list(spans)

    def _to_models(self, near: Item, found: Found) -> None:
        """Rows that came to a run, or to a program that began runs later."""
        sure = self.models.of_runs([found.run_id]) if found.run_id else set()
        likely: set[str] = set()
        if found.run_id is None and found.session_id is not None:
            likely = self.models.of_session(found.session_id, found.first)
        for model_id in sorted(sure | likely):
            far = self._add_plain(Key(Thing("model", model_id), plain=True), near.distance + 1)
            self._hop(near, far, found, True, model_id not in sure)

    def _hop(self, near: Item, far: Item, found: Found, learned: bool, guessed: bool) -> None:
        columns = found.columns if learned else None
        key = (near.number, far.number, found.flow_set, found.position, columns, learned, guessed)
        hop = self.hops.get(key)
        if hop is None:
            hop = self.hops[key] = Hop(*key, last=found.last)
        hop.count += found.count
        hop.kinds.add(found.operation)
        hop.last = max(hop.last, found.last)

    # ---- items -----------------------------------------------------------------------------

    def _item(self, key: Key, distance: int) -> Item:
        item = self._keys.get(key)
        if item is None:
            item = Item(key, len(self.items), distance)
            self._keys[key] = item
            self.items.append(item)
        return item

    def _goes_on(self, item: Item) -> bool:
        return self._depth is None or item.distance < self._depth

    def _add(self, key: Key, distance: int, spans: Iterable[tuple[int, int]]) -> Item:
        """The item of a key, with these versions; the new ones wait for the next step."""
        item = self._item(key, distance)
        life = self.lives(key.thing.name)[key.life]
        for low, high in spans:
            for start, end in item.spans.add(low, high):
                if self._goes_on(item):
                    asked = Range(item.number, key.thing.name, start, end, life.born, life.died)
                    self._waiting.append(asked)
        return item

    def _add_plain(
        self,
        key: Key,
        distance: int,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Item:
        """The item of a model, or of files without versions."""
        is_new = key not in self._keys
        item = self._item(key, distance)
        later = until is not None and item.until is not None and until > item.until
        earlier = since is not None and item.since is not None and since < item.since
        if is_new or later or earlier:
            item.since, item.until = since, until
            if self._goes_on(item):
                self._wait_for_name(item)
        return item

    def _wait_for_name(self, item: Item) -> None:
        thing = item.key.thing
        if thing.kind == "model" and self._up:
            for run in sorted(self.models.runs_of(thing.name)):
                self._runs.append(Range(item.number, run, None, None))
                session = self.models.session_of(run)
                if session is not None:
                    self._sessions.append(
                        Range(item.number, session[0], None, None, until=session[1])
                    )
        elif thing.kind == "model":
            for address in self.models.addresses(thing.name):
                self._waiting.append(Range(item.number, address, None, None))
        else:
            for name in self._meeting(thing.name):
                self._waiting.append(Range(item.number, name, None, None, item.since, item.until))

    # ---- paths -----------------------------------------------------------------------------

    def _meeting(self, path: str) -> list[str]:
        """Paths on the other side of an operation that hold the same files, or some of them."""
        if self._paths is None:
            side = "write" if self._up else "read"
            query = (
                select(accesses.c.name)
                .where(
                    accesses.c.name >= "/",
                    accesses.c.name < "0",
                    accesses.c.direction == side,
                    accesses.c.version.is_(None),
                )
                .distinct()
            )
            self._paths = sorted(self._connection.scalars(query))
        if not path.startswith("/"):
            return [path]
        return [each for each in self._paths if meet(each, path)] or [path]

    # ---- versions --------------------------------------------------------------------------

    def lives(self, name: str) -> list[_Life]:
        """The tables that have had a name, one after the other."""
        if name not in self._steps.remade:
            return [_Life(None, None, ())]
        if name not in self._lives:
            self._lives[name] = self._load_lives(name)
        return self._lives[name]

    def _load_lives(self, name: str) -> list[_Life]:
        query = (
            select(
                accesses.c.version,
                accesses.c.replaces,
                operations.c.started_at,
                operations.c.finished_at,
            )
            .join(operations)
            .where(accesses.c.name == name, accesses.c.direction == "write")
        )
        rows = self._connection.execute(query).all()
        births = sorted(when(row.started_at) for row in rows if row.version == 0)
        replacing: dict[int, list[int]] = defaultdict(list)
        for row in rows:
            if row.replaces and row.version is not None:
                life = max(bisect_right(births, when(row.finished_at)) - 1, 0)
                replacing[life].append(row.version)
        return [
            _Life(
                born if number else None,
                births[number + 1] if number + 1 < len(births) else None,
                tuple(sorted(replacing[number])),
            )
            for number, born in enumerate(births)
        ]

    def _life_at(self, name: str, moment: datetime) -> int:
        lives = self.lives(name)
        for number in range(len(lives) - 1, 0, -1):
            born = lives[number].born
            if born is not None and born <= moment:
                return number
        return 0

    def _replacing(self, name: str, life: int) -> tuple[int, ...]:
        """The versions that replaced all rows, in order."""
        if name in self._steps.remade:
            return self.lives(name)[life].replacing
        if name not in self._replaced:
            query = select(accesses.c.version).where(accesses.c.name == name, replacing)
            found = self._connection.scalars(query.order_by(accesses.c.version))
            self._replaced[name] = tuple(each for each in found if each is not None)
        return self._replaced[name]
