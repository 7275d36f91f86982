"""The scoring plane's HTTP application.

Requests to score go through plain ASGI: at thousands a second a router's work counts. Everything
else is Starlette's, in ``pages``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from headrace.errors import HeadraceError
from headrace.payloads.dialects import DIALECTS
from headrace.serving.edge import Guard
from headrace.serving.errors import HttpError, InternalError
from headrace.serving.ground_truth import GroundTruth
from headrace.serving.pages import make_pages
from headrace.serving.service import Request, ScoringService
from headrace.serving.targets import Target, target_of
from headrace.serving.wire import read_body, send_answer, send_error

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from headrace.serving.live import Live
    from headrace.serving.metrics import Metrics
    from headrace.settings import Secret

log = logging.getLogger(__name__)

_ALLOW: Final = ((b"allow", b"POST"),)


@dataclass(frozen=True)
class Limits:
    """Bounds on what one client can take.

    Attributes:
        body_bytes: of one request.
        body_seconds: to receive a body.
        deadline_seconds: from the body to the answer.
        requests: under way at once, over all connections.
    """

    body_bytes: int = 10 * 1024 * 1024
    body_seconds: float = 10.0
    deadline_seconds: float = 30.0
    requests: int = 512


def make_app(
    live: Live,
    service: ScoringService,
    metrics: Metrics,
    token: Callable[[], Secret],
    limits: Limits | None = None,
) -> Guard:
    """The ASGI application.

    Args:
        live: what is being served.
        service: answers scoring requests.
        metrics: counts.
        token: the bearer token in force.
        limits: bounds; the defaults if not given.
    """
    bounds = limits or Limits()
    truth = GroundTruth(
        live,
        service.spool,
        service.pool,
        bounds.deadline_seconds,
        bounds.body_bytes,
        bounds.body_seconds,
    )
    scoring = _Scoring(service, make_pages(live, metrics, truth), bounds)
    return Guard(scoring, token, bounds.requests, metrics, scoring.refused)


class _Scoring:
    """Answers requests to score; passes others on."""

    def __init__(self, service: ScoringService, pages: ASGIApp, limits: Limits) -> None:
        self.service = service
        self.pages = pages
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = target_of(scope["path"])
        if target is None:
            await self.pages(scope, receive, send)
        elif scope["method"] != "POST":
            await send_error(send, HttpError(405, "Method Not Allowed"), scope["path"], _ALLOW)
        else:
            await self._score(target, scope, receive, send)

    def refused(self, path: str, error: HeadraceError) -> None:
        """Count what was refused before it came here."""
        target = target_of(path)
        if target is not None:
            self.service.refused(target.endpoint, error)

    async def _score(self, target: Target, scope: Scope, receive: Receive, send: Send) -> None:
        arrived = time.monotonic()
        try:
            request = await self._read(target, scope, receive, arrived)
            answer = await self.service.answer(request)
        except HeadraceError as error:
            await send_error(send, error, scope["path"])
        except Exception as error:
            # A defect of ours: the log gets its trace, the client neither that nor its words.
            log.exception("a request to score %s met a defect", target.endpoint)
            defect = InternalError(type(error).__name__)
            self.service.refused(target.endpoint, defect)
            await send_error(send, defect, scope["path"])
        else:
            if self.service.live.draining:
                answer.headers.append((b"connection", b"close"))
            await send_answer(send, 200, answer.headers, answer.body)

    async def _read(
        self, target: Target, scope: Scope, receive: Receive, arrived: float
    ) -> Request:
        """The request with its body.

        Raises:
            HeadraceError: it is refused, and counted with the endpoint.
        """
        limits = self.limits
        try:
            self.service.live.endpoint(target.endpoint)
            body = await read_body(scope, receive, limits.body_bytes, limits.body_seconds)
        except HeadraceError as error:
            self.service.refused(target.endpoint, error)
            raise
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        return Request(
            target.endpoint,
            DIALECTS[target.protocol],
            body,
            headers,
            arrived,
            target.version,
        )
