"""Answers small requests to kernels in the event loop, without ASGI.

Those that are read in one round of the loop are answered together: a kernel that has scored a row
still has its graph in the processor's cache for the next one.
"""

from __future__ import annotations

import asyncio
import http
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from headrace.payloads.dialects import DIALECTS, refusal
from headrace.serving.service import Answer, Request
from headrace.serving.targets import Target, target_of
from headrace.serving.wire import error_headers

if TYPE_CHECKING:
    from headrace.errors import HeadraceError
    from headrace.serving.edge import Guard
    from headrace.serving.service import ScoringService

log = logging.getLogger(__name__)

#: Larger bodies go through the application.
DIRECT_BYTES: Final = 8 * 1024
#: So many requests are answered in one go at most.
TOGETHER: Final = 32
_KNOWN: Final = 256

#: Head and body, without the empty line between them.
Response = tuple[bytes, bytes]
#: Takes the response; ``None`` if the application is to give it.
Respond = Callable[[Response | None], None]


@dataclass(slots=True)
class Candidate:
    """The head of a request that may be answered directly."""

    target: Target
    headers: list[tuple[bytes, bytes]]
    arrived: float


class Direct:
    """What the protocol asks.

    Args:
        service: answers.
        guard: holds the token and the bound on requests under way.
    """

    def __init__(self, service: ScoringService, guard: Guard) -> None:
        self.service = service
        self.guard = guard
        self._targets: dict[bytes, Target] = {}
        self._waiting: list[tuple[Candidate, bytes, Respond]] = []

    def candidate(
        self, method: bytes, url: bytes, headers: list[tuple[bytes, bytes]]
    ) -> Candidate | None:
        """The head, if it is one of a small request to an endpoint of kernels alone."""
        if method != b"POST" or self.service.live.draining:
            return None
        target = self._targets.get(url) or self._target(url)
        if target is None:
            return None
        endpoint = self.service.live.endpoints.get(target.endpoint)
        if endpoint is None or not endpoint.at_once:
            return None
        for name, value in headers:
            if name == b"content-length":
                if len(value) > 4 or int(value) > DIRECT_BYTES:
                    return None
                return Candidate(target, headers, time.monotonic())
        return None

    def submit(self, candidate: Candidate, body: bytes, respond: Respond) -> None:
        """Answer a request together with those that the event loop reads in the same round."""
        if not self._waiting:
            # After one more look at the sockets: what has come meanwhile costs less together.
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self.flush)
        self._waiting.append((candidate, body, respond))
        if len(self._waiting) >= TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Answer what waits, now."""
        waiting, self._waiting = self._waiting, []
        admitted: list[tuple[str, Respond]] = []
        requests: list[Request] = []
        for candidate, body, respond in waiting:
            target, given = candidate.target, candidate.headers
            refused = self.guard.refusal(target.path, given)
            if refused is not None:
                respond(_error(target.path, refused))
                continue
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in given}
            dialect = DIALECTS[target.protocol]
            requests.append(
                Request(target.endpoint, dialect, body, headers, candidate.arrived, target.version)
            )
            admitted.append((target.path, respond))
        results = self.service.answer_together(requests)
        for (path, respond), result in zip(admitted, results, strict=True):
            try:
                if isinstance(result, Answer):
                    respond(_response(result))
                else:
                    respond(None if result is None else _error(path, result))
            except Exception:
                # One connection's trouble must not keep the answers from the others.
                log.exception("an answer to %s was not sent", path)

    def _target(self, url: bytes) -> Target | None:
        # Of a path that is spelled plainly; the application reads all others.
        target = target_of(url.decode("ascii")) if url.isascii() and b"%" not in url else None
        if target is not None and target.endpoint in self.service.live.endpoints:
            if len(self._targets) >= _KNOWN:
                self._targets.clear()
            self._targets[url] = target
        return target


def _response(answer: Answer) -> Response:
    pieces = [b"HTTP/1.1 200 OK\r\n"]
    for name, value in answer.headers:
        pieces += (name, b": ", value, b"\r\n")
    return b"".join(pieces), answer.body


def _error(path: str, error: HeadraceError) -> Response:
    body = refusal(path, error)
    pieces = [
        b"HTTP/1.1 %d %s\r\n" % (error.status, http.HTTPStatus(error.status).phrase.encode()),
        b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body),
    ]
    for name, value in error_headers(error):
        pieces += (name, b": ", value, b"\r\n")
    return b"".join(pieces), body
