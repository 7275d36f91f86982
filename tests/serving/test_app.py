"""The HTTP edge: every refusal is a 4xx of one shape, and nothing is ever a 500."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import pytest

from headrace.requestlog.counts import counts_of
from headrace.serving.live import Live

from .edges import BODY, JSON, SCORES, Edge
from .edges import edge as edge
from .edges import make_edge as make_edge
from .fakes import Adder, live_with

if TYPE_CHECKING:
    import httpx


def assert_error(reply: httpx.Response, status: int, code: str) -> dict[str, str]:
    """The one shape of an error."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/json"
    body: dict[str, str] = reply.json()
    assert body["error_code"] == code
    assert set(body) <= {"error_code", "message", "where", "why", "next"}
    assert all(body.values())
    assert "Traceback" not in reply.text
    return body


def test_an_answer_carries_version_deployment_and_ids(edge: Edge) -> None:
    reply = edge.score()
    assert reply.status_code == 200
    assert reply.json()["predictions"] == [1.5]
    [prediction] = reply.json()["prediction_ids"]
    assert reply.headers["x-headrace-prediction-id"] == prediction
    assert reply.headers["x-headrace-model"] == "model"
    assert reply.headers["x-headrace-model-version"] == "1"
    assert reply.headers["x-headrace-deployment"] == "blue"
    [record] = edge.records()
    assert record["request_id"] == reply.headers["x-headrace-request-id"]
    assert record["rows"] == [
        {
            "id": prediction,
            "key": "d-1",
            "inputs": {"a": 1.5, "device": "d-1"},
            "output": 1.5,
            "score": 1.5,
        }
    ]


def test_an_answer_is_one_of_mlflows(edge: Edge) -> None:
    from mlflow.deployments import PredictionsResponse

    reply = PredictionsResponse.from_json(edge.score().text)
    assert reply.get_predictions(predictions_format="ndarray").tolist() == [1.5]


def test_csv_and_parameters(edge: Edge) -> None:
    csv = edge.score(b"a,device\n1.5,x\n2.5,y\n", **{"content-type": "text/csv"})
    assert csv.json()["predictions"] == [1.5, 2.5]
    more = edge.score(b'{"inputs": {"a": [1]}, "params": {"more": 10}}')
    assert more.json()["predictions"] == [11.0]


def test_nan_in_a_prediction_is_null(edge: Edge) -> None:
    assert edge.score(b'{"inputs": {"a": [-4]}}').json()["predictions"] == [None]


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (None, "no Authorization header"),
        ("", "is not the project's"),
        ("Bearer", "is not the project's"),
        ("Bearer ", "is not the project's"),
        ("Bearer wrong", "is not the project's"),
        ("Basic secret", "is not the project's"),
        ("Bearer secret2", "is not the project's"),
        ("Bearer s\xe9cret", "is not the project's"),
    ],
)
@pytest.mark.parametrize("path", [SCORES, "/endpoints/scores", "/endpoints", "/nowhere", "/"])
def test_without_the_token_nothing_is_told(
    edge: Edge, header: str | None, why: str, path: str
) -> None:
    async def work(client: httpx.AsyncClient) -> httpx.Response:
        del client.headers["authorization"]
        headers = [(b"content-type", b"application/json")]
        if header is not None:
            headers.append((b"authorization", header.encode("latin-1")))
        return await client.post(path, content=BODY, headers=headers)

    reply = edge.run(work)
    assert why in assert_error(reply, 401, "unauthorized")["why"]
    assert reply.headers["www-authenticate"] == "Bearer"
    assert edge.records() == []


def test_the_scheme_is_case_insensitive(edge: Edge) -> None:
    assert edge.score(authorization="bearer secret").status_code == 200


def test_health_needs_no_token(make_edge: Callable[..., Edge]) -> None:
    edge = make_edge(live_with({"blue": Adder()}, {"blue": 100}, ready=False))

    async def work(client: httpx.AsyncClient) -> list[int]:
        del client.headers["authorization"]
        statuses = []
        for change in ("", "ready", "draining"):
            if change:
                setattr(edge.live, change, True)
            statuses += [(await client.get(p)).status_code for p in ("/livez", "/readyz")]
        return statuses

    assert edge.run(work) == [200, 503, 200, 200, 200, 503]


def test_an_endpoint_describes_itself(edge: Edge) -> None:
    body = edge.ask("GET", "/endpoints/scores").json()
    assert body["traffic"] == {"blue": 100, "green": 0}
    [deployment] = body["deployments"]
    assert deployment["inputs"] == [
        {"name": "a", "type": "double", "required": True},
        {"name": "n", "type": "string", "required": False},
    ]
    assert (deployment["colour"], deployment["version"], deployment["traffic"]) == ("blue", 1, 100)
    assert edge.ask("GET", "/endpoints").json() == {"endpoints": [body]}


