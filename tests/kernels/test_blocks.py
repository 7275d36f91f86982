"""The layout for many rows: other nodes, the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import pandas as pd
import pytest
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression

from headrace.kernels import compile_model
from headrace.kernels.blocks import tree_by_tree

if TYPE_CHECKING:
    from .conftest import Save


def frame(rows: int = 400) -> pd.DataFrame:
    random = np.random.default_rng(1)
    values = pd.DataFrame(random.normal(size=(rows, 4)), columns=list("abcd"))
    values.iloc[::9, 2] = np.nan
    return values


def graph_of(model: Path) -> bytes:
    report = compile_model(model, frame())
    assert report.proven, report.reason
    return (model / "kernel" / "model.onnx").read_bytes()


def run(graph: bytes, rows: np.ndarray) -> bytes:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # several would each sum some of the trees
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    found: bytes = session.run(None, {session.get_inputs()[0].name: rows})[0].tobytes()
    return found


def kinds(graph: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_model_from_string(graph).graph.node]


@pytest.mark.parametrize(
    ("estimator", "task"),
    [
        (RandomForestClassifier(15, max_depth=6, random_state=0), "binary"),
        (RandomForestRegressor(15, random_state=0), "regression"),
        # Some of its trees are one leaf.
        (ExtraTreesRegressor(9, min_samples_leaf=150, random_state=0), "regression"),
    ],
)
def test_trees_one_by_one_give_the_same_bits(estimator: Any, task: str, save_model: Save) -> None:
    X = frame()
    y = X["a"] + X["b"] * X["d"] > 0.2 if task == "binary" else X["a"] * 7 + X["c"].fillna(3)
    model = save_model(estimator.fit(X, y), X, task)
    graph = graph_of(model)
    laid_out = tree_by_tree(graph)
    assert laid_out is not None
    assert kinds(graph).count("TreeEnsemble") == 1
    assert kinds(laid_out).count("TreeEnsemble") == len(estimator.estimators_)
    rows = np.vstack([frame(3000).to_numpy(), np.full((1, 4), np.nan), np.full((1, 4), 1e30)])
    assert run(graph, rows) == run(laid_out, rows)
    assert run(graph, rows[:1]) == run(laid_out, rows[:1])


def test_stages_of_boosting_keep_what_comes_after_the_sum(save_model: Save) -> None:
    X = frame().fillna(0.0)
    y = X["a"] + X["b"] > 0
    model = save_model(GradientBoostingClassifier(n_estimators=12, random_state=0).fit(X, y), X)
    graph = graph_of(model)
    laid_out = tree_by_tree(graph)
    assert laid_out is not None
    rows = frame(2000).fillna(0.0).to_numpy()
    assert run(graph, rows) == run(laid_out, rows)


def test_graphs_without_trees_or_with_several_targets_stay(save_model: Save) -> None:
    X = frame().fillna(0.0)
    linear = save_model(LinearRegression().fit(X, X["a"] * 2 + X["b"]), X, "regression")
    assert tree_by_tree(graph_of(linear)) is None
    y = np.digitize(X["a"], [-0.5, 0.5])
    forest = save_model(RandomForestClassifier(5, random_state=0).fit(X, y), X, "multiclass")
    assert tree_by_tree(graph_of(forest)) is None
