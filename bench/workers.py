"""How long a worker takes to come: afresh, forked from a template, and woken from none."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from headrace.environments import Environment
from headrace.workers import WorkerPool, WorkerSpec

ROOT: Final = Path(__file__).resolve().parent.parent
HOME: Final = ROOT / ".bench"
COMMAND: Final = "make bench-workers"
FEATURES: Final = 16
TRAIN: Final = """
import sys

import numpy as np
import pandas as pd
from mlflow.models import infer_signature

random = np.random.default_rng(0)
columns = [f"x{number}" for number in range(16)]
X = pd.DataFrame(random.normal(size=(20_000, 16)), columns=columns)
y = (X.x0 + X.x1 * X.x2 > 0.5).astype(int)
common = {"path": sys.argv[2], "signature": infer_signature(X), "pip_requirements": ["mlflow"]}
if sys.argv[1] == "forest":
    import mlflow.sklearn
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(100, max_depth=12, random_state=7).fit(X, y)
    mlflow.sklearn.save_model(model, serialization_format="cloudpickle", **common)
else:
    import mlflow.lightgbm
    from lightgbm import LGBMClassifier

    model = LGBMClassifier(n_estimators=200, random_state=7, verbose=-1).fit(X, y)
    mlflow.lightgbm.save_model(model, **common)
"""


def main() -> None:
    """Measure, print a table, and keep the figures in ``.bench/workers.json``."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=5)
    runs = arguments.parse_args().runs
    HOME.mkdir(exist_ok=True)
    results: list[dict[str, Any]] = []
    print("| model | worker | seconds to ready | memory of its own |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=HOME) as scratch:
        for name in ("forest", "lightgbm"):
            model = Path(scratch) / name
            subprocess.run([sys.executable, "-W", "ignore", "-c", TRAIN, name, model], check=True,
                           stderr=subprocess.DEVNULL)  # fmt: skip
            taken = asyncio.run(measured(model, Path(scratch) / "run", runs))
            fresh = statistics.median(taken["afresh"][0])
            for way, (seconds, memory) in taken.items():
                middle, own = statistics.median(seconds), statistics.median(memory)
                print(f"| {name} | {way} | {middle:.2f} | {own / 2**20:.0f} MiB |")
                results.append(
                    {
                        "work": f"a worker more, {name}",
                        "system": way,
                        "value": round(middle, 3),
                        "unit": "s",
                        "ratio": round(fresh / middle, 1),
                        "command": COMMAND,
                    }
                )
    (HOME / "workers.json").write_text(json.dumps(results, indent=2) + "\n")


async def measured(
    model: Path, directory: Path, runs: int
) -> dict[str, tuple[list[float], list[int]]]:
    """Seconds until a worker is ready, and bytes that it shares with no other, each way."""
    taken: dict[str, tuple[list[float], list[int]]] = {}
    for way, preload in (("afresh", False), ("forked", True)):
        pool = WorkerPool(
            model, Environment.running(), WorkerSpec(max=runs + 1, preload=preload), directory
        )
        await pool.start()
        while preload and not pool.preloaded:
            await asyncio.sleep(0.05)
        before = set(pool.pids())
        seconds = []
        for _ in range(runs):
            await pool.add()
            started = pool.stats().start_seconds
            assert started is not None
            seconds.append(started)
        taken[way] = (seconds, [private(pid) for pid in set(pool.pids()) - before])
        await pool.close()
    taken["woken by a request"] = await woken(model, directory, runs)
    return taken


async def woken(model: Path, directory: Path, runs: int) -> tuple[list[float], list[int]]:
    """Seconds of the request that wakes a deployment with no worker; its answer included."""
    row = pa.table({f"x{number}": [0.5] for number in range(FEATURES)})
    spec = WorkerSpec.model_validate({"min": 0, "max": 1, "idle": "50ms"})
    pool = WorkerPool(model, Environment.running(), spec, directory)
    await pool.start()
    while not pool.preloaded:
        await asyncio.sleep(0.05)
    seconds, memory = [], []
    for _ in range(runs):
        while pool.stats().workers:
            await asyncio.sleep(0.02)
        began = time.perf_counter()
        await pool.predict(row, None, time.monotonic() + 60)
        seconds.append(time.perf_counter() - began)
        memory += [private(pid) for pid in pool.pids()]
    await pool.close()
    return seconds, memory


def private(pid: int) -> int:
    """Bytes of a process that it shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


if __name__ == "__main__":
    main()
