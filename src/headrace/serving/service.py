"""One request from bytes to bytes: decode, route, predict, encode, log, answer."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from headrace.clock import iso, now
from headrace.errors import HeadraceError
from headrace.ids import new_ids
from headrace.payloads.dialect import AnswerContext, Dialect
from headrace.serving.errors import (
    DeadlineExceededError,
    InternalError,
    RequestLogUnavailableError,
)
from headrace.serving.scorer import score, score_now

if TYPE_CHECKING:
    from headrace.payloads.answer import Answers
    from headrace.payloads.dialect import Encoded
    from headrace.payloads.inputs import Inputs
    from headrace.payloads.payload import Payload
    from headrace.requestlog.spool import SpoolWriter
    from headrace.serving.live import Live, LiveDeployment, LiveEndpoint
    from headrace.serving.metrics import Metrics
    from headrace.serving.mirror import Mirror
    from headrace.serving.pool import ThreadPool

log = logging.getLogger(__name__)

#: Larger requests are read, checked and written in a thread, so that nobody waits for them.
INLINE_BYTES: Final = 32 * 1024
INLINE_ROWS: Final = 128

_UNSAFE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(slots=True)
class Request:
    """A scoring request as it came in.

    Attributes:
        endpoint: the name in the path.
        dialect: the protocol that the path says.
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
    """A request between its steps; moments are on ``time.monotonic()``."""

    request: Request
    endpoint: LiveEndpoint
    deployment: LiveDeployment
    payload: Payload
    inputs: Inputs
    key: str | None
    started: float
    decoded: float
    predicted: float = 0.0


@dataclass(slots=True)
class _Written:
    """An answer that is not logged yet."""

    encoded: Encoded
    request_id: str
    ids: list[str]
    at: float
    record: Mapping[str, Any]

    def answer(self, work: _Work, logged: float) -> Answer:
        """With its headers; the log holds it since ``logged``."""
        encoded = self.encoded
        headers = [
            (b"content-type", encoded.content_type.encode("latin-1")),
            (b"content-length", b"%d" % len(encoded.body)),
            (b"x-headrace-request-id", self.request_id.encode()),
            *work.deployment.headers,
            (b"server-timing", _timing(work, self.at, logged)),
        ]
        if self.ids:
            headers.append((b"x-headrace-prediction-id", self.ids[0].encode()))
        if encoded.headers:
            headers += _safe(encoded)
        return Answer(encoded.body, headers)


