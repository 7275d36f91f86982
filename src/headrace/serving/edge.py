"""What stands before the application: the bearer token, bounds on connections and headers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from headrace.serving.errors import OverloadedError, UnauthorizedError
from headrace.serving.wire import send_error

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from headrace.errors import HeadraceError
    from headrace.serving.metrics import Metrics
    from headrace.settings import Secret

OPEN_PATHS: Final = frozenset({"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})


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
        refusal = self.refusal(scope["path"], scope["headers"])
        if refusal is not None:
            await send_error(send, refusal, scope["path"])
            return
        metrics = self.metrics
        metrics.in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            metrics.in_flight -= 1

    def refusal(self, path: str, headers: Iterable[tuple[bytes, bytes]]) -> HeadraceError | None:
        """Why a request is not let in, if it is not.

        Args:
            path: of the request, for the counts.
            headers: names in lower case.
        """
        given = None
        for name, value in headers:
            if name == b"authorization":
                given = value
                break
        if given is None:
            return UnauthorizedError("there is no Authorization header")
        if not self._is_right(given):
            return UnauthorizedError("the token in the Authorization header is not the project's")
        if self.metrics.in_flight >= self.requests:
            error = OverloadedError(self.metrics.in_flight)
            self.refused(path, error)
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
