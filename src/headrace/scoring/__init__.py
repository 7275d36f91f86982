"""Batch scoring: a table of predictions that follows its input and its model.

::

    spec = PredictionSpec(
        table="gold.device_failure_predictions",
        model="device_failure@production",
        input="gold.device_features",
        key=["device_id", "window_end"],
    )
    score(open_workspace(), spec).scored
"""

from __future__ import annotations

from headrace.scoring.errors import ScoringError as ScoringError
from headrace.scoring.freshness import scoring_freshness as scoring_freshness
from headrace.scoring.runner import Scoring as Scoring
from headrace.scoring.runner import score as score
from headrace.scoring.spec import RECORD_COLUMNS as RECORD_COLUMNS
from headrace.scoring.spec import PredictionSpec as PredictionSpec

__all__ = [
    "RECORD_COLUMNS",
    "PredictionSpec",
    "Scoring",
    "ScoringError",
    "score",
    "scoring_freshness",
]
