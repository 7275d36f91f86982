"""Recalls in a lineage of a million edges: ``python -m bench.recall``."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

from bench.lineage_data import APPENDS, STREAM, build, name_of
from headrace.catalog import Store
from headrace.recall.closure import Closure
from headrace.recall.find import first_reads, unlisted_reads
from headrace.recall.marks import ROWS
from headrace.recall.origin import Origin, OriginFile
from headrace.recall.records import Records


def main() -> None:
    """Print seconds and operations passed, for origins that reach little and everything."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "lineage.db"
        edges = build(path)
        store = Store.open(f"sqlite:///{path}")
        found = {"edges": edges, "recalls": [_table(store), _column(store), _file(store)]}
        store.close()
    print(json.dumps(found, indent=2))  # what the program is for


def _table(store: Store) -> dict[str, object]:
    def walk() -> Closure:
        closure = Closure(Records(store, Path("/w"), logs=False))
        closure.begin_at_table(name_of(3, 10), 150, [ROWS])
        return closure

    return _measure(f"{name_of(3, 10)}@150", walk, 5)


def _column(store: Store) -> dict[str, object]:
    def walk() -> Closure:
        closure = Closure(Records(store, Path("/w"), logs=False))
        closure.begin_at_table(name_of(3, 10), 150, ["c07"])
        return closure

    return _measure(f"{name_of(3, 10)}@150.c07", walk, 5)


def _file(store: Store) -> dict[str, object]:
    def walk() -> Closure:
        records = Records(store, Path("/w"), logs=False)
        closure = Closure(records)
        number = APPENDS // 2
        file = OriginFile(f"/data/raw/{number:06}.parquet", 1, "-", (number + 1,), "unchanged")
        origin = Origin("-", "-", (file,))
        reads, unlisted = first_reads(records, origin), unlisted_reads(records, origin)
        closure.begin_at_files("-", reads, [ROWS], unlisted)
        return closure

    return _measure(f"the file in the middle of {STREAM}", walk, 1)


def _measure(what: str, begin: object, times: int) -> dict[str, object]:
    seconds = []
    passed = 0
    for _ in range(times):
        started = time.perf_counter()
        closure = begin()  # type: ignore[operator]
        closure.walk()
        closure.spans()
        seconds.append(time.perf_counter() - started)
        passed = len(closure.passed)
    return {"of": what, "operations": passed, "seconds": round(statistics.median(seconds), 4)}


if __name__ == "__main__":
    main()
