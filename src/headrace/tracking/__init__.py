"""Training in MLflow runs whose record writes itself.

::

    spec = TrainingSpec(
        name="device_failure",
        train="training/device_failure.py:train",
        table="gold.device_features",
        label="fails_within_24h",
        holdout={"hash": "20%"},
    )
    trained = train(workspace, spec)
    trained.metrics["holdout_average_precision"]
"""

from __future__ import annotations

from headrace.tracking.errors import TrainingError as TrainingError
from headrace.tracking.freshness import training_freshness as training_freshness
from headrace.tracking.holdout import HoldoutRows as HoldoutRows
from headrace.tracking.holdout import load_holdout as load_holdout
from headrace.tracking.mlflow_store import load_model as load_model
from headrace.tracking.spec import Holdout as Holdout
from headrace.tracking.spec import TrainingSpec as TrainingSpec
from headrace.tracking.store import HoldoutRecord as HoldoutRecord
from headrace.tracking.train import TrainedModel as TrainedModel
from headrace.tracking.train import last_trained as last_trained
from headrace.tracking.train import train as train

__all__ = [
    "Holdout",
    "HoldoutRecord",
    "HoldoutRows",
    "TrainedModel",
    "TrainingError",
    "TrainingSpec",
    "last_trained",
    "load_holdout",
    "load_model",
    "train",
    "training_freshness",
]
