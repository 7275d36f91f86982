"""Traces reach a collector over OTLP/HTTP, and hold no value of a request."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from headrace.requestlog.spool import SpoolWriter, segments
from headrace.serving.app import make_app
from headrace.serving.metrics import Metrics
from headrace.serving.telemetry import TracedService, Tracing, start_tracing, tracing_wanted
from headrace.settings import Secret

from .fakes import Adder, live_with

MARKER = "marker-7f3a"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Collector(HTTPServer):
    """Receives OTLP/HTTP."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self.server_port}"

    def spans(self) -> list[Any]:
        """Every span that has arrived."""
        found = []
        for body in self.bodies:
            sent = ExportTraceServiceRequest.FromString(body)
            for resource in sent.resource_spans:
                for scope in resource.scope_spans:
                    found.extend(scope.spans)
        return found


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        self.server.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
        yield server
        server.shutdown()
        thread.join()


class Plane:
    """An application with tracing, and what it has spooled."""

    def __init__(self, spool: Path, tracing: Tracing) -> None:
        self.adder = Adder()
        live = live_with({"blue": self.adder}, {"blue": 100, "green": 0})
        self.writer = SpoolWriter(spool)
        metrics = Metrics(live)
        service = TracedService(tracing, live, self.writer, self.adder.pool, metrics, 10.0)
        self.app = make_app(live, service, metrics, lambda: Secret("secret"))

    def score(self, a: Any, **headers: str) -> httpx.Response:
        """Score a row that carries the marker."""

        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app=self.app, raise_app_exceptions=False),
                base_url="http://plane",
                headers={"authorization": "Bearer secret", **headers},
            ) as client:
                return await client.post(
                    "/endpoints/scores/invocations",
                    json={"dataframe_records": [{"a": a, "device": MARKER}]},
                )

        return asyncio.run(ask())

    def close(self) -> None:
        """Release its threads and files."""
        self.adder.gate.set()
        self.adder.pool.close()
        self.writer.close()


@pytest.fixture
def tracing(collector: Collector) -> Tracing:
    found = start_tracing()
    assert found is not None
    return found


@pytest.fixture
def plane(tmp_path: Path, tracing: Tracing) -> Iterator[Plane]:
    made = Plane(tmp_path / "spool", tracing)
    yield made
    made.close()


def attributes(span: Any) -> dict[str, Any]:
    return {
        a.key: getattr(a.value, a.value.WhichOneof("value") or "string_value")
        for a in span.attributes
    }


def test_a_request_becomes_a_span_below_the_callers(
    plane: Plane, tracing: Tracing, collector: Collector
) -> None:
    reply = plane.score(1.5, traceparent=PARENT)
    assert reply.status_code == 200
    tracing.close()
    spans = {span.name: span for span in collector.spans()}
    assert set(spans) == {"score scores", "queue", "decode", "predict", "answer"}
    span = spans["score scores"]
    assert span.trace_id.hex() == TRACE
    assert span.parent_span_id.hex() == "b7ad6b7169203331"
    assert span.kind == 2, "server"
    told = attributes(span)
    assert told["http.response.status_code"] == 200
    assert told["headrace.endpoint"] == "scores"
    assert (told["headrace.deployment"], told["headrace.colour"]) == ("dep_blue", "blue")
    assert (told["headrace.model"], told["headrace.model_version"]) == ("model", 1)
    assert told["headrace.rows"] == 1
    assert told["headrace.request_id"] == reply.headers["x-headrace-request-id"]
    for name in ("queue", "decode", "predict", "answer"):
        step = spans[name]
        assert step.parent_span_id == span.span_id
        assert span.start_time_unix_nano <= step.start_time_unix_nano
        assert step.start_time_unix_nano <= step.end_time_unix_nano <= span.end_time_unix_nano


@pytest.mark.parametrize(
    ("a", "status", "code", "is_error"),
    [(MARKER, 400, "invalid_input", 0), (-2, 400, "prediction_failed", 0)],
)
def test_an_error_is_told_by_its_code(
    plane: Plane,
    tracing: Tracing,
    collector: Collector,
    a: Any,
    status: int,
    code: str,
    is_error: int,
) -> None:
    assert plane.score(a).status_code == status
    tracing.close()
    [span] = collector.spans()
    told = attributes(span)
    assert (told["http.response.status_code"], told["error.type"]) == (status, code)
    assert span.status.code == is_error


def test_a_log_that_cannot_be_written_is_an_error_of_the_server(
    plane: Plane, tracing: Tracing, collector: Collector
) -> None:
    plane.writer.close()
    assert plane.score(1.0).status_code == 503
    tracing.close()
    [span] = collector.spans()
    assert (attributes(span)["error.type"], span.status.code) == ("request_log_unavailable", 2)


def test_no_value_of_a_request_leaves_in_a_trace_or_a_log(
    plane: Plane, tracing: Tracing, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for a in (1.5, MARKER, -2, -3):
        plane.score(a)
    tracing.close()
    assert collector.bodies
    assert all(MARKER.encode() not in body for body in collector.bodies)
    assert MARKER not in caplog.text
    spooled = b"".join(s.path.read_bytes() for s in segments(plane.writer.directory.parent))
    assert MARKER.encode() in spooled, "the request log is where it belongs"


def test_a_collector_that_is_away_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.serving.telemetry.FLUSH_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        tracing = start_tracing()
        assert tracing is not None
        plane = Plane(tmp_path / "spool", tracing)
        assert plane.score(1.0).status_code == 200
        tracing.close()
        plane.close()


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, False),
    ],
)
def test_the_standard_variables_decide(environment: dict[str, str], wanted: bool) -> None:
    assert tracing_wanted(environment) is wanted


def test_without_the_extra_the_plane_still_starts(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert start_tracing() is None
    assert "pip install 'headrace[opentelemetry]'" in caplog.text
