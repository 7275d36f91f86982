"""What stands before MLflow: who may ask, what may be asked, how much and for how long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from headrace.catalog import Audit, guards
from headrace.control import judge
from headrace.control.errors import (
    BusyError,
    ControlError,
    ForeignRequestError,
    ProtectedError,
    RouteNotListedError,
    TooSlowError,
    UnauthorizedError,
)
from headrace.control.graphql import only_reads
from headrace.control.routes import Route, route_of
from headrace.control.wire import (
    ClientLeft,
    Watched,
    answer,
    bounded,
    check_length,
    header,
    replayed,
    send_error,
    whole_body,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from headrace.catalog import Store
    from headrace.control.login import Login
    from headrace.settings import Secret

log = logging.getLogger(__name__)

_SAFE: Final = ("GET", "HEAD")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class Limits:
    """Bounds on what one client can take.

    Attributes:
        body_bytes: of a request that is no artifact.
        body_seconds: to receive it; of an artifact, from one part to the next.
        artifact_bytes: of a file.
        answer_seconds: to answer a request that is no artifact.
        requests: under way at once.
    """

    body_bytes: int = 16 * 1024 * 1024
    body_seconds: float = 30.0
    artifact_bytes: int = 8 * 1024**3
    answer_seconds: float = 120.0
    requests: int = 64


class Guard:
    """ASGI middleware around MLflow's application.

    Args:
        app: MLflow's.
        store: the project's database.
        token: the token in force.
        login: the way in for browsers.
        hosts: names that the plane is called by, beside those of this machine; empty where it
            listens on every address, whose names nobody can know.
        limits: bounds; the defaults if not given.
    """

    def __init__(
        self,
        app: ASGIApp,
        store: Store,
        token: Callable[[], Secret],
        login: Login,
        hosts: tuple[str, ...] = (),
        limits: Limits | None = None,
    ) -> None:
        self.app = app
        self.store = store
        self.token = token
        self.login = login
        self.hosts = hosts
        self.limits = limits or Limits()
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        watched = Watched(send)
        self._under_way += 1
        try:
            if not await self._entered(scope, send):
                await self._passed(scope, receive, watched)
        except ControlError as error:
            if not watched.started:
                await send_error(send, error)
        except ClientLeft:
            return
        finally:
            self._under_way -= 1

    async def _entered(self, scope: Scope, send: Send) -> bool:
        """Answer a browser that comes with the link."""
        if scope["path"] != "/" or scope["method"] != "GET":
            return False
        code = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("token")
        if code is None:
            return False
        self._check_host(scope)
        cookie = await asyncio.to_thread(self.login.enter, code)
        if cookie is None:
            raise UnauthorizedError("the link has been used, or is another plane's")
        # To the page itself: the code must stay neither in the address bar nor in the history.
        # A page and not a redirect, which would carry the cookie of a link on another site along.
        extra = {b"set-cookie": cookie.encode(), b"referrer-policy": b"no-referrer"}
        page = b'<!doctype html><meta http-equiv="refresh" content="0; url=/"><title>MLflow</title>'
        await answer(send, 200, page, b"text/html", extra)
        return True

    async def _passed(self, scope: Scope, receive: Receive, watched: Watched) -> None:
        self._check_host(scope)
        route = route_of(scope["method"], scope["path"])
        if route is not None and route.path == "/health":
            # For whoever has no token, so nothing of the request is waited for.
            await answer(watched, 200, b"OK", b"text/plain")
            return
        self._check_client(scope)
        if route is None:
            raise RouteNotListedError(scope["method"], scope["path"])
        if self._under_way > self.limits.requests:
            raise BusyError(self.limits.requests)
        inner = {**scope, "headers": _inner_headers(scope)}
        if route.kind == "artifact":
            await self._artifact(inner, receive, watched)
        else:
            await self._small(route, inner, receive, watched)

    def _check_host(self, scope: Scope) -> None:
        """A page that calls itself by this machine's address must not read what is answered."""
        host = header(scope, b"host")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if self.hosts and name not in (*_LOOPBACK, *self.hosts):
            raise ForeignRequestError(f'It names the host "{host[:100]}".')

    def _check_client(self, scope: Scope) -> None:
        given = header(scope, b"authorization")
        if given:
            scheme, _, rest = given.partition(" ")
            if scheme.lower() == "bearer" and self.token().matches(rest.strip()):
                return
            raise UnauthorizedError("the token in the Authorization header is not the project's")
        if not self.login.knows(header(scope, b"cookie")):
            raise UnauthorizedError("there is no Authorization header")
        self._check_origin(scope)

    def _check_origin(self, scope: Scope) -> None:
        """Of a browser: what changes something must come from a page of this plane."""
        site, origin = header(scope, b"sec-fetch-site"), header(scope, b"origin")
        if site and site not in ("same-origin", "none"):
            raise ForeignRequestError("A page of another site made it.")
        own = f"{scope['scheme']}://{header(scope, b'host')}"
        if origin and origin != own:
            raise ForeignRequestError(f"It comes from {origin[:100]}.")
        if scope["method"] not in _SAFE and not origin and not site:
            raise ForeignRequestError("It does not say where it comes from.")

    async def _artifact(self, scope: Scope, receive: Receive, watched: Watched) -> None:
        limits = self.limits
        if scope["method"] not in _SAFE:
            check_length(scope, limits.artifact_bytes)
            method, path = scope["method"], scope["path"]
            found = await asyncio.to_thread(judge.file_refusal, self.store, method, path)
            if found is not None:
                await self._refuse(scope, "artifact.write", {"name": scope["path"][:500]}, found)
        stream = bounded(receive, limits.artifact_bytes, limits.body_seconds)
        await self.app(scope, stream, watched)
        await watched.release()

    async def _small(self, route: Route, scope: Scope, receive: Receive, watched: Watched) -> None:
        limits = self.limits
        check_length(scope, limits.body_bytes)
        body = await whole_body(receive, limits.body_bytes, limits.body_seconds)
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        arguments = judge.parsed(body, query)
        if scope["path"] == "/graphql" and not only_reads(arguments):
            raise RouteNotListedError("a mutation of", "/graphql")
        action = f"{scope['method']} {route.path}"
        found = judge.refusal(scope["path"], arguments)
        if found is not None:
            await self._refuse(scope, action, arguments, found)
        try:
            async with asyncio.timeout(limits.answer_seconds):
                await self.app(scope, replayed(body, receive), watched)
        except TimeoutError:
            raise TooSlowError(limits.answer_seconds) from None
        sentence = guards.sentence_in(watched.body.decode("utf-8", "replace"))
        if sentence is not None:
            await self._refuse(scope, action, arguments, ProtectedError(sentence))
        await watched.release()

    async def _refuse(
        self, scope: Scope, action: str, arguments: dict[str, Any], error: ControlError
    ) -> None:
        """Audit a refusal, and raise it."""
        client = scope.get("client") or ("unknown", 0)
        details = {
            "action": action,
            "client": str(client[0]),
            "agent": header(scope, b"user-agent")[:200],
            "asked": {name: str(value)[:200] for name, value in list(arguments.items())[:20]},
            "why": error.what,
        }
        name = judge.object_of(arguments)
        log.warning("refused %s of %s from %s", action, name, client[0])

        def write() -> None:
            Audit(self.store).record(
                "control", name, outcome="refused", by="the project's token", details=details
            )

        await asyncio.to_thread(write)
        raise error


def _inner_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Without what is the guard's business alone."""
    ours = (b"authorization", b"cookie")
    return [(name, value) for name, value in scope["headers"] if name not in ours]
