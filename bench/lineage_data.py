"""A lineage of a million edges, in the shape that a project of a thousand tables grows."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from headrace.catalog import Store

FAMILIES: Final = 50
DEPTH: Final = 20
APPENDS: Final = 100_000
INCREMENTS: Final = 200
REFRESHES: Final = 220
COLUMNS: Final = 60
REWRITES: Final = 3

STREAM: Final = "main.bronze.telemetry"
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_TABLES: Final = {
    "headrace_flow_sets": 3,
    "headrace_operations": 10,
    "headrace_accesses": 9,
    "headrace_files": 6,
    "headrace_operation_files": 3,
}


def name_of(family: int, level: int) -> str:
    """A table: level 1 reads the stream, each further one the level before and a neighbour."""
    return f"main.{'silver' if level == 1 else 'gold'}.family{family:02}_{level:02}"


def level_of(table: str) -> int:
    """How far a table is from the stream."""
    return 0 if table == STREAM else int(table[-2:])


def build(path: Path) -> int:
    """Make the database; how many edges (accesses and flows between columns) it has."""
    store = Store.open(f"sqlite:///{path}")
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -200000")
        for table, row in _rows():
            marks = ", ".join("?" * _TABLES[table])
            connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)
        count = "SELECT (SELECT count(*) FROM headrace_accesses) + sum(json_array_length(flows))"
        (edges,) = connection.execute(f"{count} FROM headrace_flow_sets").fetchone()
    connection.close()
    return int(edges)


def _rows() -> Iterator[tuple[str, tuple[Any, ...]]]:
    number, minute = 0, 0

    def operation(
        table: str, version: int, mode: str, reads: list[tuple[str, str, int | None]], flows: int
    ) -> Iterator[tuple[str, tuple[Any, ...]]]:
        nonlocal number, minute
        number, minute = number + 1, minute + 1
        key, moment = f"op_{number:012}", _text(_START + timedelta(seconds=10 * minute))
        kind = "refresh" if mode == "overwrite" else "append"
        facts = (key, kind, table, "session_1", None, moment, moment, mode, "etl.py:12", flows)
        yield "headrace_operations", facts
        for position, (what, name, read) in enumerate(reads):
            place = None if what == "path" else f"/w/{name}"
            touched = (key, "read", position, what, name, read, None, place, None)
            yield "headrace_accesses", touched
        replaces = mode == "overwrite"
        written = (key, "write", 0, "table", table, version, None, f"/w/{table}", replaces)
        yield "headrace_accesses", written

    sets = 0
    of_table: dict[str, list[int]] = {}
    for table in (STREAM, *(name_of(f, n) for f in range(FAMILIES) for n in range(1, DEPTH))):
        for _ in range(REWRITES):
            sets += 1
            flows = _flows(sets, 2 if level_of(table) % 4 == 0 else 1)
            text = json.dumps(flows, separators=(",", ":"))
            digest = hashlib.sha256(f"{table} {text}".encode()).hexdigest()
            yield "headrace_flow_sets", (sets, digest, text)
            of_table.setdefault(table, []).append(sets)

    for version in range(APPENDS):
        reads: list[tuple[str, str, int | None]] = [("path", "/data/raw", None)]
        yield from operation(
            STREAM, version, "append", reads, _set(of_table[STREAM], version, APPENDS)
        )
        moment = _text(_START)
        file = (version + 1, f"/data/raw/{version:06}.parquet", 1000, f"{version:064}", moment)
        yield "headrace_files", (*file, moment)
        yield "headrace_operation_files", (f"op_{number:012}", version + 1, 0)
    for step in range(INCREMENTS):
        for family in range(FAMILIES):
            table = name_of(family, 1)
            seen = (step + 1) * (APPENDS // INCREMENTS) - 1
            made_by = _set(of_table[table], step, INCREMENTS)
            yield from operation(table, step, "append", [("table", STREAM, seen)], made_by)
    for step in range(REFRESHES):
        for level in range(2, DEPTH):
            for family in range(FAMILIES):
                table, other = name_of(family, level), name_of((family + 1) % FAMILIES, level - 1)
                seen = INCREMENTS - 1 if level == 2 else step
                reads = [("table", name_of(family, level - 1), seen)]
                if level % 4 == 0:
                    reads.append(("table", other, seen))
                yield from operation(
                    table, step, "overwrite", reads, _set(of_table[table], step, REFRESHES)
                )


def _set(sets: list[int], step: int, steps: int) -> int:
    """The flows of a query that was rewritten now and then."""
    return sets[step * len(sets) // steps]


def _flows(seed: int, reads: int) -> list[tuple[str | None, int, str | None, str]]:
    """Each column from two values and a condition; the rows from a filter and a join."""
    found: list[tuple[str | None, int, str | None, str]] = []
    for read in range(reads):
        found += [(None, read, None, "direct"), (None, read, "c00", "indirect")]
        for number in range(read, COLUMNS, reads):
            column = f"c{number:02}"
            found.append((column, read, column, "direct"))
            found.append((column, read, f"c{(number + seed) % COLUMNS:02}", "indirect"))
    return list(dict.fromkeys(found))


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")
