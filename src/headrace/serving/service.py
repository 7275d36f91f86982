"""One request from bytes to bytes: decode, route, predict, encode, log, answer."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import orjson

from headrace.clock import iso, now
from headrace.errors import HeadraceError
from headrace.ids import new_id
from headrace.payloads.dialect import AnswerContext, Dialect
from headrace.serving.errors import DeadlineExceededError, RequestLogUnavailableError
from headrace.serving.mirror import Mirror
from headrace.serving.scorer import score

if TYPE_CHECKING:
    from headrace.payloads.answer import Answers
    from headrace.payloads.inputs import Inputs
    from headrace.payloads.payload import Payload
    from headrace.requestlog.spool import SpoolWriter
    from headrace.serving.live import Live, LiveDeployment, LiveEndpoint
    from headrace.serving.metrics import Metrics
    from headrace.serving.pool import ThreadPool

log = logging.getLogger(__name__)

#: Larger bodies are read, checked and written in a thread, so that nobody waits for them.
INLINE_BYTES: Final = 32 * 1024


@dataclass(slots=True)
class Request:
    """A scoring request as it came in.

    Attributes:
        endpoint: the name in the path.
        dialect: the protocol that the path and the media type say.
        body: within the limit.
        headers: names in lower case.
        arrived: when its head was there, on ``time.monotonic()``.
        version: of the model, where the path asks for one.
    """

    endpoint: str
    dialect: Dialect
    body: bytes
    headers: Mapping[str, str]
    arrived: float
    version: int | None = None


@dataclass(slots=True)
class Answer:
    """The body and the headers of a 200."""

    body: bytes
    headers: list[tuple[bytes, bytes]]


@dataclass(slots=True)
class _Work:
    """A request between its steps."""

    request: Request
    endpoint: LiveEndpoint
    deployment: LiveDeployment
    payload: Payload
    inputs: Inputs
    key: str | None
    started: float
    decoded: float


class ScoringService:
    """Answers requests with what is live, and spools each answer before it is given.

    Args:
        live: what is being served.
        spool: where answers are logged.
        pool: threads for large requests.
        metrics: counts.
        deadline: seconds from a request's arrival to its answer.
        mirror: gets a copy of each request that was answered.
    """

    def __init__(
        self,
        live: Live,
        spool: SpoolWriter,
        pool: ThreadPool,
        metrics: Metrics,
        deadline: float,
        mirror: Mirror | None = None,
    ) -> None:
        self.live = live
        self.spool = spool
        self.pool = pool
        self.metrics = metrics
        self.deadline = deadline
        self.mirror = mirror or Mirror()

    async def answer(self, request: Request) -> Answer:
        """Score a request.

        Raises:
            HeadraceError: it cannot be answered; counted with the endpoint.
        """
        deployment: LiveDeployment | None = None
        deadline = time.monotonic() + self.deadline
        try:
            if len(request.body) <= INLINE_BYTES:
                work = self._prepare(request)
            else:
                work = await self.pool.run(deadline, lambda: self._prepare(request))
            deployment = work.deployment
            deployment.busy += 1
            try:
                return await self._score(work, deadline)
            finally:
                deployment.busy -= 1
        except HeadraceError as error:
            self._count_failure(request.endpoint, deployment, error)
            raise

    def refused(self, endpoint: str, error: HeadraceError) -> None:
        """Count a request that was refused before its body was read."""
        self._count_failure(endpoint, None, error)

    def _prepare(self, request: Request) -> _Work:
        started = time.monotonic()
        endpoint = self.live.endpoint(request.endpoint)
        payload = request.dialect.decode(
            request.body, request.headers, endpoint.current().scorer.signature
        )
        key = request.headers.get("x-headrace-key") or payload.key(0, endpoint.record.key)
        deployment = endpoint.route(key, request.version)
        try:
            inputs = deployment.scorer.signature.typed(payload)
        except HeadraceError as error:
            _tell(error, deployment)
            raise
        return _Work(request, endpoint, deployment, payload, inputs, key, started, time.monotonic())

    async def _score(self, work: _Work, deadline: float) -> Answer:
        deployment = work.deployment
        answers = await score(
            deployment.scorer, work.inputs, work.payload.params, deadline, deployment.record.model
        )
        predicted = time.monotonic()
        if predicted > deadline:
            raise DeadlineExceededError(self.deadline)
        if len(work.request.body) <= INLINE_BYTES and answers.rows <= 256:
            answer = self._finish(work, answers, predicted)
        else:
            # Not given up at the deadline: what is logged is answered.
            answer = await self.pool.finish(lambda: self._finish(work, answers, predicted))
        seconds = time.monotonic() - work.request.arrived
        deployment.observations.answered(seconds)
        record = deployment.record
        self.metrics.answered(record.endpoint, record.id, seconds, answers.rows)
        self.mirror.offer(record.endpoint, deployment, work.payload, work.inputs, answers)
        return answer

    def _finish(self, work: _Work, answers: Answers, predicted: float) -> Answer:
        record = work.deployment.record
        request_id = new_id("req")
        ids = [new_id("pred") for _ in range(answers.rows)]
        context = AnswerContext(
            request_id,
            ids,
            record.model_name,
            record.model_version,
            work.request.headers.get("accept"),
        )
        encoded = work.request.dialect.encode(work.payload, answers, context)
        logged = _record(work, answers, request_id, ids)
        encoded_at = time.monotonic()
        try:
            self.spool.append(logged)
        except OSError as error:
            raise RequestLogUnavailableError(error.strerror or str(error)) from error
        timing = _timing(work, predicted, encoded_at, time.monotonic())
        headers = [
            (b"content-type", encoded.content_type.encode("latin-1")),
            (b"content-length", b"%d" % len(encoded.body)),
            (b"x-headrace-request-id", request_id.encode()),
            *_named(work.deployment),
            (b"server-timing", timing),
        ]
        if ids:
            headers.append((b"x-headrace-prediction-id", ids[0].encode()))
        headers.extend(
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in encoded.headers.items()
        )
        return Answer(encoded.body, headers)

    def _count_failure(
        self, endpoint: str, deployment: LiveDeployment | None, error: HeadraceError
    ) -> None:
        """Count a request that was refused; its payload is not kept."""
        identifier = deployment.record.id if deployment else getattr(error, "deployment", "")
        if endpoint not in self.live.endpoints:
            self.metrics.refused("", "", error.status, error.code)
            return
        self.metrics.refused(endpoint, identifier, error.status, error.code)
        if deployment is not None and is_failure(error):
            deployment.observations.failed()
        record = {
            "kind": "failed",
            "endpoint": endpoint,
            "deployment": identifier,
            "status": error.status,
            "code": error.code,
            "at": iso(now()),
        }
        try:
            self.spool.append(record)
        except OSError as problem:
            # The client is to learn of its own error, not of this one.
            log.warning("a refused request was not counted: %s", problem)


def is_failure(error: HeadraceError) -> bool:
    """Whether the plane or the model is to blame, and not the request."""
    return error.status >= 500 or error.code in ("prediction_failed", "overloaded")


def _tell(error: HeadraceError, deployment: LiveDeployment) -> None:
    """Let an error carry the deployment, so that it is counted with it."""
    error.deployment = deployment.record.id  # type: ignore[attr-defined]


def _named(deployment: LiveDeployment) -> list[tuple[bytes, bytes]]:
    record = deployment.record
    return [
        (b"x-headrace-model", quote(record.model_name, safe=" /:@._-").encode()),
        (b"x-headrace-model-version", b"%d" % record.model_version),
        (b"x-headrace-deployment", record.colour.encode()),
    ]


def _timing(work: _Work, predicted: float, encoded: float, logged: float) -> bytes:
    return b"queue;dur=%.3f, decode;dur=%.3f, predict;dur=%.3f, encode;dur=%.3f, log;dur=%.3f" % (
        (work.started - work.request.arrived) * 1000,
        (work.decoded - work.started) * 1000,
        (predicted - work.decoded) * 1000,
        (encoded - predicted) * 1000,
        (logged - encoded) * 1000,
    )


def _record(work: _Work, answers: Answers, request_id: str, ids: list[str]) -> dict[str, Any]:
    """What the request log keeps of an answer."""
    record = work.deployment.record
    payload, key_columns = work.payload, work.endpoint.record.key
    values, scores = answers.values(), answers.scores()
    return {
        "kind": "served",
        "request_id": request_id,
        "endpoint": record.endpoint,
        "deployment": record.id,
        "colour": record.colour,
        "model_name": record.model_name,
        "model_version": record.model_version,
        "model_id": record.model_id,
        "at": iso(now()),
        "latency_ms": round((time.monotonic() - work.request.arrived) * 1000, 3),
        "status": 200,
        "params": _dumps(payload.params) if payload.params else None,
        "rows": [
            {
                "id": ids[row],
                "key": payload.key(row, key_columns) or work.key,
                "request": _dumps(payload.record(row)),
                "prediction": _dumps(values[row]),
                "score": scores[row],
            }
            for row in range(answers.rows)
        ],
    }


def _dumps(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        # A whole number beyond 64 bits.
        return json.dumps(value, separators=(",", ":"))
