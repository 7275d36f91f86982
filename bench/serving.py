"""``make bench-serving``: the scoring plane and its peers, side by side in one run."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.load import constant_rate

from bench.peers_serving import ARROW, JSON, System, systems
from bench.served import Served, UnusableSystemError, served
from bench.serving_models import BODIES, MODELS, Trained, export, load_exported, make_project
from bench.serving_show import report, tables
from bench.wrk import Wrk

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".bench"
NAMES = {JSON: "JSON", ARROW: "Arrow"}


@dataclass(frozen=True)
class Plan:
    """What is measured of each system.

    Attributes:
        rounds: each system is started so often; figures are medians over the rounds.
        closed, open_, rows: seconds of one closed-loop run, one at a fixed rate, one of batches.
        connections: of the closed loop.
        rates: requests a second of the open loop.
        sizes: rows in a request.
    """

    rounds: int
    closed: float
    open_: float
    rows: float
    connections: tuple[int, ...] = (1, 4, 16)
    rates: tuple[int, ...] = (100, 250, 500, 1000)
    sizes: tuple[int, ...] = (1, 32, 1024)


FULL = Plan(rounds=2, closed=3, open_=5, rows=2)
QUICK = Plan(rounds=1, closed=1, open_=2, rows=1, rates=(100, 500))

Say = Callable[[str], None]
Put = Callable[[str, str, float, str], None]
"""Takes a figure: what was done, what was measured of it, the value, its unit."""


def session(running: Served, wrk: Wrk, plan: Plan, put: Put, say: Say) -> None:
    """All figures of one started system."""
    url = running.launch.url
    singles = running.bodies(JSON, 1, BODIES)
    say("warm-up")
    wrk.run(url, singles, running.headers(JSON), 4, max(1.0, plan.closed / 2))
    put("start", "first answer", running.start_seconds, "s")
    most = 0.0
    for connections in plan.connections:
        say(f"closed loop, {connections} connections")
        closed = wrk.run(url, singles, running.headers(JSON), connections, plan.closed)
        most = max(most, closed.per_second)
        work = f"closed loop, {connections} connections"
        put(work, "answers", closed.per_second, "1/s")
        for figure in ("p50", "p99", "p999"):
            put(work, figure, getattr(closed, figure), "ms")
        put(work, "errors", closed.errors, "")
    for rate in plan.rates:
        if rate > 0.8 * most:
            break  # its queue would only grow
        say(f"open loop, {rate}/s")
        with constant_rate(
            url, rate, lambda n: singles[n % BODIES], running.headers(JSON), 64
        ) as load:
            load.more(round(rate * plan.open_))
        work = f"open loop, {rate}/s"
        for figure, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999)):
            put(work, figure, load.quantile(share) * 1e3, "ms")
        put(work, "errors", len(load.failed()), "")
        put(work, "sent late, p99", load.lateness(0.99) * 1e3, "ms")
    for kind in running.system.formats:
        for rows in plan.sizes:
            work = f"{rows} rows a request, {NAMES[kind]}"
            say(work)
            running.check(kind, rows)
            bodies = running.bodies(kind, rows, BODIES if rows < 1000 else 8)
            closed = wrk.run(url, bodies, running.headers(kind), 4, plan.rows)
            put(work, "rows", closed.per_second * rows, "1/s")
            put(work, "errors", closed.errors, "")
    put("after the load", "memory", running.memory() / 2**20, "MiB")


class Run:
    """Rounds over systems and models, and what came of them."""

    def __init__(self, chosen: list[System], models: list[Trained], plan: Plan, wrk: Wrk) -> None:
        self.chosen, self.models, self.plan, self.wrk = chosen, models, plan, wrk
        self.found: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
        self.units: dict[tuple[str, str, str], str] = {}
        self.problems: dict[tuple[str, str], str] = {}

    def install(self, home: Path, say: Say) -> None:
        """Make the environments; a peer that does not install is not measured."""
        for system in self.chosen:
            say(f"{system.name}: environment")
            try:
                system.install(home)
            except subprocess.CalledProcessError as error:
                self._gone(system, str(error.stderr))
            except (OSError, subprocess.TimeoutExpired) as error:
                self._gone(system, str(error))

    def _gone(self, system: System, why: str) -> None:
        for model in self.models:
            self.problems[system.name, model.name] = f"does not install: {why.strip()[-300:]}"

    def measure(self, home: Path, say: Say) -> None:
        """Each round starts each system once for each model, one at a time."""
        for turn in range(self.plan.rounds):
            for model in self.models:
                for system in self.chosen:
                    if (system.name, model.name) in self.problems:
                        continue
                    self._measure_one(system, model, home, turn, say)

    def _measure_one(self, system: System, model: Trained, home: Path, turn: int, say: Say) -> None:
        prefix = f"round {turn + 1}/{self.plan.rounds}, {model.name}, {system.name}"

        def put(work: str, figure: str, value: float, unit: str) -> None:
            self.found[system.name, model.name, work, figure].append(value)
            self.units[model.name, work, figure] = unit

        say(f"{prefix}: start")
        try:
            with served(system, model, home) as running:
                session(running, self.wrk, self.plan, put, lambda text: say(f"{prefix}: {text}"))
        except (UnusableSystemError, OSError, RuntimeError) as error:
            self.problems[system.name, model.name] = str(error)
            say(f"{prefix}: {error}")

    def results(self, command: str) -> list[dict[str, Any]]:
        """Rows as in the other benchmarks; ``ratio``: how many times Headrace's figure."""
        medians = {key: statistics.median(values) for key, values in self.found.items()}
        rows = []
        for (system, *key), value in medians.items():
            model, work, figure = key
            ours = medians.get(("headrace", model, work, figure))
            rows.append(
                {
                    "work": f"{model}: {work}: {figure}",
                    "system": system,
                    "value": round(value, 4),
                    "unit": self.units[model, work, figure],
                    "ratio": round(value / ours, 4) if ours else None,
                    "command": command,
                }
            )
        return rows


