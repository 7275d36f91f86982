"""The demo: the whole loop on a simulated fleet, told step by step.

1. Write the ``device-health`` project and simulate a month of telemetry into ``raw/``.
2. ``headrace run``: tables, a first model, its gate, a deployment, a scored table.
3. Start the scoring plane and keep asking it.
4. Improve the model by one edit of ``headrace.yaml`` and run again: the challenger meets the
   champion on the same hold-out rows, and its deployment takes over the traffic in steps.
5. Trace one answered prediction back to its raw file.
6. Write down the evidence of the model in production, and verify it from the files alone.
"""

from __future__ import annotations

import math
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from headrace.demo.proof import Proof, hand_over
from headrace.demo.simulate import Simulation, simulate
from headrace.demo.traffic import LiveTraffic, Tally
from headrace.endpoints import decisions, endpoint_status
from headrace.endpoints.address import hold, release
from headrace.errors import HeadraceError
from headrace.project import Observer, Plan, Run, apply, build, init, open_project
from headrace.registry import resolve
from headrace.serving import running_plane
from headrace.settings import Paths, read_token
from headrace.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from headrace.trace import Trace

TEMPLATE = "device-health"
ENDPOINT = "device-failure"
MODEL = "device_failure"
FEATURES = "gold.device_features"
LATEST = "gold.device_latest"
PREDICTIONS = "gold.device_failure_predictions"

#: What a person would edit in headrace.yaml to improve the first model: let it see every feature.
IMPROVEMENT = (
    "    # Without this line the model sees every column that is not listed elsewhere here.\n"
    "    features: [temperature_3h, pressure_3h, vibration_3h, load_3h]\n",
    "",
)
#: The demo has no time for the template's two minutes between the steps of a rollout.
HASTE = ("every: 2m", "every: 3s")

_MARK = "demo"
_PATIENCE = 90.0


class DemoDirectoryError(HeadraceError):
    """The directory holds something that is not an earlier demo."""

    code = "demo_directory"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        super().__init__(
            "The demo does not overwrite what it did not make.",
            where=str(directory),
            why="the directory holds files that are not from an earlier demo",
            next="headrace demo another-directory",
        )


class DemoStalledError(HeadraceError):
    """Something that the demo waits for did not come."""

    code = "demo_stalled"

    def __init__(self, awaited: str, seconds: float, hint: str) -> None:
        self.awaited, self.seconds = awaited, seconds
        super().__init__(
            f"Waited {seconds:.0f} s for {awaited}.",
            why=hint,
            next="headrace status; headrace doctor",
        )


class Teller(Protocol):
    """Where the story is told; ``headrace.cli.output.Telling`` prints it."""

    def heading(self, text: str) -> None:
        """The next chapter."""

    def line(self, text: str) -> None:
        """One thing that happened."""

    def waiting(self, text: str) -> AbstractContextManager[None]:
        """Shown while something is awaited."""


@dataclass(frozen=True)
class Story:
    """What happened, for the summary.

    Attributes:
        url: of the scoring plane, up as long as the caller's ``ExitStack`` is open.
        shares: the traffic split each time it changed, oldest first.
        traffic: what the live client saw.
        trace: of the newest prediction that the client was answered.
        proof: the evidence of the version in production, verified.
        seconds: wall time of the whole story.
    """

    workspace: Workspace
    url: str
    simulation: Simulation
    first: Run
    second: Run
    shares: tuple[dict[str, int], ...]
    traffic: Tally
    trace: Trace
    proof: Proof
    seconds: float


