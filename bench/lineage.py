"""Both directions of the lineage over a million edges, and what recording columns costs a write."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

from bench.lineage_data import APPENDS, DEPTH, FAMILIES, STREAM, build, name_of
from headrace.catalog import Store
from headrace.catalog.reach import Map, Thing, downstream, upstream
from headrace.engine.resolve import PinningResolver
from headrace.workspace import open_workspace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ROOT: Final = Path(__file__).resolve().parent.parent
HOME: Final = ROOT / ".bench"
COMMAND: Final = "python -m bench.lineage"
SAMPLE: Final = 20
ROWS: Final = 500_000
WIDE: Final = 200


def main() -> None:
    """Measure, print the figures, and keep them in ``.bench/proof-lineage.json``."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=5)
    runs = arguments.parse_args().runs
    HOME.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HOME) as scratch:
        path = Path(scratch) / "lineage.db"
        edges = build(path)
        store = Store.open(f"sqlite:///{path}")
        figures = ways(store, runs)
        store.close()
    with tempfile.TemporaryDirectory(dir=HOME) as scratch:
        figures.append(recording(Path(scratch), runs))
    (HOME / "proof-lineage.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(f"{edges:,} edges")
    for each in figures:
        print(f"{each['value']:10.3f} {each['unit']:3} {each['work']} ({each['system']})")


def ways(store: Store, runs: int) -> list[dict[str, Any]]:
    """Seconds of ways up and down, from the ends, from the middle, and for a column."""
    top, stream = Thing("table", name_of(0, DEPTH - 1)), Thing("table", STREAM)
    chance = random.Random(1)
    some = [
        Thing("table", name_of(chance.randrange(FAMILIES), chance.randrange(1, DEPTH)))
        for _ in range(SAMPLE)
    ]
    cases: list[tuple[str, Callable[[], Map]]] = [
        (f"up {DEPTH} steps to {APPENDS:,} appends", lambda: upstream(store, top)),
        ("the same of one column", lambda: upstream(store, top, columns=["c05"])),
        ("down from the stream to every table", lambda: downstream(store, stream)),
        ("the same of one version", lambda: downstream(store, stream, APPENDS // 2)),
        ("the same of one column", lambda: downstream(store, stream, columns=["c05"])),
    ]
    figures = []
    for work, way in cases:
        seconds, found = timed(way, runs)
        reached = f"{len(found.things):,} things, {sum(e.operations for e in found.links):,} edges"
        figures.append(figure(f"lineage, {work}: {reached}", "headrace", seconds))
    for word, ask in (("up", upstream), ("down", downstream)):
        each = [timed(lambda t=t, ask=ask: ask(store, t), 1)[0] for t in some]  # type: ignore[misc]
        what = f"lineage, {word} from a table, of {SAMPLE} drawn"
        figures.append(figure(f"{what}: median", "headrace", statistics.median(each)))
        figures.append(figure(f"{what}: slowest", "headrace", max(each)))
    return figures


def recording(folder: Path, runs: int) -> dict[str, Any]:
    """How much more a write of 200 columns takes because its flows are told and recorded.

    By the least of several runs, and by the time of the processor: the difference is smaller than
    what other processes do to the clock.
    """
    (folder / "headrace.yaml").write_text("name: lineage\n")
    workspace = open_workspace(folder)
    spark = workspace.spark()
    columns = ", ".join(f"id * {number} % 97 AS c{number:03}" for number in range(WIDE))
    spark.sql(f"SELECT id, {columns} FROM range({ROWS})").write.saveAsTable("gold.wide")
    frame = wide(spark)
    told: list[float] = []
    untold: list[float] = []
    for _ in range(runs + 1):
        told.append(seconds_of(frame))
        with mock.patch.object(PinningResolver, "flows_into", return_value=[]):
            untold.append(seconds_of(frame))
    workspace.close()
    more = min(told[1:]) / min(untold[1:]) - 1
    return {
        "work": f"a write of {ROWS:,} rows and {WIDE} columns, with its flows recorded",
        "system": "headrace",
        "value": round(100 * more, 2),
        "unit": "%",
        "ratio": round(1 + more, 4),
        "command": COMMAND,
    }


def wide(spark: SparkSession) -> DataFrame:
    """A query with an expression a column, a filter and a group."""
    sums = ", ".join(
        f"sum(CASE WHEN c{number % 7:03} > 3 THEN c{number:03} ELSE 0 END) AS s{number:03}"
        for number in range(WIDE)
    )
    return spark.sql(f"SELECT c001, {sums} FROM gold.wide WHERE c002 > 1 GROUP BY c001")


def seconds_of(frame: DataFrame) -> float:
    """Seconds of the processor that the write takes, the engine's threads included."""
    started = time.process_time()
    frame.write.mode("overwrite").option("overwriteSchema", "true").saveAsTable("gold.sums")
    return time.process_time() - started


def timed(action: Callable[[], Any], runs: int) -> tuple[float, Any]:
    """The median of the seconds, and the last result."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        found = action()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), found


def figure(work: str, system: str, seconds: float) -> dict[str, Any]:
    """One line of the results."""
    return {
        "work": work,
        "system": system,
        "value": round(seconds, 3),
        "unit": "s",
        "ratio": 1.0,
        "command": COMMAND,
    }


if __name__ == "__main__":
    main()