class ScoringService:
    """Answers requests with what is live, and spools each answer before it is given.

    Args:
        live: what is being served.
        spool: where answers are logged.
        pool: threads for large requests.
        metrics: counts.
        deadline: seconds from a request's body to its answer.
        mirror: gets the requests that are answered.
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
        self.mirror = mirror

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
            self.refused(request.endpoint, error, deployment)
            raise

    def answer_together(self, requests: Sequence[Request]) -> list[Answer | HeadraceError | None]:
        """Score small requests that came together, without awaiting anything.

        Step by step for all of them: what a step needs stays in the processor's cache, and a
        kernel scores the rows of one deployment in one call.

        Returns:
            An answer each; the error of one that cannot be answered, counted with its endpoint;
            ``None`` for one that has to be awaited.
        """
        results: list[Answer | HeadraceError | None] = [None] * len(requests)
        groups: dict[LiveDeployment, list[tuple[int, _Work]]] = {}
        for at, request in enumerate(requests):
            with _Refusing(self, request, results, at):
                work = self._prepare(request)
                groups.setdefault(work.deployment, []).append((at, work))
        scored: list[tuple[int, _Work, Answers]] = []
        for deployment, group in groups.items():
            together = _together(deployment, [work.inputs for _, work in group])
            for place, (at, work) in enumerate(group):
                with _Refusing(self, work.request, results, at, deployment):
                    answers = (
                        score_now(deployment.scorer, work.inputs, deployment.record.model)
                        if together is None
                        else together[place]
                    )
                    if answers is not None:
                        work.predicted = time.monotonic()
                        scored.append((at, work, answers))
        self._finish_together(scored, results)
        return results

    def _finish_together(
        self,
        scored: Sequence[tuple[int, _Work, Answers]],
        results: list[Answer | HeadraceError | None],
    ) -> None:
        written = []
        for at, work, answers in scored:
            with _Refusing(self, work.request, results, at, work.deployment):
                written.append((at, work, answers, self._written(work, answers)))
        if not written:
            return
        try:
            self._append(*(one.record for _, _, _, one in written))
        except HeadraceError as error:
            for at, work, _, _ in written:
                with _Refusing(self, work.request, results, at, work.deployment):
                    raise error
            return
        logged = time.monotonic()
        for at, work, answers, one in written:
            results[at] = one.answer(work, logged)
            try:
                self._answered(work, answers)
            except Exception:
                # It is answered and logged; the others that came with it are to be as well.
                log.exception("a request to score %s was not counted", work.request.endpoint)

    async def _score(self, work: _Work, deadline: float) -> Answer:
        deployment, inputs = work.deployment, work.inputs
        params = work.payload.params
        answers = await score(deployment.scorer, inputs, params, deadline, deployment.record.model)
        work.predicted = time.monotonic()
        if work.predicted > deadline:
            raise DeadlineExceededError(self.deadline)
        if len(work.request.body) <= INLINE_BYTES and inputs.rows <= INLINE_ROWS:
            answer = self._finish(work, answers)
        else:
            # Not given up at the deadline: what is logged is answered.
            answer = await self.pool.finish(lambda: self._finish(work, answers))
        self._answered(work, answers)
        return answer

    def _answered(self, work: _Work, answers: Answers) -> None:
        deployment, inputs = work.deployment, work.inputs
        seconds = time.monotonic() - work.request.arrived
        record = deployment.record
        deployment.observations.answered(seconds)
        self.metrics.answered(record.endpoint, record.id, seconds, inputs.rows)
        if self.mirror is not None and self.mirror.targets:
            self.mirror.offer(record.endpoint, deployment, work.payload, inputs, answers)

    def _prepare(self, request: Request) -> _Work:
        started = time.monotonic()
        endpoint = self.live.endpoint(request.endpoint)
        current = endpoint.current()
        headers = request.headers
        payload = request.dialect.decode(request.body, headers, current.scorer.signature)
        key = headers.get("x-headrace-key") or payload.key(0, endpoint.record.key)
        if request.version is not None:
            deployment = endpoint.of_version(request.version)
        elif "azureml-model-deployment" in headers:
            deployment = endpoint.of_colour(headers["azureml-model-deployment"])
        else:
            deployment = endpoint.route(key)
        try:
            inputs = deployment.scorer.signature.typed(payload)
        except HeadraceError as error:
            # So that it is counted with the deployment.
            error.deployment = deployment.record.id  # type: ignore[attr-defined]
            raise
        return _Work(request, endpoint, deployment, payload, inputs, key, started, time.monotonic())

    def _finish(self, work: _Work, answers: Answers) -> Answer:
        written = self._written(work, answers)
        self._append(written.record)
        return written.answer(work, time.monotonic())

    def _written(self, work: _Work, answers: Answers) -> _Written:
        """The answer's bytes, and its record for the log as far as the policy keeps it."""
        request, record = work.request, work.deployment.record
        first, *others = new_ids("", answers.rows + 1)
        request_id = f"req{first}"
        ids = [f"pred{other}" for other in others]
        context = AnswerContext(
            *(request_id, ids, record.model_name, record.model_version),
            *(request.headers.get("accept"), request.endpoint),
        )
        encoded = request.dialect.encode(work.payload, answers, context)
        encoded_at = time.monotonic()
        return _Written(encoded, request_id, ids, encoded_at, _record(work, answers, context))

    def _append(self, *records: Mapping[str, Any]) -> None:
        """Append to the spool.

        Raises:
            RequestLogUnavailableError: it cannot be written.
        """
        try:
            self.spool.append(*records)
        except OSError as error:
            raise RequestLogUnavailableError(error.strerror or str(error)) from error

    def refused(
        self, endpoint: str, error: HeadraceError, deployment: LiveDeployment | None = None
    ) -> None:
        """Count a request that was not answered; its payload is not kept."""
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


