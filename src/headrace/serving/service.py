"""One request from bytes to bytes: parse, route, predict, log, answer. Runs in a worker thread."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from headrace.clock import iso, now
from headrace.errors import HeadraceError
from headrace.ids import new_id
from headrace.payloads.codec import Payload, parse
from headrace.serving.errors import DeadlineExceededError, RequestLogUnavailableError
from headrace.serving.scorer import score

if TYPE_CHECKING:
    from headrace.payloads.answer import Predictions
    from headrace.requestlog.spool import SpoolWriter
    from headrace.serving.live import Live, LiveDeployment, LiveEndpoint
    from headrace.serving.pool import Claim

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """A scoring request as it came in."""

    endpoint: str
    body: bytes
    content_type: str | None
    key: str | None
    arrived: float


@dataclass(frozen=True)
class Answer:
    """The body and the headers of a 200."""

    body: bytes
    headers: dict[str, str]


class ScoringService:
    """Answers requests with what is live, and spools each answer before it is given."""

    def __init__(self, live: Live, spool: SpoolWriter, deadline: float) -> None:
        self.live = live
        self.spool = spool
        self.deadline = deadline

    def answer(self, request: Request, claim: Claim) -> Answer:
        """Score a request.

        Raises:
            HeadraceError: it cannot be answered; counted with the endpoint.
        """
        endpoint = self.live.endpoint(request.endpoint)
        payload = parse(request.body, request.content_type)
        key = request.key or payload.key(0, endpoint.record.key)
        deployment = endpoint.route(key)
        with deployment.answering(), self._told_of(deployment):
            predictions = score(deployment.scorer, payload, deployment.record.model)
            answer, record = _compose(request, endpoint, deployment, payload, predictions, key)
            if not claim.take():
                raise DeadlineExceededError(self.deadline)
            self._log(record)
            return answer

    def count_failure(self, request_endpoint: str, error: HeadraceError) -> None:
        """Count a request that was refused; its payload is not kept."""
        if request_endpoint not in self.live.endpoints:
            return
        record = {
            "kind": "failed",
            "endpoint": request_endpoint,
            "deployment": getattr(error, "deployment", ""),
            "status": error.status,
            "code": error.code,
            "at": iso(now()),
        }
        try:
            self.spool.append(record)
        except OSError as problem:
            # The client is to learn of its own error, not of this one.
            log.warning("a refused request was not counted: %s", problem)

    def _log(self, record: dict[str, Any]) -> None:
        try:
            self.spool.append(record)
        except OSError as error:
            raise RequestLogUnavailableError(error.strerror or str(error)) from error

    @contextmanager
    def _told_of(self, deployment: LiveDeployment) -> Iterator[None]:
        """Errors inside carry the deployment, so that they are counted with it."""
        try:
            yield
        except HeadraceError as error:
            error.deployment = deployment.record.id  # type: ignore[attr-defined]
            raise


def _compose(
    request: Request,
    endpoint: LiveEndpoint,
    deployment: LiveDeployment,
    payload: Payload,
    predictions: Predictions,
    key: str | None,
) -> tuple[Answer, dict[str, Any]]:
    record = deployment.record
    request_id = new_id("req")
    ids = [new_id("pred") for _ in predictions.values]
    body = json.dumps({"predictions": predictions.values, "prediction_ids": ids}).encode()
    headers = {
        "x-headrace-request-id": request_id,
        "x-headrace-prediction-id": ids[0],
        "x-headrace-model": quote(record.model_name, safe=" /:@._-"),
        "x-headrace-model-version": str(record.model_version),
        "x-headrace-deployment": record.colour,
    }
    logged = {
        "kind": "served",
        "request_id": request_id,
        "endpoint": endpoint.record.name,
        "deployment": record.id,
        "colour": record.colour,
        "model_name": record.model_name,
        "model_version": record.model_version,
        "model_id": record.model_id,
        "at": iso(now()),
        "latency_ms": round((time.perf_counter() - request.arrived) * 1000, 3),
        "status": 200,
        "params": json.dumps(payload.params) if payload.params else None,
        "rows": [
            {
                "id": ids[row],
                "key": payload.key(row, endpoint.record.key) or key,
                "request": json.dumps(payload.record(row)),
                "prediction": json.dumps(value),
                "score": predictions.scores[row],
            }
            for row, value in enumerate(predictions.values)
        ],
    }
    return Answer(body, headers), logged
