"""Ground truth: what turned out to be right, posted later by prediction id."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import orjson

from headrace.clock import iso, now
from headrace.ids import is_id
from headrace.requestlog.errors import InvalidGroundTruthError

MOST_LABELS: Final = 10_000
LONGEST_LABEL: Final = 1_000
_FIELDS: Final = frozenset({"prediction_id", "label", "at"})


def read_ground_truth(endpoint: str, body: bytes) -> dict[str, Any]:
    """The record to append to the spool.

    Whether a prediction is known is not asked: it may still be on its way to the log.

    Args:
        endpoint: that the labels were posted to.
        body: ``{"labels": [{"prediction_id": ..., "label": ..., "at": ...}]}``. A label is a
            number, a text, or true or false. ``at`` is since when it is known, ISO 8601 with a
            time zone; now if not given. Of several labels of a prediction the latest counts.

    Raises:
        InvalidGroundTruthError: names the label and what is wrong with it.
    """
    try:
        sent = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidGroundTruthError("the body", f"it is no JSON: {error}") from None
    labels = sent.get("labels") if isinstance(sent, dict) else None
    if not isinstance(labels, list) or not labels:
        raise InvalidGroundTruthError("the body", 'it has no list "labels" with at least one')
    if len(labels) > MOST_LABELS:
        why = f"{len(labels)} are more than the {MOST_LABELS} of one request"
        raise InvalidGroundTruthError("labels", why)
    received = iso(now())
    return {
        "kind": "truth",
        "endpoint": endpoint,
        "at": received,
        "labels": [
            _label(f"labels[{index}]", label, received) for index, label in enumerate(labels)
        ],
    }


def _label(where: str, sent: Any, received: str) -> dict[str, Any]:
    if not isinstance(sent, Mapping):
        raise InvalidGroundTruthError(where, "it is no object")
    if unknown := sorted(sent.keys() - _FIELDS):
        raise InvalidGroundTruthError(f"{where}.{unknown[0]}", "there is no such field")
    identifier = sent.get("prediction_id")
    if not isinstance(identifier, str) or not is_id(identifier, "pred"):
        why = "it is no prediction id, such as the answers of the endpoint carry"
        raise InvalidGroundTruthError(f"{where}.prediction_id", why)
    label = sent.get("label")
    if not isinstance(label, bool | int | float | str):
        why = "it is no number, no text, and neither true nor false"
        raise InvalidGroundTruthError(f"{where}.label", why)
    if isinstance(label, str) and len(label) > LONGEST_LABEL:
        why = f"it is longer than {LONGEST_LABEL} characters"
        raise InvalidGroundTruthError(f"{where}.label", why)
    at = received if sent.get("at") is None else _moment(f"{where}.at", sent["at"])
    return {"prediction_id": identifier, "label": label, "at": at}


def _moment(where: str, sent: Any) -> str:
    why = "it is no time with a zone, such as 2026-01-31T12:00:00Z"
    try:
        moment = datetime.fromisoformat(sent)
        if moment.tzinfo is None:
            raise InvalidGroundTruthError(where, why)
        return iso(moment)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidGroundTruthError(where, why) from error
