"""scikit-learn's trees, forests and classic gradient boosting.

These convert their rows to float32 and compare them with float64 thresholds, so the graph does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from headrace.kernels.errors import NotCompilableError
from headrace.kernels.steps import converts
from headrace.kernels.trees import Tree, add_trees

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from headrace.kernels.graph import Block, Graph

_CLASSIFIERS: Final = (
    "DecisionTreeClassifier", "ExtraTreeClassifier", "ExtraTreesClassifier",
    "RandomForestClassifier",
)  # fmt: skip
_REGRESSORS: Final = (
    "DecisionTreeRegressor", "ExtraTreeRegressor", "ExtraTreesRegressor", "RandomForestRegressor",
)  # fmt: skip


def has_several_targets(model: Any) -> bool:
    """Whether a leaf of the model's trees holds shares of more than two classes."""
    return type(model).__name__ in _CLASSIFIERS and len(model.classes_) > 2


def tree_of(fitted: Any, scale: float = 1.0, target: int = 0, classes: int = 0) -> Tree:
    """A fitted ``sklearn.tree`` estimator.

    Args:
        fitted: the estimator.
        scale: what its values are multiplied with.
        target: the score it adds to, where it has one.
        classes: of a classifier; two give the second one's share alone.
    """
    import numpy as np

    raw = fitted.tree_
    if raw.n_outputs != 1:
        raise NotCompilableError("it gives several values a row")
    nodes = raw.__getstate__()["nodes"]
    value = raw.value[:, 0, :]
    if classes:
        # Shares since scikit-learn 1.3, counts in a model saved by an older one.
        value = value / value.sum(axis=1, keepdims=True)
    return Tree(
        left=raw.children_left,
        right=raw.children_right,
        feature=raw.feature,
        threshold=raw.threshold,
        null_left=nodes["missing_go_to_left"].astype(np.bool_),
        value=np.asarray((value if classes > 2 else value[:, -1]) * scale, np.float64),
        target=target,
    )


@converts("probabilities", *_CLASSIFIERS)
@converts("values", *_REGRESSORS)
def forest(graph: Graph, model: Any, rows: Block) -> str:
    """Mean of the trees: class shares, or values."""
    members = getattr(model, "estimators_", None) or [model]
    classes = len(model.classes_) if hasattr(model, "classes_") else 0
    trees = [tree_of(member, classes=classes) for member in members]
    targets = classes if classes > 2 else 1
    sums = add_trees(graph, graph.as_single(rows.only_numbers(model)), trees, targets)
    # Summed first and divided then, as the original does it: votes of pure leaves stay exact.
    return graph.op("Div", sums, graph.constant(float(len(trees)))) if len(trees) > 1 else sums


def _boosted(graph: Graph, model: Any, rows: Block) -> str:
    stages = model.estimators_
    trees = [
        tree_of(fitted, scale=model.learning_rate, target=target)
        for stage in stages
        for target, fitted in enumerate(stage)
    ]
    first = _start(model)
    sums = add_trees(graph, graph.as_single(rows.only_numbers(model)), trees, stages.shape[1])
    return graph.op("Add", sums, graph.constant(first))


@converts("values", "GradientBoostingRegressor")
def boosted_values(graph: Graph, model: Any, rows: Block) -> str:
    """Gradient boosting of values: no loss it offers has a link."""
    return _boosted(graph, model, rows)


@converts("margins", "GradientBoostingClassifier")
def boosted_margins(graph: Graph, model: Any, rows: Block) -> str:
    """Raw predictions."""
    return _boosted(graph, model, rows)


@converts("probabilities", "GradientBoostingClassifier")
def boosted_probabilities(graph: Graph, model: Any, rows: Block) -> str:
    """Gradient boosting of classes."""
    raw = _boosted(graph, model, rows)
    if model.loss == "exponential":
        raw = graph.op("Mul", raw, graph.constant(2.0))
    return graph.op("Sigmoid", raw) if len(model.classes_) == 2 else graph.op("Softmax", raw)


def _start(model: Any) -> npt.NDArray[np.float64]:
    """The raw prediction before any tree, which must not depend on the row."""
    import numpy as np
    from sklearn.dummy import DummyClassifier, DummyRegressor

    if isinstance(model.init_, str):
        return np.zeros((1, model.estimators_.shape[1]))
    if not isinstance(model.init_, DummyClassifier | DummyRegressor):
        raise NotCompilableError("it starts from another model")
    blank = np.zeros((1, model.n_features_in_), np.float32)
    return np.asarray(model._raw_predict_init(blank), np.float64)
