"""What stands before the application: the bearer token, bounds on connections and headers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from headrace.payloads.errors import MalformedRequestError
from headrace.serving.errors import OverloadedError, UnauthorizedError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from headrace.errors import HeadraceError
    from headrace.settings import Secret

OPEN_PATHS: Final = ("/livez", "/readyz")
HEADER_SECONDS: Final = 10.0


class Guard:
    """ASGI middleware: everything but the health routes needs the token.

    Args:
        app: the application.
        token: the token in force.
        requests: more than so many at once are refused.
    """

    def __init__(self, app: ASGIApp, token: Callable[[], Secret], requests: int) -> None:
        self.app = app
        self.token = token
        self.requests = requests
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            from headrace.serving.app import error_response

            await error_response(refusal)(scope, receive, send)
            return
        self._open += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._open -= 1

    def _refusal(self, scope: Scope) -> HeadraceError | None:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if not given:
            return UnauthorizedError("there is no Authorization header")
        scheme, _, token = given[0].decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not self.token().matches(token.strip()):
            return UnauthorizedError("the token in the Authorization header is not the project's")
        if self._open >= self.requests:
            return OverloadedError(self._open)
        return None


def protocol_class() -> Any:
    """uvicorn's HTTP/1.1 protocol with a deadline for headers and errors of our shape."""
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class BoundedProtocol(H11Protocol):
        """Closes a connection on which no complete request head arrives in time.

        Nor is a client waited for that still sends the body of a request that has its answer.
        """

        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            body = json.dumps(MalformedRequestError(f"it is no HTTP/1.1: {msg}").as_json())
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=body.encode()),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event))
            self.transport.close()

        def _watch(self) -> None:
            answered = self.conn.our_state is h11.DONE
            if self.conn.their_state is not h11.IDLE and not answered:
                self._unwatch()
            elif self._head_timer is None:
                self._head_timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

        def _unwatch(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

    return BoundedProtocol
