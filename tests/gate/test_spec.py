from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from headrace.gate import GateSpec


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"metric": "average_precison"}, 'did you mean "average_precision"'),
        ({"metric": "money"}, "there are average_precision, roc_auc"),
        ({"metric": "roc_auc", "min": {"recallx": 0.5}}, 'did you mean "recall"'),
        ({"metric": "roc_auc", "slice_min": {"recall": 0.5}}, "needs `slices`"),
        ({"metric": "roc_auc", "confidence": 1.0}, "less than 1"),
        ({"metric": "roc_auc", "confidence": 0.3}, "greater than 0.5"),
        ({"metric": "roc_auc", "resamples": 10}, "greater than or equal to 100"),
        ({"metric": "roc_auc", "min_gain": -1}, "greater than or equal to 0"),
        ({"metric": "roc_auc", "floor": 1}, "Extra inputs"),
    ],
)
def test_what_a_gate_refuses(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GateSpec(**fields)


def test_slices_meet_the_overall_bounds_unless_they_have_their_own() -> None:
    spec = GateSpec(metric="roc_auc", min={"recall": 0.5}, slices=["model"])
    assert spec.slice_floors == {"recall": 0.5}
    assert spec.model_copy(update={"slice_min": {}}).slice_floors == {}


def test_the_digest_follows_the_rule() -> None:
    one, other = GateSpec(metric="roc_auc"), GateSpec(metric="roc_auc", min_gain=0.01)
    assert one.digest == GateSpec(metric="roc_auc").digest != other.digest
