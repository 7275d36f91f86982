"""Workers that die, hang, grow, or never come up; and the parent that is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.workers.conftest import DOUBLES, doubled, rows, soon, started, until, values

from headrace.errors import HeadraceError
from headrace.evidence.errors import EvidenceRefusedError
from headrace.workers import (
    PoolClosedError,
    WorkerDeadlineError,
    WorkerDiedError,
    WorkerPool,
    WorkerStartError,
    WorkersUnavailableError,
)

Make = Callable[..., Path]
Run = Callable[..., Any]

# Negative numbers are orders; others are doubled.
TROUBLE = """
import os
import signal
import time

import numpy as np


class Model:
    def __init__(self):
        self.kept = []

    def predict(self, frame):
        order = int(frame["x"].min())
        if order == -1:
            os.kill(os.getpid(), signal.SIGSEGV)
        if order == -2:
            time.sleep(60)
        if order == -3:
            return np.ones(1 << 40)
        if order == -4:
            while True:
                self.kept.append(np.ones(1 << 21))
                time.sleep(0.001)
        if order == -5:
            raise SystemExit("a model that exits")
        if order == -6:
            time.sleep(0.3)
        return frame["x"] * 2
"""


async def sent(pool: WorkerPool, value: float, seconds: float = 60.0) -> Any:
    """A request of one row."""
    return await pool.predict(rows(value), None, soon(seconds))


async def failing(pool: WorkerPool, value: float) -> Any:
    """The error that a request ends with."""
    with pytest.raises(HeadraceError) as caught:
        await sent(pool, value)
    return caught.value


def test_a_worker_that_is_killed_fails_what_it_had_and_is_replaced(
    make_model: Make, run_pool: Run
) -> None:
    async def use(pool: WorkerPool) -> None:
        (worker,) = pool._workers
        hung = asyncio.create_task(sent(pool, -2.0))
        await until(lambda: bool(worker.busy))
        waiting = asyncio.create_task(sent(pool, 3.0))
        await until(lambda: pool.stats().queued == 1)
        os.kill(worker.child.pid, signal.SIGKILL)
        with pytest.raises(WorkerDiedError, match="SIGKILL") as caught:
            await hung
        assert caught.value.status == 503
        assert values(await waiting) == [6.0]
        assert pool.stats().restarts == 1

    run_pool(make_model(TROUBLE), use, max=1)


def test_a_request_that_crashes_its_worker_spares_those_that_shared_its_call(
    make_model: Make, run_pool: Run
) -> None:
    async def use(pool: WorkerPool) -> list[Any]:
        slow = asyncio.create_task(sent(pool, -6.0))
        await until(lambda: pool.stats().busy == 1)
        shared = [asyncio.create_task(sent(pool, value)) for value in (1.0, -1.0, 2.0)]
        await slow
        return await asyncio.gather(*shared, return_exceptions=True)

    first, crashed, last = run_pool(make_model(TROUBLE), use, max=1)
    assert values(first) == [2.0]
    assert isinstance(crashed, WorkerDiedError)
    assert "SIGSEGV" in str(crashed.why)
    assert values(last) == [4.0]


def test_a_prediction_past_its_deadline_ends_its_worker_only(
    make_model: Make, run_pool: Run
) -> None:
    async def use(pool: WorkerPool) -> None:
        before = {worker.child.pid for worker in pool._workers}
        with pytest.raises(WorkerDeadlineError) as caught:
            await sent(pool, -2.0, seconds=0.2)
        assert caught.value.status == 504
        assert await doubled(pool) == [2.0]
        after = {worker.child.pid for worker in pool._workers}
        assert before.isdisjoint(after)
        await until(lambda: not any(alive(pid) for pid in before))

    run_pool(make_model(TROUBLE), use, max=1)


def test_too_much_memory_at_once_fails_one_request_and_no_worker(
    make_model: Make, run_pool: Run
) -> None:
    async def use(pool: WorkerPool) -> Any:
        (worker,) = pool._workers
        error = await failing(pool, -3.0)
        assert pool._workers == {worker}
        assert await doubled(pool) == [2.0]
        return error

    error = run_pool(make_model(TROUBLE), use, max=1, memory="1GiB")
    assert "MemoryError" in error.kind


def test_a_worker_that_grows_over_its_memory_is_stopped(make_model: Make, run_pool: Run) -> None:
    async def use(pool: WorkerPool) -> Any:
        error = await failing(pool, -4.0)
        assert await doubled(pool) == [2.0]
        return error

    error = run_pool(make_model(TROUBLE), use, max=1, memory="600MiB")
    # Whichever is first: the limit on what it asks for, or the look at what it has.
    assert "memory" in str(error).lower()


def test_a_model_that_exits_is_an_error_of_its_request(make_model: Make, run_pool: Run) -> None:
    async def use(pool: WorkerPool) -> Any:
        error = await failing(pool, -5.0)
        assert await doubled(pool) == [2.0]
        return error

    assert run_pool(make_model(TROUBLE), use, max=1).reason == "SystemExit: a model that exits"


@pytest.mark.parametrize(
    ("code", "spec", "why"),
    [
        ("raise KeyError('no such weights')", {}, "KeyError: 'no such weights'"),
        ("import os; os.abort()", {}, "SIGABRT"),
        ("import numpy as np; np.ones(1 << 40)", {"memory": "1GiB"}, "MemoryError"),
        ("import time; time.sleep(60)", {"start": "1s"}, "longer than 1 s"),
        ("import pandas, pyarrow.parquet\n" + DOUBLES, {"memory": "64MiB"}, "of 64 allowed"),
    ],
)
def test_a_model_that_does_not_load_says_why(
    make_model: Make, run_pool: Run, tmp_path: Path, code: str, spec: dict[str, str], why: str
) -> None:
    async def use(pool: WorkerPool) -> None:
        raise AssertionError(pool.stats())

    with pytest.raises(WorkerStartError) as caught:
        run_pool(make_model(code), use, **spec)
    assert why in str(caught.value.why)
    assert list((tmp_path / "run").iterdir()) == []


def test_a_worker_that_takes_the_place_of_another_must_be_proven_too(
    make_model: Make, tmp_path: Path
) -> None:
    model = make_model(TROUBLE)

    def proof() -> None:
        if (model / "planted.py").exists():
            raise EvidenceRefusedError("tested", 1, "production", ["not signed: planted.py"])

    async def use() -> WorkersUnavailableError:
        async with started(model, tmp_path / "run", proof=proof, max=1) as pool:
            assert await doubled(pool) == [2.0]
            (model / "planted.py").touch()
            with pytest.raises(WorkerDiedError):
                await sent(pool, -1.0)
            errors: list[Any] = []
            while not errors or not isinstance(errors[-1], WorkersUnavailableError):
                errors += await asyncio.gather(sent(pool, 1.0, seconds=2), return_exceptions=True)
            return errors[-1]

    assert "not signed: planted.py" in str(asyncio.run(use()).why)


def test_a_start_that_fails_again_and_again_waits_longer_and_says_so(
    make_model: Make, run_pool: Run
) -> None:
    model = make_model(TROUBLE)

    async def use(pool: WorkerPool) -> WorkersUnavailableError:
        (model / "MLmodel").rename(model / "gone")
        with pytest.raises(WorkerDiedError):
            await sent(pool, -1.0)
        errors: list[Any] = []
        while not errors or not isinstance(errors[-1], WorkersUnavailableError):
            errors += await asyncio.gather(sent(pool, 1.0, seconds=5), return_exceptions=True)
        return errors[-1]

    error = run_pool(model, use, max=1, preload=False)
    assert "MLmodel" in str(error.why)
    assert error.retry_after >= 1


def test_close_answers_what_waits_and_takes_no_more(make_model: Make, run_pool: Run) -> None:
    async def use(pool: WorkerPool) -> list[Any]:
        waiting = [asyncio.create_task(sent(pool, value)) for value in (-6.0, 1.0, 2.0)]
        await until(lambda: pool.stats().busy == 1)
        pids = [worker.child.pid for worker in pool._workers]
        await pool.close()
        with pytest.raises(PoolClosedError):
            await doubled(pool)
        assert not [pid for pid in pids if alive(pid)]
        assert pool.stats().restarts == 0
        return await asyncio.gather(*waiting)

    answers = run_pool(make_model(TROUBLE), use)
    assert [values(each) for each in answers] == [[-12.0], [2.0], [4.0]]


PARENT = """
import asyncio
import sys
import threading
import time
from pathlib import Path

