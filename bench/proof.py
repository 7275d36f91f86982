"""What proof costs: seconds of a promotion, milliseconds of a prediction.

Then lineage at a million edges and maintenance of a table of 10,000 files, whose modules can
be run alone.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock

from bench.serving_models import FEATURES, make_project
from bench.wrk import Wrk

ROOT: Final = Path(__file__).resolve().parent.parent
HOME: Final = ROOT / ".bench"
COMMAND: Final = "python -m bench.proof"
PARTS: Final = {
    "answers of the training, recorded": ("headrace.tracking.answers", "Recorder.write"),
    "kernel compiled and proven": ("headrace.registry.register", "_kernel"),
    "table versions pinned": ("headrace.pins", "pin_version"),
    "leaks looked for": ("headrace.promotion.judge", "leak_checks"),
    "latency measured": ("headrace.promotion.judge", "latency"),
    "answers compared with batch scoring": ("headrace.promotion.judge", "parity_check.check"),
    "statement written": ("headrace.promotion.promote", "statement.decision"),
    "statement signed and chained": ("headrace.promotion.promote", "append"),
}
"""A part of the proof, and the function that does it, where it is called."""

ALONE: Final = ("bench.lineage", "bench.maintenance")


def main() -> None:
    """Measure, print the figures, and keep them in ``.bench/proof.json``."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=8.0, help="of each round of requests")
    given = arguments.parse_args()
    HOME.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HOME) as scratch:
        figures = promotions(Path(scratch) / "demo", given.runs)
        figures += predictions(Path(scratch) / "served", given.runs, given.seconds)
    (HOME / "proof.json").write_text(json.dumps(figures, indent=2) + "\n")
    show(figures)
    for module in ALONE:
        subprocess.run([sys.executable, "-m", module], cwd=ROOT, check=True)


def promotions(folder: Path, runs: int) -> list[dict[str, Any]]:
    """The demo's model trained, registered and judged again, with its proof timed part by part."""
    from headrace.demo import story
    from headrace.demo.simulate import simulate
    from headrace.project.config import load_project
    from headrace.promotion import build

    workspace = story.prepare(folder)
    simulate(folder / "raw")
    story.run_once(workspace, lambda _: _Silent())
    story.improve(workspace)
    entry = load_project(workspace.paths).models[story.MODEL]
    whole, parts = [], []
    for number in range(runs + 1):
        with timed(PARTS) as seconds:
            began = time.perf_counter()
            build(workspace, entry, entry.gate, full=True)
            took = time.perf_counter() - began
        if number:  # the first one imports what the others have
            whole.append(took)
            parts.append(seconds)
    workspace.close()
    total = statistics.median(whole)
    of_each = {name: statistics.median(each[name] for each in parts) for name in PARTS}
    proof = sum(of_each.values())
    work = "the demo's model: train, register, judge, decide"
    return [
        row(work, "with proof", total, "s", total / (total - proof)),
        row(work, "without what follows", total - proof, "s"),
        *(row(work, name, seconds, "s", seconds / total) for name, seconds in of_each.items()),
    ]


def predictions(folder: Path, runs: int, seconds: float) -> list[dict[str, Any]]:
    """One model behind two endpoints: its protected alias, which is proven, and its number."""
    from headrace.demo.story import wait_for
    from headrace.endpoints import EndpointSpec, deploy, endpoint_status
    from headrace.registry import resolve
    from headrace.serving import running_plane
    from headrace.settings import read_token
    from headrace.workspace import open_workspace

    make_project(folder)
    workspace = open_workspace(folder)
    version = resolve(workspace, "forest@production")
    specs = {
        "proven": EndpointSpec(name="proven", model="forest@production"),
        "not proven": EndpointSpec(name="unproven", model=f"forest/{version.version}"),
    }
    for spec in specs.values():
        deploy(workspace, spec, version)
    record = {f"x{number}": 0.5 for number in range(FEATURES)}
    body = json.dumps({"dataframe_records": [record]}).encode()
    load, found = Wrk(HOME), {name: [] for name in specs}  # type: dict[str, list[float]]
    with running_plane(workspace.paths) as address:
        headers = {
            "authorization": f"Bearer {read_token(workspace.paths).reveal()}",
            "content-type": "application/json",
        }
        for spec in specs.values():
            wait_for(
                f"{spec.name} to be live",
                lambda name=spec.name: endpoint_status(workspace, name).state == "live",  # type: ignore[misc]
                lambda: "see .headrace/plane.log",
            )
        for number in range(runs + 1):
            for name, spec in specs.items():
                url = f"{address}/endpoints/{spec.name}/invocations"
                ran = load.run(url, [body], headers, 1, seconds if number else 2.0)
                if ran.errors:
                    raise RuntimeError(f"{ran.errors} requests to {url} failed")
                if number:
                    found[name].append(ran.p50)
    workspace.close()
    medians = {name: statistics.median(values) for name, values in found.items()}
    work = "one row over one connection, median"
    return [
        row(work, name, value, "ms", value / medians["not proven"])
        for name, value in medians.items()
    ]


@contextmanager
def timed(parts: dict[str, tuple[str, str]]) -> Iterator[dict[str, float]]:
    """Seconds that each function takes inside the block, summed over its calls."""
    seconds = dict.fromkeys(parts, 0.0)
    with ExitStack() as stack:
        for name, (module, path) in parts.items():
            owner: Any = importlib.import_module(module)
            *inner, attribute = path.split(".")
            for each in inner:
                owner = getattr(owner, each)
            clock = _clock(getattr(owner, attribute), name, seconds)
            stack.enter_context(mock.patch.object(owner, attribute, clock))
        yield seconds


def _clock(action: Callable[..., Any], name: str, seconds: dict[str, float]) -> Callable[..., Any]:
    def run(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return action(*arguments, **named)
        finally:
            seconds[name] += time.perf_counter() - began

    return run


class _Silent:
    """An observer of a run that prints nothing."""

    def started(self, step: Any) -> None:
        """Nothing."""

    def finished(self, outcome: Any) -> None:
        """Nothing."""


def row(
    work: str, system: str, value: float, unit: str, ratio: float | None = None
) -> dict[str, Any]:
    """One figure."""
    return {
        "work": work,
        "system": system,
        "value": round(value, 4),
        "unit": unit,
        "ratio": None if ratio is None else round(ratio, 3),
        "command": COMMAND,
    }


def show(figures: list[dict[str, Any]]) -> None:
    """Print them as tables, one a work."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for work in dict.fromkeys(each["work"] for each in figures):
        table = Table(title=work, title_justify="left", box=None)
        for title in ("system", "value", "unit", "ratio"):
            table.add_column(title, justify="left" if title in ("system", "unit") else "right")
        for each in figures:
            if each["work"] == work:
                ratio = "" if each["ratio"] is None else f"{each['ratio']:g}"
                table.add_row(each["system"], f"{each['value']:g}", each["unit"], ratio)
        console.print(table, "")


if __name__ == "__main__":
    main()
