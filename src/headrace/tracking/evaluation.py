"""Metrics of a fitted model on one part of the rows, by scikit-learn's definitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from headrace.tracking.errors import ModelCannotPredictError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

    from headrace.tracking.data import Task

PRIMARY = {"binary": "average_precision", "multiclass": "f1", "regression": "rmse"}
"""The metric that importance is measured with."""


def predicted(predict: Callable[[pd.DataFrame], Any], X: pd.DataFrame, model: str, at: str) -> Any:
    """What a model says of rows. The model's own code runs here, so anything can be raised.

    Args:
        predict: of the model.
        X: the rows.
        model, at: its name, and its source or version, for the message.

    Raises:
        ModelCannotPredictError: it raised.
    """
    try:
        return predict(X)
    except Exception as error:
        why = f"{type(error).__name__}: {str(error).strip()[:500]}"
        raise ModelCannotPredictError(model, at, why) from error


def scores(values: Any, rows: int, model: str, at: str) -> Floats:
    """Predictions as numbers, one a row.

    Raises:
        ModelCannotPredictError: they are no numbers, too few or too many, or not finite.
    """
    import numpy as np

    try:
        found: Floats = np.asarray(values, np.float64)
    except (ValueError, TypeError) as error:
        raise ModelCannotPredictError(model, at, f"its scores are no numbers: {error}") from error
    if found.shape != (rows,):
        why = f"it gives scores of shape {found.shape} for {rows:,} rows"
        raise ModelCannotPredictError(model, at, why)
    wild = int((~np.isfinite(found)).sum())
    if wild:
        why = f"its score is not a finite number in {wild:,} of {rows:,} rows"
        raise ModelCannotPredictError(model, at, why)
    return found


def check_labels(values: pd.Series, labels: tuple[object, ...], model: str, at: str) -> None:
    """Raises ModelCannotPredictError for a label that the table does not have."""
    unknown = set(values.unique().tolist()) - set(labels)
    if unknown:
        listed = ", ".join(repr(label) for label in labels[:10])
        why = f"it gives the label {min(unknown, key=repr)!r}; those of the table are {listed}"
        raise ModelCannotPredictError(model, at, why)


def measure(
    task: Task, y: pd.Series, predictions: pd.DataFrame, labels: tuple[object, ...] | None
) -> dict[str, float]:
    """Metrics by name; those that need both classes are left out where there is one.

    Args:
        task: decides which metrics there are.
        y: class codes or values.
        predictions: ``score``, and ``label`` in a classification.
        labels: the classes in the order of their codes.
    """
    import numpy as np

    truth: Floats = np.asarray(y, np.float64)
    score: Floats = np.asarray(predictions["score"], np.float64)
    if task == "regression":
        return _regression(truth, score)
    assert labels is not None  # noqa: S101  # known for every classification
    codes = {value: code for code, value in enumerate(labels)}
    label: Floats = np.asarray(predictions["label"].map(codes), np.float64)
    return _binary(truth, score, label) if task == "binary" else _labels(truth, label, "macro")


def _labels(truth: Floats, label: Floats, average: str) -> dict[str, float]:
    from sklearn import metrics

    options = {"average": average, "zero_division": 0.0}
    return {
        "accuracy": float(metrics.accuracy_score(truth, label)),
        "f1": float(metrics.f1_score(truth, label, **options)),
        "precision": float(metrics.precision_score(truth, label, **options)),
        "recall": float(metrics.recall_score(truth, label, **options)),
    }


def _binary(truth: Floats, score: Floats, label: Floats) -> dict[str, float]:
    from sklearn import metrics

    found = _labels(truth, label, "binary")
    if len(set(truth)) == 2:
        found["average_precision"] = float(metrics.average_precision_score(truth, score))
        found["roc_auc"] = float(metrics.roc_auc_score(truth, score))
    if ((score >= 0) & (score <= 1)).all():
        found["log_loss"] = float(metrics.log_loss(truth, score, labels=[0, 1]))
        found["brier"] = float(metrics.brier_score_loss(truth, score, pos_label=1))
    return found


def _regression(truth: Floats, score: Floats) -> dict[str, float]:
    from sklearn import metrics

    return {
        "rmse": float(metrics.root_mean_squared_error(truth, score)),
        "mae": float(metrics.mean_absolute_error(truth, score)),
        "median_absolute_error": float(metrics.median_absolute_error(truth, score)),
        "r2": float(metrics.r2_score(truth, score)) if len(truth) > 1 else 0.0,
    }
