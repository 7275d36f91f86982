"""One step of the way: a query for all that it starts from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from headrace.catalog.reach.map import Direction

_AT_A_TIME: Final = 400


@dataclass(frozen=True)
class Range:
    """Accesses to begin at.

    Attributes:
        item: who asks.
        name: of the accesses.
        low: lowest version; ``None`` for accesses without versions.
        high: highest version.
        since: operations that ended at or after this moment.
        until: operations that began before this moment.
    """

    item: int
    name: str
    low: int | None
    high: int | None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Found:
    """Operations that touch the range and one further thing, grouped.

    Attributes:
        item: who asked.
        kind: of the further thing; ``None`` for operations that wrote nothing.
        name: of it.
        position: of the read among the operation's reads.
        operation: its kind.
        flow_set: where its columns came from.
        run_id: the run of operations that wrote nothing.
        session_id: their session.
        columns: those that such an operation read.
        moment: when it began, for tables that were dropped and made again.
        low: the lowest version of the further thing.
        high: the highest.
        versions: how many versions (up), or versions that replaced all rows (down).
        first: when the first of the operations ended.
        last: when the last did.
        count: how many.
    """

    item: int
    kind: str | None
    name: str
    position: int
    operation: str
    flow_set: int | None
    run_id: str | None
    session_id: str | None
    columns: tuple[str, ...] | None
    moment: datetime | None
    low: int | None
    high: int | None
    versions: int
    first: datetime
    last: datetime
    count: int


# How many versions on the far side: those that were read; writes that replaced all rows, each of
# which one operation made.
_COUNTED: Final = {
    "up": "count(DISTINCT far.version)",
    "down": "sum(CASE WHEN far.replaces THEN 1 ELSE 0 END)",
}

_SELECT: Final = """
    {moment} AS moment,
    min(far.version), max(far.version), {counted},
    min(o.finished_at), max(o.finished_at), count(*)
"""

# Of operations that wrote nothing: their run, their session, and what they read.
_UNWRITTEN: Final = """
    CASE WHEN far.name IS NULL THEN o.run_id END AS run_id,
    CASE WHEN far.name IS NULL THEN o.session_id END AS session_id,
    CASE WHEN far.name IS NULL THEN CAST(near.columns AS TEXT) END AS columns_read,
"""
_NONE_UNWRITTEN: Final = "NULL AS run_id, NULL AS session_id, NULL AS columns_read,"

_STEP: Final = (
    """
WITH f (item, name, low, high, since, until) AS (VALUES {values})
SELECT f.item, far.kind, far.name, {read}.position, o.kind, o.flow_set,
    {unwritten}"""
    + _SELECT
    + """
FROM f
CROSS JOIN headrace_accesses near
CROSS JOIN headrace_operations o
{join} headrace_accesses far
    ON far.operation_id = near.operation_id AND far.direction = '{far}'
WHERE near.name = f.name AND near.direction = '{near}' AND {versions}
    AND o.id = near.operation_id
    AND (f.since IS NULL OR o.finished_at >= f.since)
    AND (f.until IS NULL OR o.started_at < f.until)
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
"""
)

# The versions one by one, where they are not one span.
_EACH: Final = """
WITH f (item, name, low, high, since, until) AS (VALUES {values})
SELECT DISTINCT f.item, far.version
FROM f
CROSS JOIN headrace_accesses near
CROSS JOIN headrace_operations o
CROSS JOIN headrace_accesses far
WHERE near.name = f.name AND near.direction = '{near}' AND {versions}
    AND o.id = near.operation_id
    AND (f.since IS NULL OR o.finished_at >= f.since)
    AND (f.until IS NULL OR o.started_at < f.until)
    AND far.operation_id = near.operation_id AND far.direction = '{far}' AND far.name = :far
    AND far.version IS NOT NULL
"""

# What a run read: operations that carry its id, or what its session had collected before.
_LEARNED: Final = (
    """
WITH f (item, name, low, high, since, until) AS (VALUES {values})
SELECT f.item, far.kind, far.name, far.position, o.kind, o.flow_set,
    o.run_id, o.session_id, CAST(far.columns AS TEXT) AS columns_read,"""
    + _SELECT
    + """
