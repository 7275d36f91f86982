"""The place where each Spark Connect request passes: one gRPC client interceptor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import grpc
    from pyspark.sql.connect.proto import (
        AnalyzePlanRequest,
        ExecutePlanRequest,
        ExecutePlanResponse,
    )

    Stream = Iterator[ExecutePlanResponse]


class Handler(Protocol):
    """What is done with the requests."""

    def execute(
        self, request: ExecutePlanRequest, send: Callable[[ExecutePlanRequest], Stream]
    ) -> Stream:
        """The responses to a plan; ``send`` passes a plan on to the server."""

    def reattach(self, operation_id: str, responses: Stream) -> Stream:
        """The responses after a broken stream was taken up again."""

    def analyze(
        self, request: AnalyzePlanRequest, send: Callable[[AnalyzePlanRequest], Any]
    ) -> Any:
        """The call that answers a question about a plan; ``send`` asks the server."""

    def released(self, operation_id: str, *, all: bool) -> bool:
        """Whether the server must be told to drop results; ``all``: the caller has ended."""


class Answer:
    """A unary call that is answered already."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def result(self) -> Any:
        """The response."""
        return self._response


def make_interceptor(handler: Handler) -> Any:
    """An interceptor that shows ``handler`` every request that carries a plan.

    An error raised by the handler reaches the caller of the Spark API as it is: gRPC hands it
    through, and PySpark re-raises what is not an ``RpcError``.
    """
    import grpc
    from pyspark.sql.connect import proto

    class _Interceptor(grpc.UnaryStreamClientInterceptor, grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]
        def intercept_unary_stream(
            self, continuation: Callable[..., Stream], details: grpc.ClientCallDetails, request: Any
        ) -> Stream:
            if isinstance(request, proto.ExecutePlanRequest):
                return handler.execute(request, lambda changed: continuation(details, changed))
            if isinstance(request, proto.ReattachExecuteRequest):
                return handler.reattach(request.operation_id, continuation(details, request))
            return continuation(details, request)

        def intercept_unary_unary(
            self, continuation: Callable[..., Any], details: grpc.ClientCallDetails, request: Any
        ) -> Any:
            if isinstance(request, proto.AnalyzePlanRequest):
                return handler.analyze(request, lambda changed: continuation(details, changed))
            if isinstance(request, proto.ReleaseExecuteRequest) and not handler.released(
                request.operation_id, all=request.HasField("release_all")
            ):
                return Answer(
                    proto.ReleaseExecuteResponse(
                        session_id=request.session_id, operation_id=request.operation_id
                    )
                )
            return continuation(details, request)

    return _Interceptor()
