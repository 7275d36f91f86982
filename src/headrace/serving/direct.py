"""Answers small requests to kernels at once, in the event loop, without ASGI."""

from __future__ import annotations

import http
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from headrace.errors import HeadraceError
from headrace.payloads.dialects import DIALECTS, refusal
from headrace.serving.errors import InternalError
from headrace.serving.service import Request
from headrace.serving.targets import Target, target_of
from headrace.serving.wire import error_headers

if TYPE_CHECKING:
    from headrace.serving.edge import Guard
    from headrace.serving.service import ScoringService

log = logging.getLogger(__name__)

#: Larger bodies go through the application.
DIRECT_BYTES: Final = 8 * 1024
_KNOWN: Final = 256


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

    def answer(self, candidate: Candidate, body: bytes) -> tuple[bytes, bytes] | None:
        """Head and body of the response, without the empty line between them.

        ``None``: it has to be awaited.
        """
        refusal_ = self.guard.refusal(candidate.target.path, candidate.headers)
        if refusal_ is not None:
            return _error(candidate.target.path, refusal_)
        request = Request(
            candidate.target.endpoint,
            DIALECTS[candidate.target.protocol],
            body,
            {name.decode("latin-1"): value.decode("latin-1") for name, value in candidate.headers},
            candidate.arrived,
            candidate.target.version,
        )
        try:
            answer = self.service.answer_now(request)
        except HeadraceError as error:
            return _error(candidate.target.path, error)
        except Exception as error:
            # A defect of ours: the log gets its trace, the client neither that nor its words.
            log.exception("a request to score %s met a defect", candidate.target.endpoint)
            return _error(candidate.target.path, InternalError(type(error).__name__))
        if answer is None:
            return None
        pieces = [b"HTTP/1.1 200 OK\r\n"]
        for name, value in answer.headers:
            pieces += (name, b": ", value, b"\r\n")
        return b"".join(pieces), answer.body

    def _target(self, url: bytes) -> Target | None:
        # Of a path that is spelled plainly; the application reads all others.
        target = target_of(url.decode("ascii")) if url.isascii() and b"%" not in url else None
        if target is not None and target.endpoint in self.service.live.endpoints:
            if len(self._targets) >= _KNOWN:
                self._targets.clear()
            self._targets[url] = target
        return target


def _error(path: str, error: HeadraceError) -> tuple[bytes, bytes]:
    body = refusal(path, error)
    pieces = [
        b"HTTP/1.1 %d %s\r\n" % (error.status, http.HTTPStatus(error.status).phrase.encode()),
        b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body),
    ]
    for name, value in error_headers(error):
        pieces += (name, b": ", value, b"\r\n")
    return b"".join(pieces), body