def test_an_unknown_endpoint_is_404_with_a_suggestion(edge: Edge) -> None:
    for method, path in (("GET", "/endpoints/score"), ("POST", "/endpoints/score/invocations")):
        body = assert_error(edge.ask(method, path, content=BODY), 404, "endpoint_not_found")
        assert body["why"] == 'did you mean "scores"?'


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/endpoints/", 404),
        ("GET", SCORES, 405),
        ("DELETE", "/endpoints/scores", 405),
        ("POST", "/livez", 405),
        ("GET", "/endpoints/scores/invocations/", 404),
        ("GET", "/%00/%ff", 404),
    ],
)
def test_other_routes_have_the_same_shape(edge: Edge, method: str, path: str, status: int) -> None:
    assert_error(edge.ask(method, path), status, "http_error")


def test_without_a_live_deployment_it_is_503(make_edge: Callable[..., Edge]) -> None:
    edge = make_edge(live_with({}, {"blue": 100}))
    reply = edge.score()
    assert_error(reply, 503, "no_live_deployment")
    assert int(reply.headers["retry-after"]) > 0
    assert edge.ask("GET", "/endpoints/scores").json()["deployments"] == []


def test_a_plane_that_has_just_started_does_not_deny_its_endpoints(
    make_edge: Callable[..., Edge],
) -> None:
    edge = make_edge(Live())
    assert_error(edge.score(), 503, "no_live_deployment")


@pytest.mark.parametrize(
    ("body", "column"),
    [
        (b'{"inputs": {"a": ["x"]}}', "a"),
        (b'{"inputs": {"b": [1]}}', "a"),
        (b'{"inputs": {"a": [1], "n": [5]}}', "n"),
    ],
)
def test_input_that_does_not_fit_names_the_column(edge: Edge, body: bytes, column: str) -> None:
    reply = assert_error(edge.score(body), 400, "invalid_input")
    assert reply["where"].startswith(f'column "{column}"')


def test_a_model_that_fails_is_a_400_without_a_trace(edge: Edge) -> None:
    body = assert_error(edge.score(b'{"inputs": {"a": [-2]}}'), 400, "prediction_failed")
    assert body["why"] == "ZeroDivisionError: the model divides by zero"
    body = assert_error(edge.score(b'{"inputs": {"a": [-3]}}'), 400, "prediction_failed")
    assert "a value that is no list" in body["why"]


def test_refused_requests_are_counted_without_their_payload(edge: Edge) -> None:
    edge.score(b'{"inputs": {"a": [-2]}}')
    edge.score(b'{"inputs": {"a": ["secret-value"]}}')
    edge.score(b"secret-value")
    edge.score(BODY, **{"content-type": "image/png"})
    records = edge.records()
    assert "secret-value" not in json.dumps(records)
    assert counts_of(records) == {
        ("scores", "dep_blue"): {"failed": 1, "rejected": 1},
        ("scores", ""): {"rejected": 2},
    }


def test_a_body_over_the_limit_is_413(make_edge: Callable[..., Edge]) -> None:
    edge = make_edge(body_bytes=100)
    assert_error(edge.score(b"x" * 101), 413, "body_too_large")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 10

    assert_error(edge.ask("POST", SCORES, content=chunks(), headers=JSON), 413, "body_too_large")


