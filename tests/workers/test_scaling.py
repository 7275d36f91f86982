"""How many workers: by the time that requests wait, between bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.workers.conftest import DOUBLES, doubled, rows, soon, until, values

from headrace.workers import WorkerPool, WorkersBusyError, WorkerSpec
from headrace.workers.scaling import Backoff, Scaling

SLOW = """
import time


class Model:
    def predict(self, frame):
        time.sleep(float(frame["x"].max()))
        return frame["x"]
"""

THREADS = """
import threading
import time

threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
"""


def looks(scaling: Scaling, *ages: float, workers: int, starting: int = 0) -> list[int]:
    """What is wanted at each look, with requests that have waited so long."""
    return [scaling.wanted(workers, starting, age, asked=age > 0) for age in ages]


def test_one_more_after_two_looks_at_a_long_wait() -> None:
    scaling = Scaling(WorkerSpec(min=1, max=3, queue_time="50ms"))
    assert looks(scaling, 0.04, 0.06, 0.04, 0.06, 0.07, workers=1) == [1, 1, 1, 1, 2]
    assert looks(scaling, 0.06, 0.07, 0.08, workers=1, starting=1) == [2, 2, 2]
    assert looks(scaling, 0.06, 0.07, 0.08, workers=3) == [3, 3, 3]


def test_a_wait_that_is_over_counts_too() -> None:
    scaling = Scaling(WorkerSpec(min=1, max=3, queue_time="50ms"))
    scaling.waited(0.2)
    assert looks(scaling, 0.0, workers=1) == [1]
    scaling.waited(0.2)
    assert looks(scaling, 0.0, 0.0, workers=1) == [2, 1]


def test_none_are_wanted_of_nobody_and_one_of_somebody() -> None:
    scaling = Scaling(WorkerSpec(min=0, max=3))
    assert looks(scaling, 0.0, 0.001, workers=0) == [0, 1]
    assert looks(scaling, 0.0, workers=1) == [0]


def test_deaths_in_a_row_wait_longer_up_to_a_bound() -> None:
    backoff = Backoff()
    pauses = []
    for now in range(0, 2000, 100):
        backoff.died(float(now), "killed")
        pauses.append(backoff.until - now)
    assert pauses[:5] == [0.0, 0.25, 0.5, 1.0, 2.0]
    assert max(pauses) == 30.0
    backoff.worked(opened=100.0)  # it was there before
    assert backoff.reason == "killed"
    backoff.worked(opened=3000.0)
    assert not backoff.reason
    assert backoff.until == 0.0


@pytest.mark.parametrize("fields", [{"min": 3, "max": 2}, {"idle": "0s"}, {"memory": "1MiB"}])
def test_a_spec_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"min|idle|memory"):
        WorkerSpec(**fields)


def test_waiting_requests_bring_a_forked_worker_and_idleness_ends_it(
    make_model: Callable[..., Path], run_pool: Callable[..., Any]
) -> None:
    async def use(pool: WorkerPool) -> None:
        await until(lambda: pool.preloaded)
        waiting = [asyncio.create_task(pool.predict(rows(0.3), None, soon())) for _ in range(6)]
        await until(lambda: pool.stats().workers == 2)
        assert sorted(worker.child.forked for worker in pool._workers) == [False, True]
        answers = await asyncio.gather(*waiting)
        assert [values(each) for each in answers] == [[0.3]] * 6
        await until(lambda: pool.stats().workers == 1)
        assert pool.stats().restarts == 0

    run_pool(make_model(SLOW), use, max=2, batch_rows=1, idle="300ms", queue_time="20ms")


def test_none_when_idle_and_one_when_asked(
    make_model: Callable[..., Path], run_pool: Callable[..., Any]
) -> None:
    async def use(pool: WorkerPool) -> None:
        await until(lambda: pool.preloaded)
        for _ in range(2):
            await until(lambda: pool.stats().workers == 0)
            assert await doubled(pool, 4.0) == [8.0]
        assert pool.stats().restarts == 0

    run_pool(make_model(), use, min=0, max=1, idle="100ms")


def test_a_library_with_threads_is_not_forked(
    make_model: Callable[..., Path], libraries: Path, run_pool: Callable[..., Any]
) -> None:
    (libraries / "threaded.py").write_text(THREADS)

    async def use(pool: WorkerPool) -> None:
        (worker,) = pool._workers
        crew = pool._crew
        assert crew is not None
        await until(lambda: not crew._tasks)  # the template has imported them
        assert not pool.preloaded
        worker.kill("by the test")
        await until(lambda: pool.stats().workers == 0)
        assert await doubled(pool) == [2.0]
        assert [worker.child.forked for worker in pool._workers] == [False]

    run_pool(make_model("import threaded\n" + DOUBLES), use, max=1)


def test_requests_that_cannot_be_answered_in_time_are_turned_away_at_once(
    make_model: Callable[..., Path], run_pool: Callable[..., Any]
) -> None:
    async def use(pool: WorkerPool) -> None:
        await pool.predict(rows(0.2), None, soon())
        waiting = [asyncio.create_task(pool.predict(rows(0.2), None, soon())) for _ in range(6)]
        await until(lambda: pool.stats().queued == 5)
        with pytest.raises(WorkersBusyError) as caught:
            await pool.predict(rows(0.2), None, soon(0.5))
        assert caught.value.status == 429
        assert caught.value.retry_after >= 1
        assert pool.stats().queued >= 1  # it did not wait to be told
        await asyncio.gather(*waiting)

    run_pool(make_model(SLOW), use, max=1, batch_rows=1, preload=False)


def test_the_numbers_of_a_pool(
    make_model: Callable[..., Path], run_pool: Callable[..., Any]
) -> None:
    async def use(pool: WorkerPool) -> None:
        assert pool.stats().predict_seconds is None
        await pool.predict(rows(0.05), None, soon())
        stats = pool.stats()
        assert (stats.workers, stats.busy, stats.queued, stats.restarts) == (1, 0, 0, 0)
        assert stats.memory > 20 << 20
        assert stats.predict_seconds is not None
        assert stats.predict_seconds >= 0.05
        assert stats.start_seconds is not None

    run_pool(make_model(SLOW), use, max=1, preload=False)
