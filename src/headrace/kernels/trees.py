"""Fitted trees of any library in one layout, and the ONNX node that sums them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from headrace.kernels.graph import ML, Graph

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]


class Branch(IntEnum):
    """What sends a row to the left child; numbered as ``TreeEnsemble`` numbers its modes."""

    AT_MOST = 0
    LESS = 1
    MEMBER = 6


@dataclass(frozen=True)
class Tree:
    """One tree: arrays over its nodes, the root first.

    Attributes:
        left, right: children by index; -1 in both for a leaf.
        feature, threshold: what an inner node tests. NaN as a threshold is never on the left.
        null_left: where a NaN goes.
        value: of the leaves, of shape (nodes, targets), or (nodes,) for a single target.
        target: which score a tree of a single target adds to.
        less: whether the test is ``<``; else it is ``<=``.
        members: of a node that tests a set: the values on its left.
    """

    left: Ints
    right: Ints
    feature: Ints
    threshold: Floats
    null_left: Bools
    value: Floats
    target: int = 0
    less: bool = False
    members: dict[int, list[float]] = field(default_factory=dict)

    @property
    def leaves(self) -> Bools:
        """Which nodes are leaves."""
        return self.left < 0


@dataclass
class _Flat:
    """Attributes of ``TreeEnsemble``."""

    features: list[Any] = field(default_factory=list)
    modes: list[Any] = field(default_factory=list)
    splits: list[Any] = field(default_factory=list)
    nulls: list[Any] = field(default_factory=list)
    true_ids: list[Any] = field(default_factory=list)
    true_leafs: list[Any] = field(default_factory=list)
    false_ids: list[Any] = field(default_factory=list)
    false_leafs: list[Any] = field(default_factory=list)
    targets: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)
    members: list[float] = field(default_factory=list)

    def add(self, tree: Tree, value: Floats, target: int) -> None:
        import numpy as np

        leaf = tree.leaves
        inner = np.flatnonzero(~leaf)
        if not len(inner):
            self._add_stump(float(value[0]), target)
            return
        place = np.where(leaf, np.cumsum(leaf) - 1 + len(self.weights), 0)
        place[inner] = len(self.features) + np.arange(len(inner))
        left, right = tree.left[inner], tree.right[inner]
        self.roots.append(int(place[0]))
        self.features.extend(tree.feature[inner].tolist())
        mode = np.full(len(tree.left), Branch.LESS if tree.less else Branch.AT_MOST)
        mode[list(tree.members)] = Branch.MEMBER
        self.modes.extend(mode[inner].tolist())
        for node in inner.tolist():
            if node in tree.members:
                self.members.extend([*tree.members[node], float("nan")])
        self.splits.extend(tree.threshold[inner].tolist())
        self.nulls.extend(tree.null_left[inner].astype(int).tolist())
        self.true_ids.extend(place[left].tolist())
        self.true_leafs.extend(leaf[left].astype(int).tolist())
        self.false_ids.extend(place[right].tolist())
        self.false_leafs.extend(leaf[right].astype(int).tolist())
        self.weights.extend(value[leaf].tolist())
        self.targets.extend([target] * int(leaf.sum()))

    def _add_stump(self, value: float, target: int) -> None:
        """A tree that is one leaf: the operator wants a node over it."""
        self.roots.append(len(self.features))
        for into, item in (
            (self.features, 0), (self.modes, int(Branch.AT_MOST)), (self.splits, 0.0),
            (self.nulls, 0), (self.true_ids, len(self.weights)), (self.true_leafs, 1),
            (self.false_ids, len(self.weights)), (self.false_leafs, 1),
            (self.weights, value), (self.targets, target),
        ):  # fmt: skip
            into.append(item)


def add_trees(graph: Graph, rows: str, trees: list[Tree], targets: int = 1) -> str:
    """Sum the leaves that each row falls into.

    Args:
        graph: gets the node.
        rows: float64 matrix of the features.
        trees: with one target each, or all with ``targets`` values a leaf.
        targets: how many scores a row has.

    Returns:
        Float64 sums of shape (rows, targets), accumulated in float64; in a graph of ``ml`` 3
        they are rounded to float32 once summed.
    """
    for tree in trees:
        inner = ~tree.leaves
        graph.tests(rows, tree.feature[inner].tolist(), tree.threshold[inner].tolist())
    add = _add_regressor if graph.ml < 5 else _add_ensemble
    return add(graph, rows, trees, targets)


def _add_ensemble(graph: Graph, rows: str, trees: list[Tree], targets: int) -> str:
    """Float64 throughout; a tree of several targets is walked once for each."""
    import numpy as np
    from onnx import numpy_helper

    flat = _Flat()
    for tree in trees:
        if tree.value.ndim == 1:
            flat.add(tree, tree.value, tree.target)
        else:
            for target in range(tree.value.shape[1]):
                flat.add(tree, tree.value[:, target], target)
    optional: dict[str, Any] = {}
    if any(flat.nulls):
        optional["nodes_missing_value_tracks_true"] = flat.nulls
    if flat.members:
        optional["membership_values"] = numpy_helper.from_array(np.array(flat.members))
    return graph.op(
        "TreeEnsemble",
        rows,
        domain=ML,
        n_targets=targets,
        aggregate_function=1,
        post_transform=0,
        nodes_featureids=flat.features,
        nodes_modes=numpy_helper.from_array(np.array(flat.modes, np.uint8)),
        nodes_splits=numpy_helper.from_array(np.array(flat.splits, np.float64)),
        nodes_truenodeids=flat.true_ids,
        nodes_trueleafs=flat.true_leafs,
        nodes_falsenodeids=flat.false_ids,
        nodes_falseleafs=flat.false_leafs,
        leaf_targetids=flat.targets,
        leaf_weights=numpy_helper.from_array(np.array(flat.weights, np.float64)),
        tree_roots=flat.roots,
        **optional,
    )


def _add_regressor(graph: Graph, rows: str, trees: list[Tree], targets: int) -> str:
    """The older operator: several targets a leaf in one walk, and sums given out in float32."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    sizes = [len(tree.left) for tree in trees]
    leaf = np.concatenate([tree.leaves for tree in trees])
    tree_ids = np.repeat(np.arange(len(trees)), sizes)
    node_ids = np.concatenate([np.arange(size) for size in sizes])
    threshold = np.where(leaf, 0.0, np.concatenate([tree.threshold for tree in trees]))
    nulls = np.where(leaf, False, np.concatenate([tree.null_left for tree in trees]))
    values = np.concatenate([tree.value.reshape(len(tree.left), -1) for tree in trees])[leaf]
    modes = np.where(leaf, "LEAF", "BRANCH_LT" if trees[0].less else "BRANCH_LEQ")

    def of(name: str) -> list[int]:
        found = np.concatenate([getattr(tree, name) for tree in trees])
        return [int(item) for item in np.where(leaf, 0, found)]

    sums = graph.op(
        "TreeEnsembleRegressor",
        rows,
        domain=ML,
        n_targets=targets,
        aggregate_function="SUM",
        nodes_treeids=tree_ids.tolist(),
        nodes_nodeids=node_ids.tolist(),
        nodes_featureids=of("feature"),
        nodes_modes=modes.tolist(),
        nodes_values_as_tensor=numpy_helper.from_array(threshold),
        nodes_truenodeids=of("left"),
        nodes_falsenodeids=of("right"),
        nodes_missing_value_tracks_true=nulls.astype(int).tolist(),
        target_treeids=np.repeat(tree_ids[leaf], targets).tolist(),
        target_nodeids=np.repeat(node_ids[leaf], targets).tolist(),
        target_ids=np.tile(np.arange(targets), int(leaf.sum())).tolist(),
        target_weights_as_tensor=numpy_helper.from_array(values.ravel()),
    )
    return graph.op("Cast", sums, to=TensorProto.DOUBLE)
