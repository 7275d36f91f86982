"""LightGBM: its saved text read tree by tree.

The tests are those of ``Tree::NumericalDecision`` and ``Tree::CategoricalDecision`` in LightGBM's
``include/LightGBM/tree.h``.
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

_CATEGORICAL: Final = 1
_DEFAULT_LEFT: Final = 2
_NULL_IS_ZERO, _ZERO_IS_NULL, _NULL_IS_NULL = 0, 1, 2
# Values this close to zero are read as zero: kZeroThreshold, 1e-35 in float32.
_ZERO: Final = 1.0000000180025095e-35
_IDENTITY: Final = (
    "regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg",
)  # fmt: skip
_EXPONENTIAL: Final = ("poisson", "gamma", "tweedie")


@converts("probabilities", "LGBMClassifier")
def probabilities(graph: Graph, model: Any, rows: Block) -> str:
    """Of the scikit-learn interface."""
    return _scores(graph, model.booster_, rows)


@converts("values", "LGBMRegressor", "LGBMRanker")
def values(graph: Graph, model: Any, rows: Block) -> str:
    """Of the scikit-learn interface."""
    return _scores(graph, model.booster_, rows)


@converts("values", "Booster")
def booster(graph: Graph, model: Any, rows: Block) -> str:
    """What ``Booster.predict`` gives, of either library: by the objective."""
    if type(model).__module__.startswith("xgboost."):
        from headrace.kernels import xgboost_trees

        return xgboost_trees.scores(graph, model, rows, None)
    return _scores(graph, model, rows)


def _scores(graph: Graph, model: Any, rows: Block) -> str:
    head, *blocks = model.model_to_string().partition("\nend of trees")[0].split("\nTree=")
    facts = _facts(head)
    targets = int(facts["num_tree_per_iteration"])
    if "linear_tree" in head or any("is_linear=1" in block for block in blocks):
        raise NotCompilableError("LightGBM's linear trees have no converter")
    trees = [_tree(_facts(block), number % targets) for number, block in enumerate(blocks)]
    matrix = rows.only_numbers(model).name
    whole = {tree.feature[node] for tree in trees for node in tree.members}
    if whole:
        matrix = _truncated(graph, matrix, rows.width, {int(feature) for feature in whole})
    sums = add_trees(graph, matrix, trees, targets)
    if "average_output" in head.splitlines():
        sums = graph.op("Div", sums, graph.constant(float(len(trees) // targets)))
    return _linked(graph, sums, facts.get("objective", "custom").split())


def _linked(graph: Graph, raw: str, objective: list[str]) -> str:
    name, options = objective[0], dict(item.partition(":")[::2] for item in objective[1:])
    if name in ("binary", "multiclassova"):
        scaled = graph.op("Mul", raw, graph.constant(float(options.get("sigmoid", 1))))
        return graph.op("Sigmoid", scaled)
    if name == "cross_entropy":
        return graph.op("Sigmoid", raw)
    if name == "multiclass":
        return graph.op("Softmax", raw)
    if name in _EXPONENTIAL:
        return graph.op("Exp", raw)
    if name in _IDENTITY and "sqrt" not in options:
        return raw
    raise NotCompilableError(f"LightGBM's objective {' '.join(objective)} has no converter")


def _facts(block: str) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)


def _tree(facts: dict[str, str], target: int) -> Tree:
    import numpy as np

    leaves = int(facts["num_leaves"])
    value = np.array(facts["leaf_value"].split(), np.float64)
    inner = leaves - 1
    if not inner:
        none = np.full(1, -1)
        return Tree(none, none, none * 0, np.zeros(1), np.zeros(1, bool), value[:1], target)
    kind = np.array(facts["decision_type"].split(), np.int64)
    threshold = np.array(facts["threshold"].split(), np.float64)
    null = kind >> 2 & 3
    if (null == _ZERO_IS_NULL).any():
        raise NotCompilableError("LightGBM's zero_as_missing has no converter")
    categorical = (kind & _CATEGORICAL).astype(bool)
    # A null that is no null is zero.
    left = np.where(null == _NULL_IS_NULL, (kind & _DEFAULT_LEFT) > 0, threshold >= 0)
    blank = np.zeros(leaves)
    return Tree(
        left=np.concatenate([_children(facts["left_child"], inner), np.full(leaves, -1)]),
        right=np.concatenate([_children(facts["right_child"], inner), np.full(leaves, -1)]),
        feature=np.concatenate(
            [np.array(facts["split_feature"].split(), np.int64), blank.astype(np.int64)]
        ),
        threshold=np.concatenate([np.where(categorical, 0.0, _apart(threshold)), blank]),
        null_left=np.concatenate([left & ~categorical, blank.astype(bool)]),
        value=np.concatenate([np.zeros(inner), value]),
        target=target,
        members=_members(facts, np.flatnonzero(categorical), threshold),
    )


def _apart(threshold: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Thresholds moved to the end of the values that are read as zero, all on zero's side."""
    import numpy as np

    near = np.abs(threshold) <= _ZERO
    return np.where(near, np.where(threshold < 0, np.nextafter(-_ZERO, -1.0), _ZERO), threshold)


def _children(text: str, inner: int) -> npt.NDArray[np.int64]:
    """Node numbers: of a leaf, its complement is written."""
    import numpy as np

    written = np.array(text.split(), np.int64)
    return np.where(written < 0, inner + ~written, written)


def _members(
    facts: dict[str, str], nodes: npt.NDArray[np.intp], threshold: npt.NDArray[np.float64]
) -> dict[int, list[float]]:
    """Per node of categories, those on its left: bits in 32-bit words."""
    if not len(nodes):
        return {}
    bounds = [int(item) for item in facts["cat_boundaries"].split()]
    words = [int(item) for item in facts["cat_threshold"].split()]
    found = {}
    for node in nodes.tolist():
        first, end = bounds[int(threshold[node])], bounds[int(threshold[node]) + 1]
        found[node] = [
            float(32 * word + bit)
            for word, held in enumerate(words[first:end])
            for bit in range(32)
            if held >> bit & 1
        ]
    return found


def _truncated(graph: Graph, matrix: str, width: int, whole: set[int]) -> str:
    """Numbers of categories without their fractions, as a conversion to integers leaves them."""
    import numpy as np

    is_whole = np.array([[feature in whole for feature in range(width)]])
    magnitude = graph.op("Floor", graph.op("Abs", matrix))
    truncated = graph.op("Mul", graph.op("Sign", matrix), magnitude)
    return graph.op("Where", graph.constant(is_whole, "bool"), truncated, matrix)