def main() -> None:
    options = _options()
    plan = QUICK if options.quick else FULL
    if options.rounds:
        plan = Plan(**{**plan.__dict__, "rounds": options.rounds})
    wrk = Wrk(HOME)
    home = HOME / "serving"
    project = home / "project"
    with progress() as say:
        if not (options.reuse and project.exists()):
            say("train, register and deploy both models")
            make_project(project)
        models = []
        for name in options.models:
            say(f"{name}: export for the peers")
            kept = options.reuse and (home / name / "rows.json").exists()
            models.append(
                load_exported(name, home / name) if kept else export(project, name, home / name)
            )
        known = systems(project)
        run = Run([known[name] for name in options.systems], models, plan, wrk)
        run.install(HOME, say)
        run.measure(HOME, say)
    command = "make bench-serving" + (" QUICK=1" if options.quick else "")
    results = run.results(command)
    document = results + report(run.problems, command)
    (HOME / "serving.json").write_text(json.dumps(document, indent=2) + "\n")
    tables(results, run.problems, {name: known[name].settings for name in options.systems})


def progress() -> Any:
    """What is being done: a live line on a terminal, else a plain line each."""
    from contextlib import contextmanager

    from rich.console import Console

    @contextmanager
    def plain() -> Iterator[Say]:
        yield lambda text: print(text, file=sys.stderr, flush=True)

    @contextmanager
    def live(console: Console) -> Iterator[Say]:
        with console.status("") as status:
            yield status.update

    console = Console(stderr=True)
    return live(console) if console.is_terminal else plain()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.serving", description=__doc__)
    every = systems(HOME)
    parser.add_argument("--quick", action="store_true", help="the forest alone, in short runs")
    parser.add_argument("--systems", type=lambda t: t.split(","), default=list(every))
    parser.add_argument("--models", type=lambda t: t.split(","), default=None)
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--reuse", action="store_true", help="keep the models of the last run")
    options = parser.parse_args()
    if options.models is None:
        options.models = ["forest"] if options.quick else list(MODELS)
    for kind, names, all_ in (
        ("system", options.systems, every),
        ("model", options.models, MODELS),
    ):
        for name in names:
            if name not in all_:
                parser.error(f'there is no {kind} "{name}"; there are {", ".join(all_)}')
    return options


if __name__ == "__main__":
    main()