FROM f
CROSS JOIN headrace_operations o
CROSS JOIN headrace_accesses far
WHERE {of}
    AND far.operation_id = o.id AND far.direction = 'read'
    AND (f.until IS NULL OR o.finished_at <= f.until)
    AND NOT EXISTS (
        SELECT 1 FROM headrace_accesses w
        WHERE w.operation_id = o.id AND w.direction = 'write'
    )
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, far.version
"""
)
_OF_RUN: Final = "o.run_id = f.name"
_OF_SESSION: Final = "o.session_id = f.name AND o.run_id IS NULL"

# Operations that read a file, which is recorded beside their read of the path.
_FILES: Final = (
    """
WITH f (item, name, low, high, since, until) AS (VALUES {values})
SELECT f.item, far.kind, far.name, coalesce(near.position, 0), o.kind, o.flow_set,
    {unwritten}"""
    + _SELECT
    + """
FROM f
CROSS JOIN headrace_files file
CROSS JOIN headrace_operation_files used
CROSS JOIN headrace_operations o
LEFT JOIN headrace_accesses near
    ON near.operation_id = o.id AND near.direction = 'read' AND near.kind = 'path'
LEFT JOIN headrace_accesses far
    ON far.operation_id = o.id AND far.direction = 'write'
WHERE (file.path = f.name OR (file.path > f.name || '/' AND file.path < f.name || '0'))
    AND used.file_id = file.id AND o.id = used.operation_id
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, far.version
"""
)

# Of spans of versions: how many writes they hold, how many of these replaced all rows, and the
# replacing writes at or before, and after, both of their ends.
_SHAPES: Final = """
WITH f (item, name, low, high, since, until) AS (VALUES {values})
SELECT f.item,
    (SELECT count(*) FROM headrace_accesses x WHERE x.name = f.name AND x.direction = 'write'
        AND x.version BETWEEN f.low AND f.high),
    (SELECT count(*) FROM headrace_accesses x WHERE x.name = f.name AND x.replaces
        AND x.version BETWEEN f.low AND f.high),
    (SELECT max(x.version) FROM headrace_accesses x WHERE x.name = f.name AND x.replaces
        AND x.version <= f.low),
    (SELECT max(x.version) FROM headrace_accesses x WHERE x.name = f.name AND x.replaces
        AND x.version <= f.high),
    (SELECT min(x.version) FROM headrace_accesses x WHERE x.name = f.name AND x.replaces
        AND x.version > f.high)
