"""What stands before the application: the bearer token, bounds on connections and headers."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from headrace.payloads.errors import MalformedRequestError
from headrace.serving.errors import OverloadedError, UnauthorizedError
from headrace.serving.wire import send_error

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from headrace.errors import HeadraceError
    from headrace.serving.metrics import Metrics
    from headrace.settings import Secret

OPEN_PATHS: Final = frozenset({"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})
#: Where the protocol leaves its own object of a request for ``whole_body`` and ``respond``, which
#: spare the hot path some of ASGI's messages; other servers leave nothing there.
EXCHANGE: Final = "headrace.exchange"
HEADER_SECONDS: Final = 10.0
HEADER_BYTES: Final = 64 * 1024


class Guard:
    """ASGI middleware: everything but the health routes needs the token.

    Args:
        app: the application.
        token: the token in force.
        requests: more than so many at once are refused.
        metrics: is told how many are under way.
        refused: told the path and the error of each request that is refused for the load.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: Callable[[], Secret],
        requests: int,
        metrics: Metrics,
        refused: Callable[[str, HeadraceError], None],
    ) -> None:
        self.app = app
        self.token = token
        self.requests = requests
        self.metrics = metrics
        self.refused = refused
        self._expected: tuple[Secret, bytes] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await send_error(send, refusal, scope["path"])
            return
        metrics = self.metrics
        metrics.in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            metrics.in_flight -= 1

    def _refusal(self, scope: Scope) -> HeadraceError | None:
        given = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                given = value
                break
        if given is None:
            return UnauthorizedError("there is no Authorization header")
        if not self._is_right(given):
            return UnauthorizedError("the token in the Authorization header is not the project's")
        if self.metrics.in_flight >= self.requests:
            error = OverloadedError(self.metrics.in_flight)
            self.refused(scope["path"], error)
            return error
        return None

    def _is_right(self, given: bytes) -> bool:
        token = self.token()
        if self._expected is None or self._expected[0] is not token:
            self._expected = (token, b"Bearer " + token.reveal().encode())
        if secrets.compare_digest(given, self._expected[1]):
            return True
        # Spelled in another way than almost every client does.
        scheme, _, rest = given.decode("latin-1").partition(" ")
        return scheme.lower() == "bearer" and token.matches(rest.strip())


def whole_body(exchange: Any) -> bytes | None:
    """The body of a request, if all of it is there already."""
    return None if exchange.more_body else bytes(exchange.body)


def respond(exchange: Any, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
    """Answer with 200 in one piece, as ``send`` would in two.

    Args:
        exchange: uvicorn's cycle of a request that has had no response.
        headers: without control characters; with the body's length.
        body: all of it.
    """
    if exchange.disconnected:
        return
    exchange.response_started = exchange.response_complete = True
    exchange.waiting_for_100_continue = False
    pieces = [b"HTTP/1.1 200 OK\r\n"]
    for name, value in (*exchange.default_headers, *headers):
        pieces += (name, b": ", value, b"\r\n")
    pieces.append(b"\r\n" if exchange.keep_alive else b"connection: close\r\n\r\n")
    pieces.append(body)
    exchange.transport.write(b"".join(pieces))
    exchange.message_event.set()
    if not exchange.keep_alive:
        exchange.transport.close()
    exchange.on_response()


def protocol_class() -> Any:
    """uvicorn's HTTP/1.1 protocol with bounds on heads and errors of our shape."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class BoundedProtocol(HttpToolsProtocol):
        """Closes a connection on which no complete request head arrives in time.

        Nor is a client waited for that still sends the body of a request that has its answer.
        """

        _head_timer: asyncio.TimerHandle | None = None
        _head_bytes = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait_for_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            # The base has none before the first head begins, and one without a path until it ends.
            scope: Any = self.scope
            cycle = self.cycle
            if not scope or "path" not in scope:
                self._head_bytes += len(data)
                if self._head_bytes > HEADER_BYTES:
                    self._refuse(f"its head is longer than {HEADER_BYTES} bytes")
                else:
                    self._wait_for_head()
            elif cycle.response_complete and cycle.more_body:
                self._wait_for_head()
            elif self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
                self._head_bytes = 0

        def connection_lost(self, exc: Exception | None) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
            super().connection_lost(exc)

        def on_headers_complete(self) -> None:
            headers = self.headers
            if not (headers and headers[0][0] == b"host") and not any(
                name == b"host" for name, _ in headers
            ):
                raise ValueError("no Host header")
            super().on_headers_complete()
            # The task that answers has not begun yet.
            scope: Any = self.scope
            scope[EXCHANGE] = self.cycle

        def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # a constant of the base
            self._refuse("it is no HTTP/1.1")

        def _refuse(self, why: str) -> None:
            body = json.dumps(MalformedRequestError(why).as_json()).encode()
            head = (
                b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
                b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
            )
            self.transport.write(head + body)
            self.transport.close()

        def _wait_for_head(self) -> None:
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    return BoundedProtocol
