"""Routes by which clients of a protocol find out what is served: the Open Inference Protocol's
metadata and health, and each endpoint's OpenAPI document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace import __version__
from headrace.payloads import openapi
from headrace.payloads.inference_protocol import model_metadata, server_metadata
from headrace.serving.errors import HttpError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from headrace.serving.live import Live, LiveDeployment


def protocol_routes(live: Live) -> list[Route]:
    """The routes, to be added to the application's others."""
    from starlette.routing import Route

    pages = _Protocols(live)
    model = "/v2/models/{name}"
    return [
        Route("/v2", pages.server, methods=["GET"]),
        Route("/v2/health/live", pages.alive, methods=["GET"]),
        Route("/v2/health/ready", pages.ready, methods=["GET"]),
        Route(model, pages.model, methods=["GET"]),
        Route(f"{model}/ready", pages.model_ready, methods=["GET"]),
        Route(f"{model}/versions/{{version}}", pages.model, methods=["GET"]),
        Route(f"{model}/versions/{{version}}/ready", pages.model_ready, methods=["GET"]),
        Route("/endpoints/{name}/openapi.json", pages.openapi, methods=["GET"]),
    ]


class _Protocols:
    def __init__(self, live: Live) -> None:
        self.live = live

    async def server(self, _: Request) -> Response:
        return json_response(server_metadata(__version__))

    async def alive(self, _: Request) -> Response:
        return json_response({"live": True})

    async def ready(self, _: Request) -> Response:
        ready = self.live.ready and not self.live.draining
        return json_response({"ready": ready}, 200 if ready else 503)

    async def model(self, request: Request) -> Response:
        name: str = request.path_params["name"]
        signature = self._deployment(request).scorer.signature
        loaded = self.live.endpoint(name).loaded.values()
        versions = sorted(deployment.record.model_version for deployment in loaded)
        return json_response(model_metadata(name, versions, signature))

    async def model_ready(self, request: Request) -> Response:
        self._deployment(request)
        return json_response({"name": request.path_params["name"], "ready": True})

    async def openapi(self, request: Request) -> Response:
        name: str = request.path_params["name"]
        deployment = self.live.endpoint(name).current()
        record = deployment.record
        return json_response(
            openapi.document(
                name,
                deployment.scorer.signature,
                model=record.model_name,
                version=record.model_version,
                url=str(request.base_url),
            )
        )

    def _deployment(self, request: Request) -> LiveDeployment:
        """That of the version in the path, else the one that has most of the traffic."""
        endpoint = self.live.endpoint(request.path_params["name"])
        version: str | None = request.path_params.get("version")
        if version is None:
            return endpoint.current()
        if not version.isdecimal() or len(version) > 9:
            raise HttpError(404, f'"{version}" is no version')
        return endpoint.of_version(int(version))


def json_response(body: dict[str, Any], status: int = 200) -> Response:
    """A body of JSON."""
    from starlette.responses import JSONResponse

    return JSONResponse(body, status_code=status)
