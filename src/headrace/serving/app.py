"""The scoring plane's HTTP edge."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.errors import HeadraceError
from headrace.payloads.errors import MalformedRequestError
from headrace.serving.edge import Guard
from headrace.serving.errors import BodyTooLargeError, HttpError, InternalError, SlowRequestError
from headrace.serving.service import Request as ScoringRequest
from headrace.serving.service import ScoringService

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from headrace.serving.live import Live, LiveEndpoint
    from headrace.serving.pool import PredictionPool
    from headrace.settings import Secret

log = logging.getLogger(__name__)


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
    pool: PredictionPool,
    token: Callable[[], Secret],
    limits: Limits | None = None,
) -> Any:
    """The ASGI application.

    Args:
        live: what is being served.
        service: answers scoring requests.
        pool: the threads it runs in.
        token: the bearer token in force.
        limits: bounds; the defaults if not given.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Route

    bounds = limits or Limits()
    edge = _Edge(live, service, pool, bounds)
    app: Starlette = Starlette(
        routes=[
            Route("/livez", edge.alive, methods=["GET"]),
            Route("/readyz", edge.ready, methods=["GET"]),
            Route("/endpoints", edge.list, methods=["GET"]),
            Route("/endpoints/{name}", edge.describe, methods=["GET"]),
            Route("/endpoints/{name}/invocations", edge.invoke, methods=["POST"]),
        ],
        exception_handlers={
            HeadraceError: _answer_error,
            HTTPException: _answer_http_error,
            Exception: _answer_defect,
        },
    )
    app.router.redirect_slashes = False
    return Guard(app, token, bounds.requests)


class _Edge:
    def __init__(
        self, live: Live, service: ScoringService, pool: PredictionPool, limits: Limits
    ) -> None:
        self.live = live
        self.service = service
        self.pool = pool
        self.limits = limits

    async def alive(self, _: Request) -> Response:
        return _json({"status": "alive"})

    async def ready(self, _: Request) -> Response:
        if self.live.draining:
            return _json({"status": "draining"}, 503)
        if self.live.ready:
            return _json({"status": "ready"})
        return _json({"status": "starting"}, 503)

    async def list(self, _: Request) -> Response:
        return _json({"endpoints": [_describe(e) for e in self.live.endpoints.values()]})

    async def describe(self, request: Request) -> Response:
        return _json(_describe(self.live.endpoint(request.path_params["name"])))

    async def invoke(self, request: Request) -> Response:
        from starlette.responses import Response

        arrived = time.perf_counter()
        name: str = request.path_params["name"]
        self.live.endpoint(name)
        try:
            scoring = ScoringRequest(
                endpoint=name,
                body=await self._body(request),
                content_type=request.headers.get("content-type"),
                key=request.headers.get("x-headrace-key"),
                arrived=arrived,
            )
            answer = await self.pool.run(lambda claim: self.service.answer(scoring, claim))
        except HeadraceError as error:
            self.service.count_failure(name, error)
            raise
        return Response(answer.body, media_type="application/json", headers=answer.headers)

    async def _body(self, request: Request) -> bytes:
        from starlette.requests import ClientDisconnect

        declared = request.headers.get("content-length")
        if declared is not None and int(declared) > self.limits.body_bytes:
            raise BodyTooLargeError(self.limits.body_bytes)
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > self.limits.body_bytes:
                        raise BodyTooLargeError(self.limits.body_bytes)
                    chunks.append(chunk)
        except TimeoutError:
            raise SlowRequestError(self.limits.body_seconds) from None
        except ClientDisconnect:
            raise MalformedRequestError("the client went away before its body was sent") from None
        return b"".join(chunks)


def _describe(endpoint: LiveEndpoint) -> dict[str, Any]:
    record = endpoint.record
    shares = dict(record.split.shares) if record.split else {}
    deployments = []
    for deployment in record.deployments:
        loaded = endpoint.loaded.get(deployment.colour)
        serves = loaded is not None and loaded.record.id == deployment.id
        deployments.append(
            {
                "id": deployment.id,
                "colour": deployment.colour,
                "state": deployment.state,
                "model": deployment.model_name,
                "version": deployment.model_version,
                "model_id": deployment.model_id,
                "traffic": shares.get(deployment.colour, 0) if serves else 0,
                "inputs": loaded.scorer.signature.as_json() if loaded and serves else None,
            }
        )
    return {
        "name": record.name,
        "model": record.model,
        "key": list(record.key),
        "traffic": shares,
        "deployments": deployments,
    }


def _json(body: dict[str, Any], status: int = 200) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(body, status_code=status)


async def _answer_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, HeadraceError):
        raise error
    return error_response(error)


async def _answer_http_error(_: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 400)
    response = error_response(HttpError(status, str(getattr(error, "detail", error))))
    response.headers.update(getattr(error, "headers", None) or {})
    return response


async def _answer_defect(_: Request, error: Exception) -> Response:
    # A defect of ours: the server logs it with its trace, the client gets neither.
    return error_response(InternalError(type(error).__name__))


def error_response(error: HeadraceError) -> Response:
    """The one shape of an error, with the headers its status asks for."""
    from starlette.responses import JSONResponse

    response = JSONResponse(error.as_json(), status_code=error.status)
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        response.headers["retry-after"] = str(retry_after)
    if error.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    if error.status == 408:
        # A client that does not send its body is not waited for any longer.
        response.headers["connection"] = "close"
    return response
