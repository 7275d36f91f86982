"""What a version costs to use: the time of one row, and the size of its files."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from headrace.endpoints import records
from headrace.gate.findings import Latency, Size
from headrace.promotion.errors import ModelElsewhereError
from headrace.tracking.data import frame_for

if TYPE_CHECKING:
    from headrace.promotion.scores import Contender
    from headrace.registry import ModelVersion
    from headrace.tracking.holdout import HoldoutRows
    from headrace.workspace import Workspace

_ROUNDS: Final = {"kernel": 5, "worker": 3}
_ROWS: Final = {"kernel": 300, "worker": 100}
_WARM_UP: Final = 20
_ANSWER_SECONDS: Final = 30.0


def model_directory(workspace: Workspace, version: ModelVersion) -> Path:
    """Where a version's files lie.

    Raises:
        ModelElsewhereError: not on this machine.
    """
    path = records.model_directory(workspace.store, version.model_id)
    if path is None or not path.is_dir():
        raise ModelElsewhereError(version.name, str(version), str(path or "another machine"))
    return path


def size(workspace: Workspace, version: ModelVersion) -> Size:
    """The version's files, its kernel included.

    Raises:
        ModelElsewhereError: they are not on this machine.
    """
    home = model_directory(workspace, version)
    sizes = [path.stat().st_size for path in home.rglob("*") if path.is_file()]
    return Size(bytes=sum(sizes), files=len(sizes))


def latency(workspace: Workspace, candidate: Contender, held: HoldoutRows) -> Latency:
    """How long single rows of the hold-out take, where the version will be scored.

    That is its kernel in this process, or else a worker in its own environment, which is built if
    need be. Several rounds are measured and the best one counts: other work on the machine makes
    a round slower and never faster, so that a busy machine does not refuse a model.

    Raises:
        ModelElsewhereError: its files are not on this machine.
        EnvironmentBuildError: it has no kernel, and its libraries cannot be installed.
        BatchWorkerError: it has no kernel, and fails in the worker.
    """
    from headrace.kernels import Kernel, read_report

    home = model_directory(workspace, candidate.version)
    report = read_report(home)
    rows = _single_rows(candidate, held)
    if report is not None and report.proven:
        kernel = Kernel(home / "kernel")
        return _measured("kernel", rows, lambda row: kernel.predict(row, 1))
    from headrace.environments import ensure, lock_of
    from headrace.payloads.inputs import Inputs
    from headrace.workers import BatchWorker

    with BatchWorker(home, ensure(lock_of(home))) as worker:

        def predict(row: dict[str, Any]) -> object:
            table = Inputs(1, dict[str | int, Any](row.items())).arrow()
            return worker.predict(table, seconds=_ANSWER_SECONDS)

        return _measured("worker", rows, predict)


def _single_rows(candidate: Contender, held: HoldoutRows) -> list[dict[str, Any]]:
    """Rows of the hold-out as the model takes them, an array of one for each column."""
    some = held.rows.slice(0, max(_ROWS.values()))
    frame = frame_for(some, candidate.inputs, candidate.version.name, held.record.table_name)
    arrays = {str(name): frame[name].to_numpy() for name in frame.columns}
    return [
        {name: values[at : at + 1] for name, values in arrays.items()} for at in range(len(frame))
    ]


def _measured(
    subject: Literal["kernel", "worker"],
    rows: list[dict[str, Any]],
    predict: Callable[[dict[str, Any]], object],
) -> Latency:
    count = _ROWS[subject]
    for at in range(_WARM_UP):
        predict(rows[at % len(rows)])
    rounds = []
    for _ in range(_ROUNDS[subject]):
        taken = []
        for at in range(count):
            row = rows[at % len(rows)]
            started = time.perf_counter()
            predict(row)
            taken.append(time.perf_counter() - started)
        taken.sort()
        # The 99th percentile by nearest rank, and the median, of this round.
        rounds.append((taken[-(-count * 99 // 100) - 1], taken[count // 2]))
    p99, p50 = min(rounds)
    return Latency(
        subject=subject,
        p99=p99,
        p50=p50,
        rounds=tuple(each for each, _ in rounds),
        rows=count,
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
    )
