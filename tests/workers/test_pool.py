"""Requests through a pool: what comes back, what fails alone, what is shared."""

from __future__ import annotations

import asyncio
import platform
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.workers.conftest import doubled, rows, soon

from headrace.environments import Environment, Lock, differences, ensure
from headrace.workers import (
    ModelFailedError,
    PoolClosedError,
    WorkerPool,
    WorkerSpec,
    kind_of,
)

COUNTS = """
import pandas as pd

class Model:
    def predict(self, frame):
        if (frame["x"] < 0).any():
            raise ValueError("no roots of negative numbers\\nsecond line")
        return pd.DataFrame({"root": frame["x"] ** 0.5, "shared": len(frame)})
"""


def test_a_pool_predicts_and_one_bad_request_fails_alone(
    log_model: Callable[..., Path], run_pool: Callable[..., Any]
) -> None:
    async def use(pool: WorkerPool) -> Any:
        return await asyncio.gather(
            *(pool.predict(rows(value), None, soon()) for value in (4.0, 9.0, -1.0, 16.0)),
            return_exceptions=True,
        )

    first, second, bad, last = run_pool(log_model(COUNTS), use, max=1)
    assert [each["root"].to_pylist() for each in (first, second, last)] == [[2.0], [3.0], [4.0]]
    assert kind_of(first) == "frame"
    assert isinstance(bad, ModelFailedError)
    assert bad.kind == "ValueError"
    assert bad.reason == "ValueError: no roots of negative numbers"


def test_requests_that_come_together_share_a_call(
    make_model: Callable[..., Path], run_pool: Callable[..., Any]
) -> None:
    async def use(pool: WorkerPool) -> list[pa.Table]:
        return list(
            await asyncio.gather(
                *(pool.predict(rows(float(value)), None, soon()) for value in range(50))
            )
        )

    answers = run_pool(make_model(COUNTS), use, max=1)
    assert [each["root"][0].as_py() for each in answers] == pytest.approx(
        [value**0.5 for value in range(50)]
    )
    assert max(each["shared"][0].as_py() for each in answers) > 1


def test_a_pool_that_is_closed_while_it_starts_leaves_nothing(
    make_model: Callable[..., Path], tmp_path: Path
) -> None:
    async def go() -> None:
        pool = WorkerPool(
            make_model(), Environment.running(), WorkerSpec(), tmp_path / "run", "tested"
        )
        starting = asyncio.create_task(pool.start())
        await asyncio.sleep(0)  # its process is being started
        await pool.close()
        with pytest.raises(PoolClosedError):
            await starting
        assert pool.pids() == []
        assert list((tmp_path / "run").iterdir()) == []

    asyncio.run(go())


def test_a_pool_runs_on_the_loop_of_the_plane(
    make_model: Callable[..., Path], run_pool: Callable[..., Any]
) -> None:
    import uvloop

    async def use(pool: WorkerPool) -> list[Any]:
        large = pa.table({"x": pa.array(np.arange(300_000.0))})
        answer = await pool.predict(large, None, soon())
        assert isinstance(answer, pa.Table)
        assert answer.column(0).to_numpy()[-1] == 599_998
        return list(await asyncio.gather(*(doubled(pool, float(each)) for each in range(20))))

    answers = run_pool(make_model(), use, max=1, loop=uvloop.new_event_loop)
    assert answers == [[each * 2.0] for each in range(20)]


TINY = """
import tiny


class Model:
    def predict(self, frame):
        return [tiny.VERSION] * len(frame)
"""


def test_a_model_runs_with_the_libraries_of_its_own_environment(
    log_model: Callable[..., Path],
    run_pool: Callable[..., Any],
    make_wheel: Callable[..., Path],
) -> None:
    make_wheel("tiny", "1.5")
    lock = Lock(f"# Python {platform.python_version()}\n# complete\ntiny==1.5\n")
    assert differences(lock) == ["tiny==1.5 is wanted, and is not installed"]
    environment = ensure(lock)
    # Without installing MLflow and pandas once more.
    (home,) = environment.python.parent.parent.glob("lib/python*/site-packages")
    (home / "here.pth").write_text(sysconfig.get_path("purelib") + "\n")

    async def use(pool: WorkerPool) -> Any:
        (worker,) = pool._workers
        running = Path(f"/proc/{worker.child.pid}/cmdline").read_text().split("\0")
        assert running[0] == str(environment.python)
        return await pool.predict(rows(1.0, 2.0), None, soon())

    assert run_pool(log_model(TINY), use, environment=environment, max=1) == ["1.5", "1.5"]


def test_a_model_runs_away_from_the_project_and_in_silence(
    make_model: Callable[..., Path],
    run_pool: Callable[..., Any],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    code = """
        import os
        import sys
        import tempfile


        class Model:
            def predict(self, frame):
                print("printed", os.getcwd())
                mode = oct(os.stat(tempfile.gettempdir()).st_mode & 0o777)
                return [[os.getcwd(), tempfile.gettempdir(), mode, sys.path[0]]] * len(frame)
    """

    async def use(pool: WorkerPool) -> Any:
        return await pool.predict(rows(1.0), None, soon())

    ((home, temporary, mode, first),) = run_pool(make_model(code), use, max=1)
    assert home == temporary
    assert Path(home).is_relative_to(tmp_path / "run")
    assert mode == "0o700"
    assert "headrace/workers" not in first
    assert "printed" not in "".join(capfd.readouterr())