def tell(
    directory: Path, teller: Teller, observer_for: Callable[[Plan], Observer], stack: ExitStack
) -> Story:
    """Run the demo. The scoring plane stays up until ``stack`` closes.

    Raises:
        HeadraceError: a step failed, or something did not come in time.
    """
    began = time.monotonic()
    workspace, simulation = _setting(directory, teller)
    teller.heading("2  Tables, a first model, its gate, a deployment, a scored table")
    first = run_once(workspace, observer_for)
    teller.heading("3  The scoring plane, and a client that keeps asking")
    with teller.waiting("starting the scoring plane"):
        url = stack.enter_context(running_plane(workspace.paths))
    teller.line(f"{url}/endpoints/{ENDPOINT}/invocations")
    teller.line(f"{MODEL} answers from {kernel(workspace)}")
    with asking(workspace, url) as traffic:
        wait_for(
            "the first answers",
            lambda: traffic.tally.served >= 40,
            lambda: traffic.tally.problem or "see .headrace/plane.log",
        )
        teller.heading("4  One edit of headrace.yaml, and the challenger takes over")
        improve(workspace)
        teller.line(f"removed: {IMPROVEMENT[0].splitlines()[1].strip()}")
        second = run_once(workspace, observer_for)
        shares = _watch_rollout(workspace, teller)
        answered = traffic.tally.served
        wait_for(
            "answers of the new version",
            lambda: traffic.tally.served >= answered + 40,
            lambda: traffic.tally.problem or "see .headrace/plane.log",
        )
    teller.line(f"{traffic.tally.served:,} requests served, {traffic.tally.failed} failed")
    teller.heading("5  One prediction, back to its raw file")
    trace = _trace(workspace, traffic.tally, teller)
    teller.heading("6  The evidence of the model in production, checked from its files alone")
    proof = _prove(workspace, teller)
    return Story(
        workspace, url, simulation, first, second, tuple(shares), traffic.tally, trace, proof,
        time.monotonic() - began,
    )  # fmt: skip


def _setting(directory: Path, teller: Teller) -> tuple[Workspace, Simulation]:
    teller.heading("1  A project, and a month of telemetry")
    workspace = prepare(directory)
    teller.line(f"headrace init {directory} --template {TEMPLATE}")
    with teller.waiting("simulating 200 devices"):
        simulation = simulate(workspace.paths.root / "raw")
    defects = ", ".join(f"{count:,} {name}" for name, count in simulation.defects.items())
    teller.line(
        f"{simulation.rows:,} rows in {simulation.files} Parquet files, "
        f"{simulation.failures} failures"
    )
    teller.line(f"with {defects}")
    return workspace, simulation


def _watch_rollout(workspace: Workspace, teller: Teller) -> list[dict[str, int]]:
    seen: list[dict[str, int]] = []

    def over() -> bool:
        status = endpoint_status(workspace, ENDPOINT)
        if status.shares and (not seen or status.shares != seen[-1]):
            seen.append(dict(status.shares))
            split = ", ".join(f"{colour} {share} %" for colour, share in status.shares.items())
            teller.line(f"traffic: {split}  ({_why(workspace, status.shares)})")
        return status.rollout is None and status.state == "live"

    with teller.waiting("rolling out"):
        wait_for("the rollout to end", over, lambda: "see .headrace/plane.log")
    return seen


def _why(workspace: Workspace, shares: dict[str, int]) -> str:
    """The reason of the newest decision for such a split of the traffic."""
    made = decisions(workspace, ENDPOINT)
    return next((one.reason for one in made if one.shares_after == shares), "")


def kernel(workspace: Workspace) -> str:
    """What answers for the model in production, as its registration found."""
    tag = resolve(workspace, f"{MODEL}@production").tags.get("headrace.kernel", "none: never tried")
    if tag.startswith("none"):
        return f"workers, {tag.replace('none', 'as it has no kernel', 1)}"
    return f"its kernel, proven to be the model: {tag}"


def _trace(workspace: Workspace, tally: Tally, teller: Teller) -> Trace:
    from headrace.trace import trace_prediction

    prediction = tally.last_prediction or ""
    with teller.waiting("waiting for the request log"):
        table = endpoint_status(workspace, ENDPOINT).table
        wait_for(
            "the request log",
            lambda: _logged(workspace, table, prediction),
            lambda: "it lands within 10 s",
        )
    teller.line(f"headrace trace {prediction}")
    return trace_prediction(workspace, prediction)


