"""Loading models of real flavors by their immutable URI."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from headrace.clock import now
from headrace.endpoints.records import Deployment, model_directory
from headrace.payloads.codec import parse
from headrace.payloads.errors import ModelNotServableError
from headrace.payloads.inputs import Inputs
from headrace.payloads.signature import Field, Signature
from headrace.serving.errors import PredictionFailedError
from headrace.serving.live import Live
from headrace.serving.loading import Loader
from headrace.serving.pool import ThreadPool
from headrace.serving.scorer import (
    INLINE_TABLE_ROWS,
    KernelScorer,
    Scorer,
    WorkerScorer,
    reason_of,
    score,
    smoke,
)
from headrace.workers import ModelFailedError

from .fakes import Adder

if TYPE_CHECKING:
    import pyarrow as pa
    from tests.planes import Served

    from headrace.payloads.answer import Answers

JSON = "application/json"


def deployment(served: Served, kind: str) -> Deployment:
    version = served.versions[kind]
    moment = now()
    return Deployment(
        "dep_1", "scores", "blue", version.name, version.version, version.model_id, "loading",
        None, moment, moment,
    )  # fmt: skip


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Loader]:
    """Loads for an event loop in a thread, as the plane does."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    pool = ThreadPool(1, 1, 30.0)
    loader = Loader(Live(), pool, tmp_path / "workers", loop)
    yield loader
    asyncio.run_coroutine_threadsafe(loader.close(), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    pool.close()


def answer(scorer: Scorer, body: bytes, media: str = JSON) -> Answers:
    """What a scorer answers to a request."""
    payload = parse(body, media)
    inputs = scorer.signature.typed(payload)
    asked = score(scorer, inputs, payload.params, time.monotonic() + 30, "m/1")
    if scorer.loop is None:
        return asyncio.run(asked)
    return asyncio.run_coroutine_threadsafe(asked, scorer.loop).result(60)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """MLflow warns of its own affairs while it loads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_a_model_is_found_through_the_database(project: Served, load: Loader) -> None:
    wanted = deployment(project, "first")
    path = model_directory(project.workspace.store, wanted.model_id)
    assert path is not None
    scorer, used = load(wanted, "sqlite:////nowhere/at/all.db", path)
    assert used == path
    smoke(scorer, wanted.model)
    body = b'{"inputs": {"a": [1], "b": [2], "site": ["x"]}}'
    assert answer(scorer, body).scores() == [1021.0]


def test_without_a_known_directory_mlflow_is_asked(project: Served, load: Loader) -> None:
    wanted = deployment(project, "second")
    scorer, path = load(wanted, project.paths.database_url, Path("/no/such/directory"))
    assert (path / "MLmodel").is_file()
    assert b'"a"' in scorer.example(), "made up: it was logged without an example"
    smoke(scorer, wanted.model)
    assert list(path.parent.iterdir()) == [path], "nothing else is left of the copy"
    _, again = load(wanted, "sqlite:////nowhere/at/all.db", None)
    assert again == path


def test_the_database_does_not_know_other_models(project: Served) -> None:
    assert model_directory(project.workspace.store, "m-unknown") is None


def test_another_model_in_the_directory_is_refused(project: Served, load: Loader) -> None:
    path = model_directory(project.workspace.store, project.versions["first"].model_id)
    with pytest.raises(ModelNotServableError, match="cannot be served") as caught:
        load(deployment(project, "second"), project.paths.database_url, path)
    assert project.versions["first"].model_id in str(caught.value)


def test_a_model_that_does_not_load_says_why(project: Served, load: Loader) -> None:
    wanted = deployment(project, "unloadable")
    path = model_directory(project.workspace.store, wanted.model_id)
    with pytest.raises(ModelNotServableError) as caught:
        load(wanted, project.paths.database_url, path)
    assert "RuntimeError: this model does not load" in str(caught.value)


def test_a_model_that_does_not_predict_fails_its_smoke_request(
    project: Served, load: Loader
) -> None:
    wanted = deployment(project, "unusable")
    path = model_directory(project.workspace.store, wanted.model_id)
    scorer, _ = load(wanted, project.paths.database_url, path)
    with pytest.raises(ModelFailedError, match="could not score"):
        smoke(scorer, wanted.model)


@pytest.mark.parametrize("proba", [True, False])
def test_a_scikit_learn_model_answers_as_in_the_notebook(
    tmp_path: Path, load: Loader, proba: bool
) -> None:
    import mlflow.sklearn
    from mlflow.models import infer_signature
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(7)
    features = pd.DataFrame(rng.normal(size=(200, 3)), columns=["a", "b", "c"])
    forest = RandomForestClassifier(10, random_state=7)
    forest.fit(features, (features["a"] > 0).astype(int))
    path = tmp_path / "model"
    mlflow.sklearn.save_model(
        forest,
        str(path),
        signature=infer_signature(features, forest.predict(features)),
        pip_requirements=["scikit-learn"],
        pyfunc_predict_fn="predict_proba" if proba else "predict",
    )
    moment = now()
    wanted = Deployment(
        "dep_1", "scores", "blue", "forest", 1, "m-1", "loading", None, moment, moment
    )
    scorer, _ = load(wanted, "sqlite://", path)
    smoke(scorer, "forest/1")
    rows = features.iloc[:5]
    body = rows.to_csv(index=False).encode()
    expected: Any = forest.predict_proba(rows) if proba else forest.predict(rows)
    assert np.allclose(answer(scorer, body, "text/csv").values(), expected.tolist())


def test_foreign_errors_become_a_bounded_reason() -> None:
    with pytest.raises(PredictionFailedError) as caught:
        answer(Adder(), b'{"inputs": {"a": [-2]}}')
    assert caught.value.why == "ZeroDivisionError: the model divides by zero"
    assert reason_of(ValueError()) == "ValueError"
    assert len(reason_of(ValueError("x" * 1000))) == 300


class Graph:
    """Stands for a kernel; its calls take as long as they are told to."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.seconds = 0.0

    def predict(self, columns: Any, rows: int) -> dict[str, Any]:
        time.sleep(self.seconds * rows)
        return {"score": columns["a"]}


def test_a_kernel_that_is_slow_runs_in_a_thread_until_it_is_fast_again() -> None:
    graph, pool = Graph("a"), ThreadPool(1, 8, 30.0)
    scorer = KernelScorer(graph, Adder.signature, b"", pool)  # type: ignore[arg-type]
    inputs = Inputs(1, {"a": np.array([1.0])})

    def ask() -> Answers:
        return asyncio.run(scorer.predict(inputs, None, time.monotonic() + 30))

    assert scorer.predict_now(inputs) is not None
    graph.seconds = 0.05
    for _ in range(3):
        ask()
    assert scorer.predict_now(inputs) is None
    graph.seconds = 0.0
    assert ask().scores() == [1.0]
    assert scorer.predict_now(inputs) is not None
    pool.close()


class Doubler(Graph):
    """A kernel that refuses 13; remembers how many rows each call had."""

    def __init__(self) -> None:
        super().__init__("a", "b")
        self.calls: list[int] = []

    def predict_matrix(self, matrix: Any) -> dict[str, Any]:
        self.calls.append(len(matrix))
        if (matrix == 13).any():
            raise ValueError("13")
        return {"score": matrix[:, 0] * 2}


def test_requests_that_come_together_share_a_call_unless_one_is_refused() -> None:
    graph, pool = Doubler(), ThreadPool(1, 8, 30.0)
    signature = Signature((Field("a", "double"), Field("b", "double")))
    scorer = KernelScorer(graph, signature, b"", pool)  # type: ignore[arg-type]

    def rows(*values: float) -> Inputs:
        matrix = np.array([[value, 0.0] for value in values])
        return Inputs(len(values), {}, matrix=matrix)

    together = scorer.predict_together([rows(1), rows(2, 3), rows(4)])
    assert together is not None
    assert [answers.scores() for answers in together] == [[2.0], [4.0, 6.0], [8.0]]
    assert [answers.values()[-1] for answers in together] == [
        {"score": 2.0},
        {"score": 6.0},
        {"score": 8.0},
    ]
    assert graph.calls == [4]
    assert scorer.predict_together([rows(1), rows(13)]) is None
    assert scorer.predict_together([rows(1), Inputs(1, {"a": np.array([1.0])})]) is None
    pool.close()


@pytest.mark.slow
def test_a_damaged_kernel_is_not_used(project: Served, load: Loader, tmp_path: Path) -> None:
    wanted = deployment(project, "first")
    path = model_directory(project.workspace.store, wanted.model_id)
    assert path is not None
    assert load(wanted, "sqlite://", path)[0].kind == "kernel"
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    graph = copy / "kernel" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    scorer, _ = load(wanted, "sqlite://", copy)
    assert scorer.kind == "worker"
    assert answer(scorer, b'{"inputs": {"a": [1], "b": [2]}}').scores() == [1021.0]


class Echo:
    """Stands for a pool of workers; answers the column ``a``."""

    async def predict(
        self, table: pa.Table, params: Mapping[str, Any] | None, deadline: float
    ) -> pa.Table:
        return table.select(["a"])


@pytest.mark.parametrize(("rows", "pieces"), [(INLINE_TABLE_ROWS, 0), (INLINE_TABLE_ROWS + 1, 2)])
def test_large_tables_of_workers_are_made_and_read_in_threads(
    monkeypatch: pytest.MonkeyPatch, rows: int, pieces: int
) -> None:
    threads, done = ThreadPool(1, 8, 30.0), 0

    async def run(deadline: float, work: Callable[[], Any]) -> Any:
        nonlocal done
        done += 1
        return work()

    monkeypatch.setattr(threads, "run", run)
    scorer = WorkerScorer(Echo(), Adder.signature, b"", asyncio.new_event_loop(), threads)  # type: ignore[arg-type]
    inputs = Inputs(rows, {"a": np.arange(float(rows))})
    answers = asyncio.run(scorer.predict(inputs, None, time.monotonic() + 30))
    assert answers.values()[-1] == {"a": rows - 1.0}
    assert done == pieces
    scorer.loop.close()
    threads.close()
