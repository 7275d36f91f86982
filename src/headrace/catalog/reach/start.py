"""From an object to the map of what it came from, or of what came from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from headrace.catalog import flows as flow_sets
from headrace.catalog.reach.columns import Columns, how
from headrace.catalog.reach.map import Link, Map, Reached, Thing
from headrace.catalog.reach.spans import NEWEST
from headrace.catalog.reach.walk import Walk

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from headrace.catalog.operation import How
    from headrace.catalog.reach.map import Direction
    from headrace.catalog.reach.walk import Hop, Item
    from headrace.catalog.store import Store

_MAPPED_BYTES: Final = 1 << 30


def upstream(
    store: Store,
    thing: Thing | Sequence[Thing],
    version: int | None = None,
    *,
    columns: Iterable[str | None] | None = None,
    depth: int | None = None,
) -> Map:
    """Everything that a thing came from.

    Args:
        store: the database.
        thing: a table, a path or a model; or several.
        version: of a table; the newest if not given.
        columns: follow these columns of it alone; ``None`` among them is which rows there are.
        depth: at most so many operations back.
    """
    return _map(store, "up", thing, version, columns, depth, files=False)


def downstream(
    store: Store,
    thing: Thing | Sequence[Thing],
    version: int | None = None,
    *,
    columns: Iterable[str | None] | None = None,
    depth: int | None = None,
    files: bool = False,
) -> Map:
    """Everything that came from a thing.

    Args:
        store: the database.
        thing: a table, a path or a model; or several.
        version: of a table; any if not given.
        columns: follow these columns of it alone; ``None`` among them is which rows there are.
        depth: at most so many operations on.
        files: the path is a recorded raw file, or a directory of some.
    """
    return _map(store, "down", thing, version, columns, depth, files=files)


def _map(
    store: Store,
    direction: Direction,
    thing: Thing | Sequence[Thing],
    version: int | None,
    columns: Iterable[str | None] | None,
    depth: int | None,
    *,
    files: bool,
) -> Map:
    with store.reading() as connection, _mapped(connection):
        walk = Walk(connection, direction, depth)
        for each in [thing] if isinstance(thing, Thing) else thing:
            if files:
                walk.begin_at_files(each.name)
            else:
                walk.begin(each, version)
        walk.run()
        marked = None
        if columns is not None:
            hops = walk.hops.values()
            found = dict(flow_sets.rows(connection, {hop.flow_set for hop in hops}))
            marked = Columns(hops, found, up=direction == "up")
            wanted = list(columns)
            marked.run({item.number: wanted for item in walk.items if not item.distance})
    return Map(
        direction,
        _things(walk.items, marked),
        tuple(_links(walk, marked, up=direction == "up")),
    )


@contextmanager
def _mapped(connection: Connection) -> Iterator[None]:
    """Let SQLite read the file in place: the way jumps back and forth in it."""
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.exec_driver_sql(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
    try:
        yield
    finally:
        connection.exec_driver_sql("PRAGMA mmap_size = 0")


def _things(items: list[Item], marked: Columns | None) -> Mapping[Thing, Reached]:
    by_thing: dict[Thing, list[Item]] = defaultdict(list)
    for item in sorted(items, key=lambda each: each.distance):
        if marked is None or marked.marks.get(item.number):
            by_thing[item.key.thing].append(item)
    return {thing: _reached(thing, group, marked) for thing, group in by_thing.items()}


def _reached(thing: Thing, items: list[Item], marked: Columns | None) -> Reached:
    lows = [low for item in items for low, _ in item.spans]
    highs = [high for item in items for _, high in item.spans]
    columns: dict[str | None, int] = {}
    for item in items if marked is not None else ():
        for column, rank in marked.marks[item.number].items() if marked else ():
            columns[column] = max(rank, columns.get(column, 0))
    return Reached(
        thing,
        min(item.distance for item in items),
        min(lows, default=None),
        None if not highs or max(highs) >= NEWEST else max(highs),
        {column: how(rank) for column, rank in columns.items()},
    )


def _links(walk: Walk, marked: Columns | None, *, up: bool) -> Iterable[Link]:
    groups: dict[tuple[Thing, Thing], list[Hop]] = defaultdict(list)
    for hop in walk.hops.values():
        near, far = walk.items[hop.near].key.thing, walk.items[hop.far].key.thing
        if near == far:
            continue
        if marked is None or marked.pairs.get((hop.near, hop.far)):
            groups[(far, near) if up else (near, far)].append(hop)
    for (source, target), hops in groups.items():
        yield Link(
            source,
            target,
            sum(hop.count for hop in hops),
            tuple(sorted({kind for hop in hops for kind in hop.kinds})),
            max(hop.last for hop in hops),
            _pairs(hops, marked),
        )


def _pairs(
    hops: list[Hop], marked: Columns | None
) -> tuple[tuple[str | None, str | None, How], ...]:
    if marked is None:
        return ()
    found: dict[tuple[str | None, str | None], int] = {}
    for near, far in {(hop.near, hop.far) for hop in hops}:
        for pair, rank in marked.pairs.get((near, far), {}).items():
            found[pair] = max(rank, found.get(pair, 0))
    ordered = sorted(found.items(), key=lambda each: (each[0][0] or "", each[0][1] or ""))
    return tuple((target, source, how(rank)) for (target, source), rank in ordered)
