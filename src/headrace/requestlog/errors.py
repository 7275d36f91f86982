"""What can be wrong with what a client sends to the log."""

from __future__ import annotations

from headrace.errors import HeadraceError


class InvalidGroundTruthError(HeadraceError):
    """Ground truth that names no prediction or no label; none of the request is kept."""

    code = "invalid_ground_truth"
    status = 400

    def __init__(self, where: str, why: str) -> None:
        super().__init__(
            "This is no ground truth.",
            where=where,
            why=why,
            next='send {"labels": [{"prediction_id": "pred_...", "label": 1}]}',
        )
