"""``make bench``: window aggregation against Spark, DuckDB and Polars; the loop's stages."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import peers
from bench.measure import Measured, measure

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".bench"
COMMAND = "make bench"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=10_000_000)
    arguments.add_argument("--runs", type=int, default=3)
    options = arguments.parse_args()
    HOME.mkdir(exist_ok=True)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=HOME) as scratch:
        results += window(Path(scratch), options.rows, options.runs)
        results += loop(Path(scratch))
    (HOME / "bench.json").write_text(json.dumps(results, indent=2) + "\n")
    show(results)


def window(scratch: Path, rows: int, runs: int) -> list[dict[str, Any]]:
    source = HOME / f"telemetry-{rows}"
    make_telemetry(source, rows)
    project = scratch / "window"
    project.mkdir()
    (project / "headrace.yaml").write_text("name: bench\n")
    job, columnar = str(ROOT / "bench/window_job.py"), str(ROOT / "bench/window_columnar.py")
    spark = str(peers.environment(HOME, "spark", (peers.SPARK,)))
    other = str(peers.environment(HOME, "columnar", peers.COLUMNAR))
    jars = {"DELTA_JARS": str(peers.delta_jars(HOME))}
    systems = {
        "headrace": ([sys.executable, job, "headrace", str(source), str(project / "out")], {}),
        "spark local[2]": ([spark, job, "spark", str(source), str(scratch / "spark")], jars),
        "duckdb": ([other, columnar, "duckdb", str(source)], {}),
        "polars": ([other, columnar, "polars", str(source)], {}),
    }
    taken: dict[str, list[Measured]] = {name: [] for name in systems}
    for _ in range(runs):
        for name, (command, env) in systems.items():
            taken[name].append(measure(command, env=env, cwd=project))
            print(f"  {name:<16}{taken[name][-1].seconds:6.1f} s", file=sys.stderr)
    size = f"{rows / 1e6:g} M rows"
    return [
        *compare(
            f"window aggregation and Delta write, cold process, {size}",
            {
                name: median([m.seconds - m.printed["aggregate"] for m in taken[name]])
                for name in ("headrace", "spark local[2]")
            },
            "s",
        ),
        *compare(
            f"window aggregation alone, {size}",
            {
                name: median([m.printed["aggregate"] for m in runs_])
                for name, runs_ in taken.items()
            },
            "s",
        ),
        *compare(
            f"peak memory of the process tree, {size}",
            {name: max(m.peak_bytes for m in runs_) / 2**20 for name, runs_ in taken.items()},
            "MiB",
        ),
    ]


def loop(scratch: Path) -> list[dict[str, Any]]:
    project = scratch / "loop"
    headrace = [sys.executable, "-m", "headrace"]
    subprocess.run([*headrace, "init", str(project)], check=True, stdout=subprocess.DEVNULL)
    simulated = measure(
        [sys.executable, "-c", "from headrace.demo.simulate import simulate; import pathlib;"
         "simulate(pathlib.Path('raw')); print('{}')"],
        cwd=project,
    )  # fmt: skip
    first = measure([*headrace, "run", "--json"], cwd=project)
    second = measure([*headrace, "run", "--json"], cwd=project)
    help_ = statistics.median(measure_plain([*headrace, "--help"], project) for _ in range(5))
    rows = [row("demo: simulate a month of telemetry", "headrace", simulated.seconds, "s")]
    rows += [
        row(f"demo: {step['step']}", "headrace", step["seconds"], "s")
        for step in first.printed["steps"]
    ]
    rows += compare(
        "demo: headrace run",
        {"second, nothing changed": second.seconds, "first": first.seconds},
        "s",
    )
    rows += [
        row("demo: peak memory of the first run", "headrace", first.peak_bytes / 2**20, "MiB"),
        row("headrace --help", "headrace", help_, "s"),
    ]
    return rows


def measure_plain(command: list[str], cwd: Path) -> float:
    import time

    began = time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def make_telemetry(folder: Path, rows: int, files: int = 8) -> None:
    """Random telemetry of 1,000 devices over 30 days, in ``files`` Parquet files."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    if folder.exists():
        return
    fresh = folder.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    random = np.random.default_rng(0)
    start = np.datetime64("2026-01-01", "us")
    for index in range(files):
        count = rows // files
        offsets = np.sort(random.integers(0, 30 * 86_400_000_000, count))
        table = pa.table(
            {
                "device_id": random.integers(0, 1000, count),
                "ts": pa.array(start + offsets, pa.timestamp("us", tz="UTC")),
                "temperature": random.normal(60, 8, count),
                "pressure": random.normal(3, 0.4, count),
                "vibration": random.gamma(2, 0.2, count),
                "load": random.uniform(0, 1, count),
            }
        )
        pq.write_table(table, fresh / f"part-{index:03}.parquet")
    fresh.rename(folder)


def median(values: list[float]) -> float:
    return statistics.median(values)


def compare(work: str, values: dict[str, float], unit: str) -> list[dict[str, Any]]:
    """Rows of one work; ``ratio`` is the other system's figure over the first one's."""
    first = next(iter(values.values()))
    return [row(work, name, value, unit, value / first) for name, value in values.items()]


def row(
    work: str, system: str, value: float, unit: str, ratio: float | None = None
) -> dict[str, Any]:
    return {
        "work": work,
        "system": system,
        "value": round(value, 3),
        "unit": unit,
        "ratio": round(ratio, 2) if ratio is not None else None,
        "command": COMMAND,
    }


def show(results: list[dict[str, Any]]) -> None:
    from headrace.cli.output import table

    table(
        "Benchmarks (ratio: how many times the first system's figure)",
        ["work", "system", "value", "unit", "ratio"],
        [
            (r["work"], r["system"], f"{r['value']:,.2f}", r["unit"], r["ratio"] or "")
            for r in results
        ],
        right="value,ratio",
    )


if __name__ == "__main__":
    main()