def _together(deployment: LiveDeployment, several: list[Inputs]) -> list[Answers] | None:
    """Answers of one call for all of them; ``None``: each is to be asked for by itself."""
    if len(several) == 1:
        return None
    try:
        return deployment.scorer.predict_together(several)
    except Exception:
        # Whatever the model met, the request that caused it is told when it is asked for alone.
        log.exception("%s failed for %d requests", deployment.record.model, len(several))
        return None


class _Refusing:  # a context manager, and a cheap one
    """Errors inside become the result of one request alone, and are counted."""

    __slots__ = ("_at", "_deployment", "_request", "_results", "_service")

    def __init__(
        self,
        service: ScoringService,
        request: Request,
        results: list[Answer | HeadraceError | None],
        at: int,
        deployment: LiveDeployment | None = None,
    ) -> None:
        self._service, self._request, self._deployment = service, request, deployment
        self._results, self._at = results, at

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool:
        endpoint = self._request.endpoint
        if isinstance(error, HeadraceError):
            self._service.refused(endpoint, error, self._deployment)
            self._results[self._at] = error
        elif isinstance(error, Exception):
            # A defect of ours: the log gets its trace, the client neither that nor its words.
            log.error("a request to score %s met a defect", endpoint, exc_info=error)
            defect = InternalError(type(error).__name__)
            self._service.refused(endpoint, defect, self._deployment)
            self._results[self._at] = defect
        return isinstance(error, Exception)


def _record(work: _Work, answers: Answers, context: AnswerContext) -> Mapping[str, Any]:
    """What the log keeps of an answer, as far as the endpoint's policy says."""
    payload = work.payload
    spec = work.endpoint.record.spec
    key_columns = spec.key
    rows = zip(context.prediction_ids, answers.values(), answers.scores(), strict=True)
    record: Mapping[str, Any] = {
        **work.deployment.logged,
        "request_id": context.request_id,
        "at": _stamp(),
        "latency_ms": round((time.monotonic() - work.request.arrived) * 1000, 3),
        "params": payload.params or None,
        "rows": [
            {
                "id": identifier,
                "key": (payload.key(at, key_columns) if key_columns else None) or work.key,
                "inputs": payload.record(at),
                "output": output,
                "score": found,
            }
            for at, (identifier, output, found) in enumerate(rows)
        ],
    }
    policy = spec.log
    return record if policy.keeps_everything else policy.apply(record, key_columns)


def _stamp() -> str:
    """This moment as ``clock.iso`` writes it; what comes before the milliseconds is kept."""
    global _second
    seconds = time.time()
    whole = int(seconds)
    known = _second
    if known[0] != whole:
        known = _second = (whole, iso(datetime.fromtimestamp(whole, UTC))[:-4])
    return f"{known[1]}{int((seconds - whole) * 1000):03d}Z"


_second = (0, "")


def is_failure(error: HeadraceError) -> bool:
    """Whether the plane or the model is to blame, and not the request."""
    return error.status >= 500 or error.code in ("prediction_failed", "overloaded")


def _timing(work: _Work, encoded: float, logged: float) -> bytes:
    return b"queue;dur=%.3f, decode;dur=%.3f, predict;dur=%.3f, encode;dur=%.3f, log;dur=%.3f" % (
        (work.started - work.request.arrived) * 1000,
        (work.decoded - work.started) * 1000,
        (work.predicted - work.decoded) * 1000,
        (encoded - work.predicted) * 1000,
        (logged - encoded) * 1000,
    )


def _safe(encoded: Encoded) -> list[tuple[bytes, bytes]]:
    """The dialect's own headers, which may repeat what the client said, without what is none."""
    headers = [
        (name.encode("latin-1"), value.encode("latin-1", "replace"))
        for name, value in encoded.headers.items()
    ]
    return [(name, value) for name, value in headers if not _UNSAFE.search(value)]
