"""Reliability tables: whether scores are the shares that they claim to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.gate.consistency import calibration_error
from headrace.gate.findings import Calibration, ReliabilityBin
from headrace.gate.metrics import is_probability, score_bins

if TYPE_CHECKING:
    from headrace.gate.metrics import Outcome


def calibration(outcome: Outcome) -> Calibration | None:
    """The reliability table of a model of two classes; ``None`` if its scores are no probabilities.

    The bins are those of the metric ``calibration_error``, which is the error told beside them.
    """
    import numpy as np

    if not is_probability(outcome.score):
        return None
    codes = score_bins(outcome.score)
    rows = np.bincount(codes)
    scores = np.bincount(codes, outcome.score)
    positives = np.bincount(codes, outcome.truth)
    bins = []
    for code in np.flatnonzero(rows):
        inside = outcome.score[codes == code]
        bins.append(
            ReliabilityBin(
                low=float(inside.min()),
                high=float(inside.max()),
                rows=int(rows[code]),
                score=float(scores[code] / rows[code]),
                share=float(positives[code] / rows[code]),
            )
        )
    return Calibration(error=calibration_error(bins), bins=tuple(bins))
