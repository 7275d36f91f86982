"""Which converter is asked for which fitted class, and how a model is asked for scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeVar

from headrace.kernels.errors import NotCompilableError
from headrace.kernels.graph import Block, Graph

Kind = Literal["probabilities", "margins", "values", "transform"]
Converter = TypeVar("Converter", bound=Callable[..., Any])

_CONVERTERS: Final[dict[tuple[Kind, str], Callable[..., Any]]] = {}
_UNWRAPPED: Final[dict[str, str]] = {
    "GridSearchCV": "best_estimator_",
    "RandomizedSearchCV": "best_estimator_",
    "HalvingGridSearchCV": "best_estimator_",
    "HalvingRandomSearchCV": "best_estimator_",
    "FixedThresholdClassifier": "estimator_",
    "TunedThresholdClassifierCV": "estimator_",
}
_PACKAGES: Final = ("sklearn", "lightgbm", "xgboost")


def converts(kind: Kind, *names: str) -> Callable[[Converter], Converter]:
    """Declare the converter of classes.

    One of a predictor gives the name of a float64 tensor: of ``probabilities`` a column a class,
    of two classes the second one's alone; of ``margins`` the same; of ``values`` one column. One
    of a transformer gives a ``Block``.
    """

    def declare(function: Converter) -> Converter:
        for name in names:
            _CONVERTERS[kind, name] = function
        return function

    return declare


def probabilities(graph: Graph, model: Any, rows: Block) -> str:
    """Of a classifier: a column a class; of two classes the second one's alone.

    Raises:
        NotCompilableError: here and below: a step has no exact counterpart.
    """
    if len(model.classes_) < 2:
        raise NotCompilableError("it saw a single class")
    return str(_convert("probabilities", graph, model, rows))


def margins(graph: Graph, model: Any, rows: Block) -> str:
    """What ``decision_function`` gives: a column a class, or one for two classes."""
    return str(_convert("margins", graph, model, rows))


def values(graph: Graph, model: Any, rows: Block) -> str:
    """What ``predict`` of a regressor gives, in one column."""
    return str(_convert("values", graph, model, rows))


def transform(graph: Graph, step: Any, rows: Block) -> Block:
    """What a transformer makes of a block."""
    if step is None or step == "passthrough":
        return rows
    made = _convert("transform", graph, step, rows)
    assert isinstance(made, Block)  # noqa: S101  # what converters of transformers give
    return made


def unwrapped(model: Any) -> Any:
    """The model that a search or a threshold wraps."""
    while (inner := _UNWRAPPED.get(type(model).__name__)) and _is_known(model):
        model = getattr(model, inner)
    return model


def last(model: Any) -> Any:
    """The predictor at the end of pipelines."""
    model = unwrapped(model)
    while type(model).__name__ == "Pipeline":
        model = unwrapped(model.steps[-1][1])
    return model


def _is_known(model: Any) -> bool:
    """A class of the libraries themselves: a subclass may do anything."""
    return type(model).__module__.partition(".")[0] in _PACKAGES


def _convert(kind: Kind, graph: Graph, model: Any, rows: Block) -> Any:
    model = unwrapped(model)
    name = type(model).__name__
    if not _is_known(model):
        raise NotCompilableError(f"{name} is a class of its own")
    found = _CONVERTERS.get((kind, name)) or _CONVERTERS.get((kind, "*"))
    if found is None:
        raise NotCompilableError(f"{name} has no converter")
    return found(graph, model, rows)
