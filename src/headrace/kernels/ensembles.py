"""Models made of models: pipelines, votes, stacks, bags, calibration."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from headrace.kernels.errors import NotCompilableError
from headrace.kernels.steps import converts, margins, probabilities, transform, values

if TYPE_CHECKING:
    from headrace.kernels.graph import Block, Graph

Asked = Callable[["Graph", Any, "Block"], str]
_BY_METHOD: Final[dict[str, Asked]] = {
    "predict_proba": probabilities,
    "decision_function": margins,
    "predict": values,
}


def _last(asked: Asked, graph: Graph, model: Any, rows: Block) -> str:
    for _, step in model.steps[:-1]:
        rows = transform(graph, step, rows)
    return asked(graph, model.steps[-1][1], rows)


@converts("probabilities", "Pipeline")
def pipeline_probabilities(graph: Graph, model: Any, rows: Block) -> str:
    """Of the last step."""
    return _last(probabilities, graph, model, rows)


@converts("margins", "Pipeline")
def pipeline_margins(graph: Graph, model: Any, rows: Block) -> str:
    """Of the last step."""
    return _last(margins, graph, model, rows)


@converts("values", "Pipeline")
def pipeline_values(graph: Graph, model: Any, rows: Block) -> str:
    """Of the last step."""
    return _last(values, graph, model, rows)


@converts("probabilities", "VotingClassifier")
def soft_votes(graph: Graph, model: Any, rows: Block) -> str:
    """The mean of the members' probabilities."""
    members = [probabilities(graph, member, rows) for member in model.estimators_]
    return _mean(graph, members, model._weights_not_none)


@converts("values", "VotingRegressor")
def voted_values(graph: Graph, model: Any, rows: Block) -> str:
    """The mean of the members' values."""
    members = [values(graph, member, rows) for member in model.estimators_]
    return _mean(graph, members, model._weights_not_none)


@converts("probabilities", "BaggingClassifier")
def bagged_probabilities(graph: Graph, model: Any, rows: Block) -> str:
    """The mean over the bags, each with its own columns."""
    if any(len(member.classes_) != len(model.classes_) for member in model.estimators_):
        raise NotCompilableError("BaggingClassifier has bags that lack a class")
    if not hasattr(model.estimators_[0], "predict_proba"):
        raise NotCompilableError("BaggingClassifier of models without probabilities votes")
    return _bagged(probabilities, graph, model, rows)


@converts("values", "BaggingRegressor")
def bagged_values(graph: Graph, model: Any, rows: Block) -> str:
    """The mean over the bags, each with its own columns."""
    return _bagged(values, graph, model, rows)


def _bagged(asked: Asked, graph: Graph, model: Any, rows: Block) -> str:
    made = []
    for member, features in zip(model.estimators_, model.estimators_features_, strict=True):
        which = [int(index) for index in features]
        made.append(asked(graph, member, graph.columns(rows, which)))
    return _mean(graph, made, None)


@converts("probabilities", "StackingClassifier")
def stacked_probabilities(graph: Graph, model: Any, rows: Block) -> str:
    """The last model's, of the members' answers."""
    return probabilities(graph, model.final_estimator_, _stack(graph, model, rows))


@converts("values", "StackingRegressor")
def stacked_values(graph: Graph, model: Any, rows: Block) -> str:
    """The last model's, of the members' answers."""
    return values(graph, model.final_estimator_, _stack(graph, model, rows))


def _stack(graph: Graph, model: Any, rows: Block) -> Block:
    made = []
    for member, method in zip(model.estimators_, model.stack_method_, strict=True):
        classes = len(getattr(member, "classes_", ()))
        if method == "predict" and classes:
            raise NotCompilableError("StackingClassifier of labels has no converter")
        width = classes if classes > 2 else 1
        made.append(graph.numbers(_BY_METHOD[method](graph, member, rows), width))
    if model.passthrough:
        made.append(rows)
    return graph.join(made)


@converts("probabilities", "CalibratedClassifierCV")
def calibrated(graph: Graph, model: Any, rows: Block) -> str:
    """The mean of the calibrated folds; of two classes, by a logistic or an isotonic curve."""
    if len(model.classes_) != 2:
        raise NotCompilableError("CalibratedClassifierCV of several classes has no converter")
    made = []
    for fold in model.calibrated_classifiers_:
        method = "decision_function"
        if not hasattr(fold.estimator, method):
            method = "predict_proba"
        raw = _BY_METHOD[method](graph, fold.estimator, rows)
        made.append(_curve(graph, fold.method, fold.calibrators[0], raw))
    return _mean(graph, made, None)


def _curve(graph: Graph, method: str, curve: Any, raw: str) -> str:
    if method == "sigmoid":
        scaled = graph.op("Mul", raw, graph.constant(-float(curve.a_)))
        return graph.op("Sigmoid", graph.op("Add", scaled, graph.constant(-float(curve.b_))))
    if method != "isotonic":
        raise NotCompilableError(f"calibration by {method} has no converter")
    return _interpolated(graph, raw, curve.X_thresholds_, curve.y_thresholds_)


def _interpolated(graph: Graph, raw: str, x: Any, y: Any) -> str:
    """A line from point to point, level outside: the sum of how far each piece is walked."""
    import numpy as np

    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(x) < 2:
        return graph.op("Add", graph.op("Mul", raw, graph.constant(0.0)), graph.constant([[y[0]]]))
    low, high = graph.constant([x[:-1]]), graph.constant([x[1:]])
    walked = graph.op("Sub", graph.op("Min", graph.op("Max", raw, low), high), low)
    share = graph.op("Div", walked, graph.constant([x[1:] - x[:-1]]))
    risen = graph.op("MatMul", share, graph.constant((y[1:] - y[:-1])[:, None]))
    return graph.op("Add", risen, graph.constant(float(y[0])))


@converts("values", "TransformedTargetRegressor")
def transformed_target(graph: Graph, model: Any, rows: Block) -> str:
    """A regressor of another scale, taken back by exp or expm1."""
    import numpy as np

    made = values(graph, model.regressor_, rows)
    if model.transformer is not None or model.inverse_func not in (np.exp, np.expm1, None):
        raise NotCompilableError("TransformedTargetRegressor with this inverse has no converter")
    if model.inverse_func is None:
        return made
    made = graph.op("Exp", made)
    return made if model.inverse_func is np.exp else graph.op("Sub", made, graph.constant(1.0))


def _mean(graph: Graph, made: list[str], weights: Any) -> str:
    if weights is not None:
        made = [
            graph.op("Mul", name, graph.constant(float(weight)))
            for name, weight in zip(made, weights, strict=True)
        ]
    total = made[0]
    for name in made[1:]:
        total = graph.op("Add", total, name)
    share = float(len(made)) if weights is None else float(sum(weights))
    return graph.op("Div", total, graph.constant(share)) if share != 1.0 else total
