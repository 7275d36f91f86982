"""Models as files, and pools of workers that are closed afterwards."""

from __future__ import annotations

import asyncio
import textwrap
import time
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pyarrow as pa
import pytest
from tests.environments.conftest import make_wheel, wheels

from headrace.environments import Environment
from headrace.workers import Result, WorkerPool, WorkerSpec

__all__ = ["make_wheel", "wheels"]  # fixtures of the environments' tests

LOADER = """
import importlib.util
import sys
from pathlib import Path


def _load_pyfunc(path):
    spec = importlib.util.spec_from_file_location("tested", Path(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Model()
"""

DOUBLES = """
class Model:
    def predict(self, frame):
        return frame["x"] * 2
"""


def rows(*values: float | str | None, **columns: list[Any]) -> pa.Table:
    """A table of one column ``x``, or of the columns given."""
    return pa.table(columns or {"x": pa.array(list(values))})


def soon(seconds: float = 60.0) -> float:
    """A deadline so far from now."""
    return time.monotonic() + seconds


# All of MLflow that a worker asks for, without the second that its import takes.
MLFLOW = """
import importlib.util
from pathlib import Path


class Loaded:
    def __init__(self, model):
        self.metadata = self
        self.model = model

    def get_input_schema(self):
        return None

    def predict(self, data):
        return self.model.predict(data)


def load_model(path):
    spec = importlib.util.spec_from_file_location("tested", Path(path, "model.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Loaded(module.Model())
"""


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that workers import from before all others; it has an ``mlflow``."""
    home = tmp_path / "libraries"
    (home / "mlflow").mkdir(parents=True)
    (home / "mlflow" / "__init__.py").touch()
    (home / "mlflow" / "pyfunc.py").write_text(MLFLOW)
    monkeypatch.setenv("PYTHONPATH", str(home))
    return home


@pytest.fixture
def make_model(tmp_path: Path, libraries: Path) -> Callable[..., Path]:
    """A factory of models: ``make_model(code)``, where the code has a class ``Model``."""
    del libraries  # which load them
    made = 0

    def make(code: str = DOUBLES) -> Path:
        nonlocal made
        made += 1
        home = tmp_path / f"model{made}"
        home.mkdir()
        (home / "MLmodel").touch()
        (home / "model.py").write_text(textwrap.dedent(code))
        return home

    return make


@pytest.fixture
def log_model(tmp_path: Path) -> Callable[..., Path]:
    """The same by MLflow, with its options, for what MLflow itself does with rows."""
    made = 0

    def make(code: str = DOUBLES, **options: Any) -> Path:
        nonlocal made
        made += 1
        home = tmp_path / f"model{made}"
        scratch = tmp_path / f"scratch{made}"
        scratch.mkdir()
        (scratch / "tested_loader.py").write_text(LOADER)
        (scratch / "model.py").write_text(textwrap.dedent(code))
        with warnings.catch_warnings():
            # MLflow advises an input example for each signature.
            warnings.filterwarnings("ignore", "(?s).*An input example was not provided")
            mlflow.pyfunc.save_model(
                str(home),
                loader_module="tested_loader",
                data_path=str(scratch / "model.py"),
                code_paths=[str(scratch / "tested_loader.py")],
                pip_requirements=["mlflow"],
                **options,
            )
        return home

    return make


@pytest.fixture
def run_pool(tmp_path: Path) -> Callable[..., Any]:
    """Run a coroutine function with a started pool: ``run_pool(model, use, max=1)``."""

    def run(
        model: Path,
        use: Callable[[WorkerPool], Coroutine[Any, Any, Any]],
        *,
        environment: Environment | None = None,
        loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
        **spec: Any,
    ) -> Any:
        async def go() -> Any:
            async with started(model, tmp_path / "run", environment, **spec) as pool:
                return await use(pool)

        with asyncio.Runner(loop_factory=loop) as runner:
            return runner.run(go())

    return run


@asynccontextmanager
async def started(
    model: Path,
    directory: Path,
    environment: Environment | None = None,
    proof: Callable[[], None] | None = None,
    **spec: Any,
) -> AsyncIterator[WorkerPool]:
    """A pool that has started; it is closed at the end of the block."""
    environment = environment or Environment.running()
    pool = WorkerPool(model, environment, WorkerSpec(**spec), directory, "tested", proof)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


async def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


def values(result: Result) -> list[Any]:
    """The only column of a result."""
    assert isinstance(result, pa.Table)
    (column,) = result.columns
    listed: list[Any] = column.to_pylist()
    return listed


async def doubled(pool: WorkerPool, value: float = 1.0) -> list[Any]:
    """The answer to one request of one row."""
    return values(await pool.predict(rows(value), None, soon()))
