"""``make bench-batch``: rows a second of batch scoring, against spark_udf and the plain libraries."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import peers
from bench.measure import Measured, measure
from bench.serving_models import FEATURES, MODELS, export, make_project

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".bench"
COMMAND = "make bench-batch"
CORES = 2
#: What each system is, and the cores it keeps busy.
SYSTEMS = {
    "headrace-score": ("headrace score --full", CORES),
    "headrace-map": ("the kernel in mapInArrow, Headrace's engine", CORES),
    "spark": ("mlflow spark_udf, Apache Spark local[2]", CORES),
    "plain": ("the library alone, Delta to Delta, one core", 1),
    "plain-memory": ("the library alone, in memory, one core", 1),
}
LIBRARIES = {"forest": "scikit-learn", "lightgbm": "LightGBM"}


def main() -> None:
    options = _options()
    HOME.mkdir(exist_ok=True)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory(dir=HOME) as scratch:
        results = list(_measure(Path(scratch), options))
    (HOME / "batch.json").write_text(json.dumps(results, indent=2) + "\n")
    show(results)


def _measure(scratch: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    project = scratch / "project"
    make_project(project)
    _write_rows(project, options.rows)
    python = peers.environment(HOME, "spark-udf", peers.SPARK_UDF)
    jars = peers.delta_jars(HOME)
    for model in MODELS:
        files = scratch / model
        export(project, model, files)
        taken = {}
        for job in options.systems:
            if job == "headrace-map" and not (files / "kernel").is_dir():
                print(f"  {model:<10}{job:<16}it has no kernel", file=sys.stderr)
                continue
            interpreter = str(python) if job == "spark" else sys.executable
            target = "gold.predictions" if job == "headrace-score" else str(scratch / f"out-{job}")
            rows = str(project / "rows")
            command = [interpreter, "-W", "ignore", str(ROOT / "bench/batch_jobs.py")]
            command += [job, str(files), model, rows, f"{target}_{model}", str(options.runs)]
            taken[job] = measure(command, env={"DELTA_JARS": str(jars)}, cwd=project)
            print(f"  {model:<10}{job:<16}{taken[job].printed}", file=sys.stderr)
        yield from _results(model, options.rows, taken)


def _write_rows(project: Path, count: int) -> None:
    """The table to score, in four files, as ``gold.rows`` of the project."""
    import numpy as np
    import pyarrow as pa

    from headrace import lakehouse
    from headrace.workspace import open_workspace

    random = np.random.default_rng(5)
    for number in range(4):
        size = count // 4
        values = {f"x{n}": random.normal(size=size) for n in range(FEATURES)}
        keys = np.arange(number * size, (number + 1) * size)
        lakehouse.write(project / "rows", pa.table({"key": keys, **values}))
    workspace = open_workspace(project)
    workspace.catalog.create_table("gold.rows", str(project / "rows"))
    workspace.close()


def _results(model: str, rows: int, taken: dict[str, Measured]) -> Iterator[dict[str, Any]]:
    """Figures of one model; ``ratio``: how many times the system's figure the first one's is."""
    warm = {job: rows / statistics.median(m.printed["warm"]) for job, m in taken.items()}
    figures = {
        "rows a second, warm": (warm, "rows/s"),
        "rows a second and core, warm": (
            {job: value / SYSTEMS[job][1] for job, value in warm.items()},
            "rows/s",
        ),
        "rows a second, cold process": (
            {job: rows / m.printed["cold"] for job, m in taken.items()},
            "rows/s",
        ),
        "peak memory of the process tree": (
            {job: m.peak_bytes / 2**20 for job, m in taken.items()},
            "MiB",
        ),
    }
    for figure, (values, unit) in figures.items():
        first = next(iter(values.values()))
        for job, value in values.items():
            yield {
                "work": f"{model}, {rows / 1e6:g} M rows: {figure}",
                "system": SYSTEMS[job][0].replace("the library", LIBRARIES[model]),
                "value": round(value, 1),
                "unit": unit,
                "ratio": round(first / value, 2),
                "command": COMMAND,
            }


def show(results: list[dict[str, Any]]) -> None:
    """Print one table a figure."""
    from headrace.cli.output import table

    for work in dict.fromkeys(result["work"] for result in results):
        chosen = [result for result in results if result["work"] == work]
        table(
            f"{work} (ratio: the first system's figure over this one's)",
            ["system", chosen[0]["unit"], "ratio"],
            [(r["system"], f"{r['value']:,.0f}", f"{r['ratio']:.2f}") for r in chosen],
            right=f"{chosen[0]['unit']},ratio",
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--runs", type=int, default=3, help="after the first, cold one")
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(map(str, error.cmd[:4]))} ... exited with {error.returncode}")