def test_a_body_that_does_not_arrive_is_408(make_edge: Callable[..., Edge]) -> None:
    edge = make_edge(body_seconds=0.05)

    async def chunks() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async def work(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post(SCORES, content=chunks(), headers=JSON)

    assert_error(edge.run(work), 408, "request_timeout")


def test_a_prediction_that_takes_too_long_is_504_and_is_not_logged(
    make_edge: Callable[..., Edge],
) -> None:
    edge = make_edge(deadline_seconds=0.1)
    edge.adder.gate.clear()
    assert_error(edge.score(b'{"inputs": {"a": [-1]}}'), 504, "deadline_exceeded")
    edge.adder.gate.set()
    assert edge.score().status_code == 200
    edge.pool.close()
    assert [record["kind"] for record in edge.records()].count("served") == 1


def test_a_full_queue_is_429(make_edge: Callable[..., Edge]) -> None:
    edge = make_edge()
    edge.adder.gate.clear()
    waiting = b'{"inputs": {"a": [-1]}}'

    async def work(client: httpx.AsyncClient) -> tuple[httpx.Response, list[httpx.Response]]:
        busy = [
            asyncio.create_task(client.post(SCORES, content=waiting, headers=JSON))
            for _ in range(4)
        ]
        while edge.adder.waiting < 4:
            await asyncio.sleep(0)
        refused = await client.post(SCORES, content=waiting, headers=JSON)
        edge.adder.gate.set()
        return refused, await asyncio.gather(*busy)

    refused, answered = edge.run(work)
    assert_error(refused, 429, "overloaded")
    assert int(refused.headers["retry-after"]) > 0
    assert [reply.status_code for reply in answered] == [200] * 4


def test_too_many_requests_at_once_are_429(make_edge: Callable[..., Edge]) -> None:
    edge = make_edge(requests=1)
    edge.adder.gate.clear()

    async def work(client: httpx.AsyncClient) -> httpx.Response:
        body = b'{"inputs": {"a": [-1]}}'
        busy = asyncio.create_task(client.post(SCORES, content=body, headers=JSON))
        while edge.adder.waiting < 1:
            await asyncio.sleep(0)
        refused = await client.get("/endpoints")
        assert (await client.get("/livez")).status_code == 200
        over = await client.post(SCORES, content=body, headers=JSON)
        assert_error(over, 429, "overloaded")
        edge.adder.gate.set()
        await busy
        return refused

    assert_error(edge.run(work), 429, "overloaded")
    assert counts_of(edge.records())["scores", ""] == {"failed": 1}
    assert edge.metrics.in_flight == 0


def test_metrics_need_the_token_and_tell_of_refusals(edge: Edge) -> None:
    edge.score()
    edge.score(b"{")
    edge.ask("POST", "/endpoints/made-up/invocations", content=BODY)
    assert edge.ask("GET", "/metrics", headers={"authorization": "Bearer x"}).status_code == 401
    reply = edge.ask("GET", "/metrics")
    assert reply.headers["content-type"].startswith("text/plain")
    assert 'headrace_errors_total{endpoint="scores",error="malformed_request"} 1.0' in reply.text
    assert 'headrace_errors_total{endpoint="",error="endpoint_not_found"} 1.0' in reply.text
    assert "made-up" not in reply.text


@pytest.mark.parametrize(
    ("header", "status"), [("blue", 200), ("green", 404), ("BLUE", 404), ("", 404)]
)
def test_a_deployment_can_be_asked_by_its_colour(edge: Edge, header: str, status: int) -> None:
    reply = edge.score(BODY, **{"azureml-model-deployment": header})
    assert reply.status_code == status
    if status == 404:
        assert reply.json()["error_code"] == "deployment_not_live"


def test_a_version_can_be_asked_by_its_number(edge: Edge) -> None:
    body = b'{"inputs": [{"name": "a", "shape": [1], "datatype": "FP64", "data": [1.5]}]}'
    for version, status in (("1", 200), ("2", 404), ("x", 404), ("9" * 20, 404)):
        path = f"/v2/models/scores/versions/{version}/infer"
        assert edge.ask("POST", path, content=body).status_code == status, version


def test_large_requests_run_in_threads(edge: Edge) -> None:
    rows = [[float(n)] for n in range(20_000)]
    body = json.dumps({"dataframe_split": {"columns": ["a"], "data": rows}}).encode()
    reply = edge.score(body)
    assert reply.json()["predictions"] == [row[0] for row in rows]
    assert len(edge.records()[0]["rows"]) == len(rows)
    assert edge.pool.held == 0


def test_an_answer_that_cannot_be_logged_is_not_given(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    edge.writer.close()
    assert_error(edge.score(), 503, "request_log_unavailable")
    assert_error(edge.score(b"{"), 400, "malformed_request")
    assert "was not counted" in caplog.text


def test_a_defect_has_the_shape_of_an_error(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(edge.live, "endpoint", defect)
    reply = edge.score()
    assert_error(reply, 500, "internal_error")
    assert "secret detail" not in reply.text
    assert counts_of(edge.records())["scores", ""] == {"failed": 1}
    assert b'headrace_errors_total{endpoint="scores",error="internal_error"} 1.0' in (
        edge.metrics.text()
    )


@pytest.mark.parametrize("place", ["header", "column"])
def test_a_key_stays_with_its_colour(make_edge: Callable[..., Edge], place: str) -> None:
    live = live_with({"blue": Adder(), "green": Adder(100)}, {"blue": 50, "green": 50})
    edge = make_edge(live)

    async def work(client: httpx.AsyncClient) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for key in [f"device-{n}" for n in range(30)] * 3:
            headers = {**JSON, **({"x-headrace-key": key} if place == "header" else {})}
            row = {"a": 1.0, **({"device": key} if place == "column" else {})}
            body = json.dumps({"dataframe_records": [row]})
            reply = await client.post(SCORES, content=body, headers=headers)
            found.setdefault(key, set()).add(reply.headers["x-headrace-deployment"])
        return found

    found = edge.run(work)
    assert all(len(colours) == 1 for colours in found.values())
    assert {colour for colours in found.values() for colour in colours} == {"blue", "green"}