FROM f
"""


@dataclass(frozen=True)
class Shape:
    """What lies between two versions of a table.

    Attributes:
        writes: recorded writes.
        replacing: those that replaced all rows.
        floor: the write that the rows of the lowest version go back to.
        last_floor: the same of the highest.
        end: the write that replaces the rows of the highest.
    """

    writes: int
    replacing: int
    floor: int | None
    last_floor: int | None
    end: int | None


class Steps:
    """Runs steps in one direction.

    Args:
        connection: of a transaction that reads.
        direction: ``up`` from writes to reads, ``down`` from reads to writes.
    """

    def __init__(self, connection: Connection, direction: Direction) -> None:
        self._connection = connection
        self._is_sqlite = connection.dialect.name == "sqlite"
        self.remade = self._remade()
        listed = ", ".join(f":remade{number}" for number in range(len(self.remade)))
        near, far = ("write", "read") if direction == "up" else ("read", "write")
        self._parts = {
            "near": near,
            "far": far,
            "read": "far" if direction == "up" else "near",
            # What was read and written nowhere can have gone into a model.
            "join": "JOIN" if direction == "up" else "LEFT JOIN",
            "counted": _COUNTED[direction],
            "unwritten": _NONE_UNWRITTEN if direction == "up" else _UNWRITTEN,
            "moment": f"CASE WHEN far.name IN ({listed}) THEN o.started_at END"
            if listed
            else "NULL",
        }

    def run(self, ranges: Sequence[Range]) -> list[Found]:
        """What the operations that touch the ranges touched on their other side."""
        return [
            _found(row)
            for some, versions in _split(ranges)
            for row in self._query(_STEP, some, versions=versions)
        ]

    def each(self, ranges: Sequence[Range], name: str) -> dict[int, list[int]]:
        """By item, the versions of one further thing."""
        found: dict[int, list[int]] = {}
        for some, versions in _split(ranges):
            for item, version in self._query(_EACH, some, {"far": name}, versions=versions):
                found.setdefault(item, []).append(version)
        return found

    def of_files(self, ranges: Sequence[Range]) -> list[Found]:
        """As ``run``, of files that are, or lie below, the names of the ranges; down alone."""
        return [_found(row) for row in self._query(_FILES, ranges)]

    def of_runs(self, ranges: Sequence[Range], *, sessions: bool = False) -> list[Found]:
        """What runs, or what sessions before runs, read; up alone. Names are their ids."""
        of = _OF_SESSION if sessions else _OF_RUN
        return [_found(row) for row in self._query(_LEARNED, ranges, of=of)]

    def shapes(self, spans: Sequence[Range]) -> dict[int, Shape]:
        """What lies in each span, by its ``item``, which each has its own of."""
        return {row[0]: Shape(*row[1:]) for row in self._query(_SHAPES, spans)}

    def _remade(self) -> tuple[str, ...]:
        """Tables that were dropped and made again under their name."""
        query = text(
            "SELECT name FROM headrace_accesses WHERE direction = 'write' AND version = 0"
            " GROUP BY name HAVING count(*) > 1"
        )
        return tuple(self._connection.scalars(query))

    def _query(
        self,
        shape: str,
        ranges: Sequence[Range],
        given: Mapping[str, object] | None = None,
        **parts: str,
    ) -> Iterator[Any]:
        names = {f"remade{number}": name for number, name in enumerate(self.remade)}
        for start in range(0, len(ranges), _AT_A_TIME):
            rows = []
            values: dict[str, Any] = {**names, **(given or {})}
            for number, each in enumerate(ranges[start : start + _AT_A_TIME]):
                rows.append(self._row(number))
                values |= {
                    f"item{number}": each.item,
                    f"name{number}": each.name,
                    f"low{number}": each.low,
                    f"high{number}": each.high,
                    f"since{number}": self._bound(each.since),
                    f"until{number}": self._bound(each.until),
                }
            filled = shape.format(values=", ".join(rows), **{**self._parts, **parts})
            used = {name: value for name, value in values.items() if f":{name}" in filled}
            yield from self._connection.execute(text(filled), used)

    def _row(self, number: int) -> str:
        moment = "TEXT" if self._is_sqlite else "TIMESTAMP WITH TIME ZONE"
        return (
            f"(CAST(:item{number} AS INTEGER), CAST(:name{number} AS TEXT),"
            f" CAST(:low{number} AS BIGINT), CAST(:high{number} AS BIGINT),"
            f" CAST(:since{number} AS {moment}), CAST(:until{number} AS {moment}))"
        )

    def _bound(self, moment: datetime | None) -> object:
        """As the columns hold it; see ``UtcDateTime``."""
        if moment is None or not self._is_sqlite:
            return moment
        return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def _split(ranges: Sequence[Range]) -> list[tuple[list[Range], str]]:
    """Ranges with versions and without, each with its condition: an index answers either."""
    return [
        (
            [each for each in ranges if each.low is not None],
            "near.version BETWEEN f.low AND f.high",
        ),
        ([each for each in ranges if each.low is None], "near.version IS NULL"),
    ]


def _found(row: Any) -> Found:
    item, kind, name, position, operation, flows, run, session, columns, moment = row[:10]
    low, high, versions, first, last, count = row[10:]
    return Found(
        item, kind, name or "", position, operation, flows, run, session,
        tuple(json.loads(columns)) if columns and columns != "null" else None,
        None if moment is None else when(moment), low, high, versions, when(first), when(last),
        count,
    )  # fmt: skip


def when(value: str | datetime) -> datetime:
    """A moment as SQLite or PostgreSQL gives it."""
    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return value.astimezone(UTC)
