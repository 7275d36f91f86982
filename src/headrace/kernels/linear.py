"""Linear models of scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from headrace.kernels.errors import NotCompilableError
from headrace.kernels.graph import SINGLE, array_of
from headrace.kernels.steps import converts

if TYPE_CHECKING:
    from headrace.kernels.graph import Block, Graph

_REGRESSORS: Final = (
    "LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV",
    "Lars", "LarsCV", "LassoLars", "LassoLarsCV", "LassoLarsIC", "OrthogonalMatchingPursuit",
    "OrthogonalMatchingPursuitCV", "BayesianRidge", "ARDRegression", "HuberRegressor",
    "QuantileRegressor", "SGDRegressor", "TheilSenRegressor", "LinearSVR",
    "PassiveAggressiveRegressor",
)  # fmt: skip
_LOG_LINKED: Final = ("PoissonRegressor", "GammaRegressor", "TweedieRegressor")
_CLASSIFIERS: Final = (
    "LogisticRegression", "LogisticRegressionCV", "LinearSVC", "RidgeClassifier",
    "RidgeClassifierCV", "SGDClassifier", "Perceptron", "PassiveAggressiveClassifier",
    "LinearDiscriminantAnalysis",
)  # fmt: skip


def _weighted(graph: Graph, model: Any, rows: Block) -> str:
    import numpy as np

    rows.only_numbers(model)
    if rows.single or np.asarray(model.coef_).dtype == np.float32:
        graph.loosen(SINGLE, f"{type(model).__name__} computes in float32")
    weights = array_of(np.atleast_2d(model.coef_).T)
    if np.ndim(model.coef_) > 1 and len(model.coef_) > 1 and not hasattr(model, "classes_"):
        raise NotCompilableError("it gives several values a row")
    product = graph.op("MatMul", rows.name, graph.constant(weights))
    return graph.op("Add", product, graph.constant(np.reshape(model.intercept_, (1, -1))))


@converts("values", *_REGRESSORS)
def line(graph: Graph, model: Any, rows: Block) -> str:
    """Weights and an intercept."""
    return _weighted(graph, model, rows)


@converts("values", *_LOG_LINKED)
def log_linked(graph: Graph, model: Any, rows: Block) -> str:
    """A generalised linear model with a log or an identity link."""
    from sklearn._loss.link import IdentityLink, LogLink

    link = model._base_loss.link
    raw = _weighted(graph, model, rows)
    if isinstance(link, IdentityLink):
        return raw
    if not isinstance(link, LogLink):
        raise NotCompilableError(f"its link is {type(link).__name__}")
    return graph.op("Exp", raw)


@converts("margins", *_CLASSIFIERS)
def margin(graph: Graph, model: Any, rows: Block) -> str:
    """Distances from the planes."""
    return _weighted(graph, model, rows)


@converts("probabilities", "LogisticRegression", "LogisticRegressionCV")
def logistic(graph: Graph, model: Any, rows: Block) -> str:
    """Logistic regression: of several classes jointly, or each against the rest."""
    raw = _weighted(graph, model, rows)
    if len(model.classes_) == 2:
        return graph.op("Sigmoid", raw)
    if model.solver != "liblinear" and getattr(model, "multi_class", None) != "ovr":
        return graph.op("Softmax", raw)
    return _shares(graph, graph.op("Sigmoid", raw), len(model.classes_))


@converts("probabilities", "SGDClassifier")
def stochastic(graph: Graph, model: Any, rows: Block) -> str:
    """Of its losses, log loss gives probabilities by the logistic function."""
    if model.loss != "log_loss":
        raise NotCompilableError(f"SGDClassifier with {model.loss} has no converter")
    single = graph.op("Sigmoid", _weighted(graph, model, rows))
    return single if len(model.classes_) == 2 else _shares(graph, single, len(model.classes_))


@converts("probabilities", "LinearDiscriminantAnalysis")
def discriminant(graph: Graph, model: Any, rows: Block) -> str:
    """Linear discriminants."""
    raw = _weighted(graph, model, rows)
    return graph.op("Sigmoid", raw) if len(model.classes_) == 2 else graph.op("Softmax", raw)


def _shares(graph: Graph, raw: str, classes: int) -> str:
    """Each class against the rest, as shares; the same share for all where none says yes."""
    total = graph.op("ReduceSum", raw, graph.constant([1], "int64"), keepdims=1)
    none = graph.op("Equal", total, graph.constant(0.0))
    return graph.op("Where", none, graph.constant(1.0 / classes), graph.op("Div", raw, total))
