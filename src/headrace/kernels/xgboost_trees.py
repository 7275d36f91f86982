"""XGBoost: its saved JSON read tree by tree. It computes in float32, sums of leaves included."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from headrace.kernels.errors import NotCompilableError
from headrace.kernels.graph import SINGLE
from headrace.kernels.steps import converts
from headrace.kernels.trees import Tree, add_trees

if TYPE_CHECKING:
    from headrace.kernels.graph import Block, Graph

_IDENTITY: Final = (
    "reg:squarederror", "reg:linear", "reg:absoluteerror", "reg:squaredlogerror",
    "reg:pseudohubererror", "reg:quantileerror", "binary:logitraw", "rank:pairwise", "rank:ndcg",
    "rank:map",
)  # fmt: skip
_LOGISTIC: Final = ("binary:logistic", "reg:logistic")
_EXPONENTIAL: Final = ("count:poisson", "reg:gamma", "reg:tweedie")


@converts("probabilities", "XGBClassifier", "XGBRFClassifier")
def probabilities(graph: Graph, model: Any, rows: Block) -> str:
    """Of the scikit-learn interface."""
    return scores(graph, model.get_booster(), rows, model)


@converts("values", "XGBRegressor", "XGBRFRegressor", "XGBRanker")
def values(graph: Graph, model: Any, rows: Block) -> str:
    """Of the scikit-learn interface."""
    return scores(graph, model.get_booster(), rows, model)


def scores(graph: Graph, booster: Any, rows: Block, model: Any | None) -> str:
    """What ``predict`` gives: the trees' sum under the link of the objective.

    Args:
        graph: gets the nodes.
        booster: the trees.
        rows: the features.
        model: the scikit-learn interface over it, which stops at the best iteration and may take
            another value than NaN for missing.
    """
    learner = json.loads(booster.save_raw("json"))["learner"]
    boosted = learner["gradient_booster"]
    if boosted["name"] != "gbtree":
        raise NotCompilableError(f"XGBoost's {boosted['name']} has no converter")
    held, raw = boosted["model"], boosted["model"]["trees"]
    if model is not None and "best_iteration" in learner["attributes"]:
        end = held["iteration_indptr"][int(learner["attributes"]["best_iteration"]) + 1]
        raw = raw[:end]
    objective = learner["objective"]["name"]
    several = max(int(learner["learner_model_param"]["num_class"]), 1)
    trees = [_tree(tree, target) for tree, target in zip(raw, held["tree_info"], strict=False)]
    graph.loosen(SINGLE, "XGBoost computes in float32, the graph in float64")
    matrix = graph.as_single(rows.only_numbers(booster))
    sums = add_trees(graph, _without(graph, matrix, model), trees, several)
    first = [json.loads(learner["learner_model_param"]["base_score"])]
    start = [[_margin(objective, float(score)) for score in row] for row in first]
    return _linked(graph, graph.op("Add", sums, graph.constant(start)), objective)


def _without(graph: Graph, matrix: str, model: Any | None) -> str:
    """The matrix with NaN for the value that stands for missing."""
    missing = getattr(model, "missing", None)
    if missing is None or math.isnan(missing):
        return matrix
    gone = graph.op("Equal", matrix, graph.constant(float(missing)))
    return graph.op("Where", gone, graph.constant(float("nan")), matrix)


def _margin(objective: str, score: float) -> float:
    if objective in _LOGISTIC:
        return math.log(score / (1 - score))
    return math.log(score) if objective in _EXPONENTIAL else score


def _linked(graph: Graph, raw: str, objective: str) -> str:
    if objective in _LOGISTIC:
        return graph.op("Sigmoid", raw)
    if objective in ("multi:softprob", "multi:softmax"):
        return graph.op("Softmax", raw)
    if objective in _EXPONENTIAL:
        return graph.op("Exp", raw)
    if objective in _IDENTITY:
        return raw
    raise NotCompilableError(f"XGBoost's objective {objective} has no converter")


def _tree(tree: dict[str, Any], target: int) -> Tree:
    import numpy as np

    left = np.array(tree["left_children"], np.int64)
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise NotCompilableError("XGBoost's trees of several outputs have no converter")
    if any(tree["split_type"]):
        raise NotCompilableError("XGBoost's categories have no converter")
    # Written as the shortest digits of a float32: read as one, then widened.
    split = np.array(tree["split_conditions"], np.float32).astype(np.float64)
    return Tree(
        left=left,
        right=np.array(tree["right_children"], np.int64),
        feature=np.array(tree["split_indices"], np.int64),
        threshold=split,
        null_left=np.array(tree["default_left"], np.int64).astype(bool),
        value=np.where(left < 0, split, 0.0),
        target=target,
        less=True,
    )