def _prove(workspace: Workspace, teller: Teller) -> Proof:
    proof = hand_over(workspace, f"{MODEL}@production")
    root = workspace.paths.root
    envelope, key = proof.envelope.relative_to(root), proof.key.relative_to(root)
    files = "" if proof.model is None else f" --model {proof.model}"
    teller.line(f"headrace verify {envelope} --key {key}{files}")
    found = proof.verification
    teller.line(f"{found.subject}: {'verified' if found.ok else 'NOT VERIFIED'}")
    return proof


def _logged(workspace: Workspace, table: str, prediction: str) -> bool:
    from headrace import lakehouse

    entry = workspace.catalog.find(table)
    if entry is None or entry.location is None:
        return False
    found = lakehouse.read(
        entry.location, columns=["prediction_id"], filter=f"prediction_id = '{prediction}'"
    )
    return bool(found.num_rows)


def prepare(directory: Path) -> Workspace:
    """Write the project; an earlier demo in the same place makes way.

    Raises:
        DemoDirectoryError: the directory holds something else.
        PlaneRunningError: the earlier demo is still being served.
    """
    directory = directory.resolve()
    if directory.exists() and any(directory.iterdir()):
        if not (directory / ".headrace" / _MARK).exists():
            raise DemoDirectoryError(directory)
        _remove(directory)
    init(directory, TEMPLATE)
    _edit(directory, *HASTE)
    (directory / ".headrace" / _MARK).touch()
    return open_workspace(directory)


def _remove(directory: Path) -> None:
    """Remove an earlier demo. It loses its name first: half of one would not be known for one."""
    paths = Paths(directory)
    release(paths, hold(paths))
    doomed = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
    directory.rename(doomed)
    shutil.rmtree(doomed)


def run_once(workspace: Workspace, observer_for: Callable[[Plan], Observer]) -> Run:
    """``headrace run``, for the demo.

    Raises:
        HeadraceError: the first step that failed, with its reason.
    """
    desired = open_project(workspace)
    plan = build(desired)
    run = apply(desired, plan, observer_for(plan))
    for outcome in run.failed:
        if outcome.error is not None:
            raise outcome.error
    return run


def improve(workspace: Workspace) -> None:
    """Make the edit that gives the second version its edge."""
    _edit(workspace.paths.root, *IMPROVEMENT)


def requests(workspace: Workspace, limit: int = 400) -> list[dict[str, Any]]:
    """Rows to ask about: the latest window of each device, as JSON values."""
    from headrace import lakehouse

    location = workspace.catalog.resolve(LATEST).location
    latest = lakehouse.read(location or "").slice(0, limit).to_pylist()
    return [{name: _json_value(value) for name, value in row.items()} for row in latest]


def _json_value(value: Any) -> Any:
    """Doubles as they are, times in ISO 8601; JSON has no NaN."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


@contextmanager
def asking(workspace: Workspace, address: str) -> Iterator[LiveTraffic]:
    """Keep the endpoint busy while the block runs."""
    rows = requests(workspace)
    with LiveTraffic(address, ENDPOINT, read_token(workspace.paths), rows) as traffic:
        yield traffic


def wait_for(
    awaited: str, done: Callable[[], bool], hint: Callable[[], str], patience: float = _PATIENCE
) -> None:
    """Look every 0.1 s until ``done``.

    Args:
        awaited: what, in words.
        done: whether it is there.
        hint: why it may not have come, asked for when the patience is over.
        patience: seconds.

    Raises:
        DemoStalledError: it did not come in time.
    """
    deadline = time.monotonic() + patience
    while not done():
        if time.monotonic() > deadline:
            raise DemoStalledError(awaited, patience, hint())
        time.sleep(0.1)


def _edit(directory: Path, old: str, new: str) -> None:
    path = directory / "headrace.yaml"
    text = path.read_text()
    if old not in text:
        raise DemoDirectoryError(directory)
    path.write_text(text.replace(old, new, 1))
