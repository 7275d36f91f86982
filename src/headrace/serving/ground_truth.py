"""``POST /endpoints/NAME/ground-truth``: labels for predictions made before."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.requestlog.ground_truth import read_ground_truth
from headrace.serving.errors import RequestLogUnavailableError
from headrace.serving.service import INLINE_BYTES
from headrace.serving.wire import read_body

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from headrace.requestlog.spool import SpoolWriter
    from headrace.serving.live import Live
    from headrace.serving.pool import ThreadPool


@dataclass(frozen=True)
class GroundTruth:
    """Takes labels into the spool; from there they go to their table as requests go to theirs.

    Attributes:
        live: knows the endpoints.
        spool: where labels wait.
        pool: threads for large requests.
        seconds: to read one in.
        body_bytes: of one request.
        body_seconds: to receive a body.
    """

    live: Live
    spool: SpoolWriter
    pool: ThreadPool
    seconds: float
    body_bytes: int
    body_seconds: float

    async def post(self, request: Request) -> Response:
        """202 with the number of labels, once they are on the disk.

        Raises:
            EndpointNotFoundError: there is no such endpoint.
            InvalidGroundTruthError: a label is malformed; none is kept.
            OverloadedError: too many large requests wait already.
            RequestLogUnavailableError: they cannot be written.
        """
        from starlette.responses import JSONResponse

        endpoint = self.live.endpoint(request.path_params["name"])
        body = await read_body(request.scope, request.receive, self.body_bytes, self.body_seconds)
        name = endpoint.record.name
        if len(body) <= INLINE_BYTES:
            record = read_ground_truth(name, body)
        else:
            deadline = time.monotonic() + self.seconds
            record = await self.pool.run(deadline, lambda: read_ground_truth(name, body))
        try:
            self.spool.append(record)
        except OSError as error:
            raise RequestLogUnavailableError(error.strerror or str(error)) from error
        return JSONResponse({"accepted": len(record["labels"])}, status_code=202)
