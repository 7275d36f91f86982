"""Histogram gradient boosting of scikit-learn: float64 rows, nulls and categories of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.kernels.errors import NotCompilableError
from headrace.kernels.steps import converts, transform
from headrace.kernels.trees import Tree, add_trees

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from headrace.kernels.graph import Block, Graph


@converts("values", "HistGradientBoostingRegressor")
def values(graph: Graph, model: Any, rows: Block) -> str:
    """Values: of the loss with a log link, its exponential."""
    raw = _raw(graph, model, rows)
    if model.loss in ("poisson", "gamma"):
        return graph.op("Exp", raw)
    return raw


@converts("margins", "HistGradientBoostingClassifier")
def margins(graph: Graph, model: Any, rows: Block) -> str:
    """Raw predictions."""
    return _raw(graph, model, rows)


@converts("probabilities", "HistGradientBoostingClassifier")
def probabilities(graph: Graph, model: Any, rows: Block) -> str:
    """Class probabilities by the logistic function, or of several classes by its generalisation."""
    raw = _raw(graph, model, rows)
    return graph.op("Sigmoid" if len(model.classes_) == 2 else "Softmax", raw)


def _raw(graph: Graph, model: Any, rows: Block) -> str:
    import numpy as np

    if model._preprocessor is not None:
        rows = transform(graph, model._preprocessor, rows)
    trees = [
        tree_of(predictor, target)
        for stage in model._predictors
        for target, predictor in enumerate(stage)
    ]
    targets = model.n_trees_per_iteration_
    sums = add_trees(graph, rows.only_numbers(model).name, trees, targets)
    first = np.asarray(model._baseline_prediction, np.float64).reshape(1, -1)
    return graph.op("Add", sums, graph.constant(first))


def tree_of(predictor: Any, target: int) -> Tree:
    """A ``TreePredictor``; its leaves hold the learning rate already."""
    import numpy as np

    nodes = predictor.nodes
    if nodes.dtype.names is None or "is_categorical" not in nodes.dtype.names:
        raise NotCompilableError("its trees are those of another scikit-learn")
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=np.where(nodes["is_categorical"], 0.0, nodes["num_threshold"]),
        null_left=nodes["missing_go_to_left"].astype(bool),
        value=nodes["value"].astype(np.float64),
        target=target,
        members={
            int(node): _members(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]])
            for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf)
        },
    )


def _members(bits: npt.NDArray[np.uint32]) -> list[float]:
    """The categories whose bits are set, 32 a word, the lowest first."""
    return [float(32 * word + bit) for word, held in enumerate(bits) for bit in range(32)
            if int(held) >> bit & 1]  # fmt: skip
