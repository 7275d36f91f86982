"""OpenTelemetry traces of scoring: one server span a request, with its steps inside.

They are on where a standard variable asks for them (``OTEL_EXPORTER_OTLP_ENDPOINT``,
``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``, ``OTEL_TRACES_EXPORTER=otlp``) and the extra is installed.
Otherwise the plane runs ``ScoringService`` itself, and nothing of this is called. A span names
the endpoint, the version and the outcome, and never holds a value of a request or of an answer.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from headrace.errors import HeadraceError
from headrace.serving.service import ScoringService

if TYPE_CHECKING:
    from headrace.payloads.answer import Answers
    from headrace.serving.service import Answer, Request, _Work

log = logging.getLogger(__name__)

#: How long spans that wait are still sent when the plane ends.
FLUSH_SECONDS: Final = 5.0
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def tracing_wanted(environment: Mapping[str, str]) -> bool:
    """Whether OpenTelemetry's own variables ask for traces."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporters = environment.get("OTEL_TRACES_EXPORTER", "")
    if exporters:
        return "otlp" in [name.strip() for name in exporters.split(",")]
    return any(environment.get(name) for name in _ENDPOINTS)


def start_tracing() -> Tracing | None:
    """A tracer that sends to a collector, if one is wanted and the extra is installed."""
    if not tracing_wanted(os.environ):
        return None
    try:
        return Tracing()
    except ImportError as error:
        # Traces are no reason not to answer.
        log.warning(
            "no traces are sent: %s; next: pip install 'headrace[opentelemetry]'", error.name
        )
        return None


class Tracing:
    """Sends spans in batches from a thread of its own; a full queue drops them.

    Raises:
        ImportError: the extra ``opentelemetry`` is not installed.
    """

    def __init__(self) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        named = "OTEL_SERVICE_NAME" in os.environ
        resource = Resource.create({} if named else {"service.name": "headrace"})
        # Not the process's global provider: models and libraries do not trace into it.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("headrace")
        self._propagator = TraceContextTextMapPropagator()

    def answered(self, work: _Work, rows: int, request_id: str) -> None:
        """A request that has its answer."""
        record, request = work.deployment.record, work.request
        ended = time.monotonic()
        span, clock = self._begin(request, 200)
        span.set_attributes(
            {
                "headrace.deployment": record.id,
                "headrace.colour": record.colour,
                "headrace.model": record.model_name,
                "headrace.model_version": record.model_version,
                "headrace.rows": rows,
                "headrace.request_id": request_id,
            }
        )
        self._steps(
            span,
            clock,
            ("queue", request.arrived, work.started),
            ("decode", work.started, work.decoded),
            ("predict", work.decoded, work.predicted),
            ("answer", work.predicted, ended),
        )
        span.end(end_time=clock(ended))

    def refused(self, request: Request, status: int, code: str, deployment: str) -> None:
        """A request that got an error; ``code`` is the error's, never its words."""
        from opentelemetry.trace import StatusCode

        span, clock = self._begin(request, status)
        span.set_attribute("error.type", code)
        if deployment:
            span.set_attribute("headrace.deployment", deployment)
        if status >= 500:
            # The client's errors are none of the server's, by OpenTelemetry's conventions.
            span.set_status(StatusCode.ERROR, code)
        span.end(end_time=clock(time.monotonic()))

    def close(self) -> None:
        """Send what waits, for a bounded time."""
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(FLUSH_SECONDS)

    def _begin(self, request: Request, status: int) -> tuple[Any, Any]:
        from opentelemetry.trace import SpanKind

        offset = time.time_ns() - time.monotonic_ns()

        def clock(moment: float) -> int:
            return offset + int(moment * 1e9)

        span = self._tracer.start_span(
            f"score {request.endpoint}",
            context=self._propagator.extract(request.headers),
            kind=SpanKind.SERVER,
            start_time=clock(request.arrived),
            attributes={
                "http.request.method": "POST",
                "http.response.status_code": status,
                "headrace.endpoint": request.endpoint,
                "headrace.protocol": type(request.dialect).__name__,
            },
        )
        return span, clock

    def _steps(self, span: Any, clock: Any, *steps: tuple[str, float, float]) -> None:
        from opentelemetry.trace import set_span_in_context

        if not span.is_recording():
            return
        inside = set_span_in_context(span)
        for name, begun, ended in steps:
            step = self._tracer.start_span(name, context=inside, start_time=clock(begun))
            step.end(end_time=clock(ended))


class TracedService(ScoringService):
    """A service that tells of each request. Arguments are those of ``ScoringService``."""

    def __init__(self, tracing: Tracing, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.tracing = tracing

    async def answer(self, request: Request) -> Answer:
        try:
            return await super().answer(request)
        except HeadraceError as error:
            deployment = getattr(error, "deployment", "")
            self.tracing.refused(request, error.status, error.code, deployment)
            raise
        except Exception:
            self.tracing.refused(request, 500, "internal_error", "")
            raise

    def _finish(self, work: _Work, answers: Answers) -> Answer:
        answer = super()._finish(work, answers)
        identifier = dict(answer.headers)[b"x-headrace-request-id"].decode()
        self.tracing.answered(work, answers.rows, identifier)
        return answer
