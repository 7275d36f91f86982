"""Routes that do not score: health, what is being served, metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.errors import HeadraceError
from headrace.payloads.dialects import refusal
from headrace.serving.errors import HttpError, InternalError
from headrace.serving.protocols import json_response, protocol_routes
from headrace.serving.wire import error_headers

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from headrace.serving.ground_truth import GroundTruth
    from headrace.serving.live import Live, LiveEndpoint
    from headrace.serving.metrics import Metrics


def make_pages(live: Live, metrics: Metrics, truth: GroundTruth) -> ASGIApp:
    """A Starlette application.

    Args:
        live: what is being served.
        metrics: what ``/metrics`` shows.
        truth: takes labels.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Route

    pages = _Pages(live, metrics)
    app = Starlette(
        routes=[
            Route("/livez", pages.alive, methods=["GET"]),
            Route("/readyz", pages.ready, methods=["GET"]),
            Route("/metrics", pages.metrics, methods=["GET"]),
            Route("/endpoints", pages.list, methods=["GET"]),
            Route("/endpoints/{name}", pages.describe, methods=["GET"]),
            Route("/endpoints/{name}/ground-truth", truth.post, methods=["POST"]),
            *protocol_routes(live),
        ],
        exception_handlers={
            HeadraceError: _answer_error,
            HTTPException: _answer_http_error,
            Exception: _answer_defect,
        },
    )
    app.router.redirect_slashes = False
    return app


class _Pages:
    def __init__(self, live: Live, metrics: Metrics) -> None:
        self.live = live
        self._metrics = metrics

    async def alive(self, _: Request) -> Response:
        return json_response({"status": "alive"})

    async def ready(self, _: Request) -> Response:
        if self.live.draining:
            return json_response({"status": "draining"}, 503)
        if self.live.ready:
            return json_response({"status": "ready"})
        return json_response({"status": "starting"}, 503)

    async def metrics(self, _: Request) -> Response:
        from starlette.responses import Response

        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def list(self, _: Request) -> Response:
        return json_response({"endpoints": [_describe(e) for e in self.live.endpoints.values()]})

    async def describe(self, request: Request) -> Response:
        return json_response(_describe(self.live.endpoint(request.path_params["name"])))


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
                "scorer": loaded.scorer.kind if loaded and serves else None,
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


def _error(request: Request, error: HeadraceError) -> Response:
    from starlette.responses import Response

    body = refusal(request.url.path, error)
    response = Response(body, error.status, media_type="application/json")
    for name, value in error_headers(error):
        response.headers[name.decode()] = value.decode()
    return response


async def _answer_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HeadraceError):
        raise error
    return _error(request, error)


async def _answer_http_error(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 400)
    response = _error(request, HttpError(status, str(getattr(error, "detail", error))))
    response.headers.update(getattr(error, "headers", None) or {})
    return response


async def _answer_defect(request: Request, error: Exception) -> Response:
    # A defect of ours: the server logs it with its trace, the client gets neither.
    return _error(request, InternalError(type(error).__name__))
