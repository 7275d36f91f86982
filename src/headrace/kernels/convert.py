"""From a logged model to a graph that is fed with one matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

# Imported for the converters that they declare.
from headrace.kernels import encoders as encoders
from headrace.kernels import ensembles as ensembles
from headrace.kernels import forests as forests
from headrace.kernels import gradient as gradient
from headrace.kernels import lightgbm_trees as lightgbm_trees
from headrace.kernels import linear as linear
from headrace.kernels import outside as outside
from headrace.kernels import preprocess as preprocess
from headrace.kernels import steps
from headrace.kernels import xgboost_trees as xgboost_trees
from headrace.kernels.errors import NeedsOlderOperatorsError, NotCompilableError
from headrace.kernels.graph import INPUT, ROUNDED, Block, Column, Graph
from headrace.kernels.report import Layout

if TYPE_CHECKING:
    from headrace.kernels.original import Input, Original


@dataclass(frozen=True)
class Compiled:
    """A graph before its proof.

    Attributes:
        graph: serialized.
        layout: how it is fed and read; what it refuses is not known yet.
        splits: per column, thresholds of trees that test the column as it comes.
        tolerance: the distance of scores that the conversion promises.
        notes: choices that were made, and why.
    """

    graph: bytes
    layout: Layout
    splits: dict[int, list[float]]
    tolerance: float
    notes: tuple[str, ...]


def compiled(original: Original) -> Compiled:
    """Convert a model.

    Raises:
        NotCompilableError: some step has no exact counterpart; it names the step.
    """
    if forests.has_several_targets(steps.last(original.estimator)):
        return _compiled(original, _older("shares of several classes are summed in float32"))
    try:
        return _compiled(original, Graph())
    except NeedsOlderOperatorsError as need:
        return _compiled(original, _older(str(need)))


def _older(why: str) -> Graph:
    graph = Graph(ml=3)
    graph.loosen(ROUNDED, why)
    return graph


def _compiled(original: Original, graph: Graph) -> Compiled:
    inputs = original.inputs
    rows = Block(
        INPUT,
        tuple(Column({} if i.is_text else None, i.kind == "float") for i in inputs),
    )
    link, answer = graph.without_link(_answer(graph, original.estimator, rows, original.task))
    layout = Layout(
        columns=[_described(i, c) for i, c in zip(inputs, rows.columns, strict=True)],
        task=original.task,
        labels=original.labels,
        classes=_classes(original),
        threshold=original.threshold,
        link=link,
    )
    serialized = graph.serialized(len(inputs), answer)
    return Compiled(serialized, layout, graph.splits, graph.tolerance, tuple(graph.notes))


def _classes(original: Original) -> list[int] | None:
    """Of several classes, the code that each column of scores stands for."""
    if original.task != "multiclass":
        return None
    seen = getattr(original.estimator, "classes_", None)
    return [int(code) for code in (range(len(original.labels or ())) if seen is None else seen)]


def _described(column: Input, held: Column) -> dict[str, Any]:
    texts = None if held.codes is None else sorted(held.codes, key=held.codes.__getitem__)
    return {"name": column.name, "type": column.kind, "categories": texts, "refuses": None}


def _answer(graph: Graph, model: Any, rows: Block, task: str) -> str:
    """What the model's ``pyfunc`` asks of it: probabilities, margins, or values."""
    if task != "regression":
        if callable(getattr(model, "predict_proba", None)):
            return steps.probabilities(graph, model, rows)
        if callable(getattr(model, "decision_function", None)):
            return steps.margins(graph, model, rows)
        if type(model).__module__.startswith("sklearn."):
            raise NotCompilableError(f"{type(model).__name__} gives labels only")
    return steps.values(graph, model, rows)
