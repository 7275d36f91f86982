"""The worker's function on its own: what goes into a model, and what comes out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark import cloudpickle

from headrace.scoring import predict, scorers


class _Sum:
    """Stands for a loaded pyfunc: counts its calls and rows."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        self.rows.append(len(frame))
        return pd.DataFrame({"score": frame["a"] + frame["b"]})


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> _Sum:
    loaded = _Sum()
    monkeypatch.setattr(predict, "load", lambda _path: loaded)
    return loaded


def batches(sizes: list[int]) -> Iterator[pa.RecordBatch]:
    start = 0
    for size in sizes:
        ids = np.arange(start, start + size)
        yield pa.RecordBatch.from_pydict({"id": ids, "a": ids * 1.0, "b": ids * 0.5})
        start += size


def predictor(chunk_rows: int) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    scorer = predict.PyfuncScorer("path", {"a": "double", "b": "double"}, frozenset(), chunk_rows)
    return predict.predictor(scorer, ["id"], [("score", "double")])


@pytest.mark.parametrize("sizes", [[], [1], [10, 10, 10], [100], [7, 30, 1, 1, 25], [0, 5, 0]])
def test_every_row_is_predicted_once_whatever_the_batches(model: _Sum, sizes: list[int]) -> None:
    answers = list(predictor(25)(batches(sizes)))
    rows = pa.Table.from_batches(answers).to_pandas() if answers else pd.DataFrame({"id": []})
    assert rows["id"].tolist() == list(range(sum(sizes)))
    if len(rows):
        assert rows["score"].tolist() == (rows["id"] * 1.5).tolist()
    assert max(model.rows, default=0) <= 25


def test_small_batches_are_predicted_together(model: _Sum) -> None:
    list(predictor(50)(batches([5] * 20)))
    assert model.rows == [50, 50]


@pytest.mark.parametrize(
    ("predictions", "expected"),
    [
        (np.array([0.5, 0.25]), {"score": [0.5, 0.25]}),
        (np.array([[0.5], [0.25]]), {"score": [0.5, 0.25]}),
        (np.array([1, 0]), {"score": [1, 0]}),
        (np.array(["up", "down"]), {"label": ["up", "down"]}),
        ([0.5, 0.25], {"score": [0.5, 0.25]}),
        (np.array([[0.1, 0.9], [0.8, 0.2]]), {"score_0": [0.1, 0.8], "score_1": [0.9, 0.2]}),
        (pd.Series([0.5, 0.25]), {"score": [0.5, 0.25]}),
        (pd.Series([0.5, 0.25], name="rul"), {"rul": [0.5, 0.25]}),
        (pd.DataFrame({0: [0.5, 0.25]}), {"score": [0.5, 0.25]}),
        (pd.DataFrame({"score": [0.5], "label": ["x"]}), {"score": [0.5], "label": ["x"]}),
        (pd.DataFrame({0: [0.1], 1: [0.9]}), {"score_0": [0.1], "score_1": [0.9]}),
    ],
)
def test_what_models_return_becomes_columns(predictions: Any, expected: dict[str, Any]) -> None:
    rows = len(next(iter(expected.values())))
    assert predict.prediction_table(predictions, rows).to_pydict() == expected


def test_one_prediction_a_row() -> None:
    with pytest.raises(ValueError, match="returned 1 predictions for 2 rows"):
        predict.prediction_table(np.array([0.5]), 2)


def test_the_function_runs_where_the_package_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is pickled by value: the worker has only the libraries."""
    monkeypatch.setenv("HEADRACE_ENGINE", "sc://elsewhere")
    pickled = tmp_path / "predict.pickle"
    with scorers.sent_whole():
        pickled.write_bytes(cloudpickle.dumps(predictor(10)))
    script = tmp_path / "worker.py"
    script.write_text(
        "import pathlib, pickle, sys, types\n"
        "class NoHeadrace:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'headrace': raise ImportError(name)\n"
        "sys.meta_path.insert(0, NoHeadrace())\n"
        "sys.modules['_headrace_models'] = cache = types.ModuleType('cache')\n"
        "class Model:\n"
        "    def predict(self, frame): return frame['a'] * 2\n"
        "import threading, pyarrow as pa\n"
        "cache.models, cache.lock = {'path': Model()}, threading.Lock()\n"
        f"predict = pickle.loads(pathlib.Path({str(pickled)!r}).read_bytes())\n"
        "batch = pa.RecordBatch.from_pydict({'id': [1], 'a': [2.0], 'b': [3.0]})\n"
        "try: list(predict(iter([batch])))\n"
        "except ValueError as error: print(error)\n"
        "Model.predict = lambda self, frame: (frame['a'] * 2).rename('score')\n"
        "print(next(predict(iter([batch]))).to_pydict())\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert done.stdout.splitlines() == [
        "the model returned no column \"score\": ['a']",
        "{'id': [1], 'score': [4.0]}",
    ], done.stderr