from headrace.environments import Environment
from headrace.workers import BatchWorker, WorkerPool, WorkerSpec
import pyarrow as pa


async def main():
    model, home = Path(sys.argv[1]), Path(sys.argv[2])
    pool = WorkerPool(model, Environment.running(), WorkerSpec(min=2), home)
    await pool.start()
    while pool.stats().workers < 2 or not pool._crew.preloaded:
        await asyncio.sleep(0.02)
    batch = BatchWorker(model, Environment.running())
    # From a thread that ends: the process that it starts must not end with it.
    starter = threading.Thread(target=batch.predict, args=(pa.table({"x": [1.0]}),))
    starter.start()
    await asyncio.to_thread(starter.join)
    batch.predict(pa.table({"x": [1.0]}))
    pids = [each.child.pid for each in pool._workers]
    pids += [pool._crew._template.child.pid, batch.pid]
    busy = [
        asyncio.create_task(pool.predict(pa.table({"x": [-2.0]}), None, time.monotonic() + 60))
        for _ in range(2)
    ]
    while pool.stats().busy < 2:
        await asyncio.sleep(0.02)
    print(*pids, flush=True)
    await asyncio.gather(*busy)


asyncio.run(main())
"""


def test_workers_that_went_with_their_template_come_again(make_model: Make, run_pool: Run) -> None:
    async def use(pool: WorkerPool) -> None:
        await until(lambda: pool.preloaded)
        (first,) = pool._workers
        first.kill("by the test")
        await until(lambda: pool.stats().workers == 1 and first not in pool._workers)
        (forked,) = pool._workers
        assert forked.child.forked
        parent = Path(f"/proc/{forked.child.pid}/stat").read_text().rpartition(")")[2].split()[1]
        os.kill(int(parent), signal.SIGKILL)
        await until(lambda: forked not in pool._workers)
        assert await doubled(pool) == [2.0]
        await until(lambda: pool.preloaded)
        assert not alive(forked.child.pid)

    run_pool(make_model(TROUBLE), use, max=1)


def test_nothing_is_left_when_the_parent_is_killed(make_model: Make, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, script, make_model(TROUBLE), tmp_path / "run"],
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 4
        assert all(alive(pid) for pid in pids)
        parent.kill()
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, [pid for pid in pids if alive(pid)]


def test_a_later_pool_removes_what_a_killed_parent_left(
    make_model: Make, run_pool: Run, tmp_path: Path
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = tmp_path / "run" / f"workers-{gone.pid}-abc"
    left.mkdir(parents=True)
    run_pool(make_model(), doubled)
    assert list((tmp_path / "run").iterdir()) == []


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
