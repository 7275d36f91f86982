"""Unmodified clients of each protocol against the application behind a real server."""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uvicorn
from tests.planes import Client, eventually

from headrace.payloads.answer import Answers
from headrace.payloads.signature import Field, Parameter, Signature
from headrace.requestlog.spool import SpoolWriter, segments
from headrace.serving.app import Limits, make_app
from headrace.serving.metrics import Metrics
from headrace.serving.pool import ThreadPool
from headrace.serving.service import ScoringService
from headrace.settings import Secret

from .fakes import live_with

if TYPE_CHECKING:
    from headrace.payloads.inputs import Inputs

SIGNATURE = Signature(
    (
        Field("a", "double"),
        Field("n", "long"),
        Field("s", "string"),
        Field("f", "float", required=False),
        Field("b", "boolean", required=False),
    ),
    (Field("score", "double"), Field("label", "string")),
    (Parameter("more", "double", 0.0),),
)


class Mixed:
    """score = a + n + offset; label = s: an answer tells which row of which request it is of."""

    signature = SIGNATURE
    kind: Literal["kernel"] = "kernel"
    loop = None

    def __init__(self, offset: float) -> None:
        self.offset = offset

    def example(self) -> bytes:
        """A made-up row."""
        return json.dumps(self.signature.example()).encode()

    async def predict(
        self, inputs: Inputs, params: Mapping[str, Any] | None, deadline: float
    ) -> Answers:
        """Columns, as a kernel answers."""
        more = float((params or {}).get("more", 0))
        score = inputs.columns["a"] + inputs.columns["n"].astype(float) + self.offset + more
        return Answers.of_columns({"score": score, "label": inputs.columns["s"]}, inputs.rows)

    def stats(self) -> Mapping[str, float]:
        """None."""
        return {}

    def close(self) -> None:
        """Nothing to let go of."""


class Live:
    """A server of an endpoint ``scores``: blue is version 1, green version 2 without traffic."""

    def __init__(self, spool: Path) -> None:
        scorers: Any = {"blue": Mixed(0.0), "green": Mixed(1000.0)}
        live = live_with(scorers, {"blue": 100, "green": 0})
        self.spool = spool
        self.writer = SpoolWriter(spool)
        metrics = Metrics(live)
        self.pool = ThreadPool(2, 64, 30.0)
        service = ScoringService(live, self.writer, self.pool, metrics, 30.0)
        app = make_app(live, service, metrics, lambda: Secret("secret"), Limits())
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self.listener.getsockname())
        config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none")
        self.server = uvicorn.Server(config)
        run = {"sockets": [self.listener]}
        self.thread = threading.Thread(target=self.server.run, kwargs=run, daemon=True)
        self.thread.start()
        eventually(lambda: self.server.started)
        self.client = Client(f"http://{self.address}", "secret")

    def stop(self) -> None:
        """End it, and wait."""
        self.server.should_exit = True
        self.thread.join(30)
        self.listener.close()
        self.writer.close()

    def logged(self) -> list[dict[str, Any]]:
        """The rows of the answered requests in the spool."""
        records = [r for segment in segments(self.spool) for r in segment.records()]
        return [row["inputs"] for record in records for row in record.get("rows", ())]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    served = Live(tmp_path_factory.mktemp("spool"))
    yield served
    served.stop()


TABLE = pa.table({"a": [1.5, 2.5], "n": [1, 2], "s": ["x", "é"], "device": ["d-1", "d-2"]})
SCORES = [2.5, 4.5]


def triton(live: Live) -> Any:
    from tritonclient.http import InferenceServerClient

    return InferenceServerClient(live.address)


#: Given as a copy: the client puts headers of its own into what it gets.
AUTHORIZED = {"Authorization": "Bearer secret"}


def triton_inputs(binary: bool) -> list[Any]:
    from tritonclient.http import InferInput

    inputs = []
    for name, datatype, values in (
        ("a", "FP64", np.array([1.5, 2.5])),
        ("n", "INT64", np.array([[1], [2]])),
        ("s", "BYTES", np.array(["x", "é"], dtype=object)),
    ):
        sent = InferInput(name, list(values.shape), datatype)
        sent.set_data_from_numpy(values, binary_data=binary)
        inputs.append(sent)
    return inputs


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("asked", [None, True, False])
def test_tritons_client_is_answered(live: Live, binary: bool, asked: bool | None) -> None:
    from tritonclient.http import InferRequestedOutput

    outputs = None
    if asked is not None:
        outputs = [InferRequestedOutput(n, binary_data=asked) for n in ("score", "label")]
    client = triton(live)
    found = client.infer(
        "scores",
        triton_inputs(binary),
        outputs=outputs,
        request_id="mine",
        headers=dict(AUTHORIZED),
    )
    assert found.as_numpy("score").tolist() == SCORES
    labels = [x.decode() if isinstance(x, bytes) else x for x in found.as_numpy("label")]
    assert labels == ["x", "é"]
    response = found.get_response()
    assert (response["id"], response["model_version"]) == ("mine", "1")
    ids = found.as_numpy("prediction_id")
    assert (ids is None) == (asked is not None)
    client.close()


def test_tritons_client_finds_out_what_is_served(live: Live) -> None:
    client = triton(live)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("scores", headers=dict(AUTHORIZED))
    assert client.is_model_ready("scores", "2", headers=dict(AUTHORIZED))
    assert not client.is_model_ready("scores", "7", headers=dict(AUTHORIZED))
    assert not client.is_model_ready("other", headers=dict(AUTHORIZED))
    assert (
        "binary_tensor_data" in client.get_server_metadata(headers=dict(AUTHORIZED))["extensions"]
    )
    metadata = client.get_model_metadata("scores", headers=dict(AUTHORIZED))
    assert metadata["versions"] == ["1", "2"]
    assert metadata["inputs"][1] == {"name": "n", "datatype": "INT64", "shape": [-1]}
    client.close()


def test_tritons_client_asks_for_a_version(live: Live) -> None:
    client = triton(live)
    found = client.infer("scores", triton_inputs(True), model_version="2", headers=dict(AUTHORIZED))
    assert found.as_numpy("score").tolist() == [1002.5, 1004.5]
    client.close()


def test_tritons_client_is_told_what_is_wrong(live: Live) -> None:
    from tritonclient.utils import InferenceServerException

    client = triton(live)
    for inputs, headers, words in (
        (triton_inputs(True)[:2], dict(AUTHORIZED), 'column "s"'),
        (triton_inputs(True), {}, "bearer token"),
    ):
        with pytest.raises(InferenceServerException) as caught:
            client.infer("scores", inputs, headers=headers)
        assert words in str(caught.value)
    client.close()


def test_arrow_and_parquet_are_answered_with_arrow(live: Live) -> None:
    sink, file = pa.BufferOutputStream(), io.BytesIO()
    with pa.ipc.new_stream(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)
    pq.write_table(TABLE, file)
    for media, body in (
        ("application/vnd.apache.arrow.stream", sink.getvalue().to_pybytes()),
        ("application/vnd.apache.parquet", file.getvalue()),
    ):
        path = "/endpoints/scores/invocations"
        reply = live.client.request(path, body, {"content-type": media})
        assert reply.headers["content-type"] == "application/vnd.apache.arrow.stream"
        answer = pa.ipc.open_stream(reply.body).read_all()
        assert answer["score"].to_pylist() == SCORES
        assert answer["prediction_id"][0].as_py() == reply.headers["x-headrace-prediction-id"]
        plain = {"content-type": media, "accept": "application/json"}
        assert live.client.request(path, body, plain).json["predictions"][1]["label"] == "é"
    assert {"a": 2.5, "n": 2, "s": "é", "device": "d-2"} in live.logged()


def test_azures_shape_and_headers(live: Live) -> None:
    document = {
        "input_data": {"columns": ["a", "n", "s"], "index": [0], "data": [[1.5, 1, "x"]]},
        "params": {"more": 10},
    }
    body = json.dumps(document).encode()
    path = "/endpoints/scores/score"
    reply = live.client.request(path, body, {"x-ms-client-request-id": "mine"})
    assert reply.json == [{"score": 12.5, "label": "x"}]
    assert reply.headers["x-ms-client-request-id"] == "mine"
    green = live.client.request(path, body, {"azureml-model-deployment": "green"})
    assert green.json[0]["score"] == 1012.5
    assert green.headers["x-headrace-deployment"] == "green"
    missing = live.client.request(path, body, {"azureml-model-deployment": "red"})
    assert missing.status == 404


def test_a_rows_answer_is_the_same_in_each_protocol(live: Live) -> None:
    row: dict[str, Any] = {"a": 0.1 + 0.2, "n": 2**53, "s": "x"}
    tensors = [
        {"name": "a", "datatype": "FP64", "shape": [1], "data": [row["a"]]},
        {"name": "n", "datatype": "INT64", "shape": [1], "data": [row["n"]]},
        {"name": "s", "datatype": "BYTES", "shape": [1], "data": ["x"]},
    ]
    asked = {
        "/endpoints/scores/invocations": {"inputs": [row]},
        "/endpoints/scores/score": {"input_data": [row]},
        "/v2/models/scores/infer": {"inputs": tensors},
    }
    found = [
        live.client.request(path, json.dumps(document).encode()).json
        for path, document in asked.items()
    ]
    expected = row["a"] + float(2**53)
    assert found[0]["predictions"][0]["score"] == expected
    assert found[1][0]["score"] == expected
    assert found[2]["outputs"][0]["data"] == [expected]


def test_the_openapi_document_is_served(live: Live) -> None:
    found = live.client.request("/endpoints/scores/openapi.json").json
    assert found["openapi"] == "3.1.0"
    assert found["info"]["version"] == "1"
    assert found["servers"] == [{"url": f"http://{live.address}/"}]


@pytest.mark.slow
def test_schemathesis_finds_no_defect(live: Live) -> None:
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    url = f"http://{live.address}"
    schema: Any = schemathesis.openapi.from_url(
        f"{url}/endpoints/scores/openapi.json", headers=dict(AUTHORIZED)
    )
    statuses: set[int] = set()
    checks = [
        not_a_server_error,
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    ]
    quiet = settings(
        max_examples=60,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    asked = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @quiet
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            response = case.call(base_url=url, headers=dict(AUTHORIZED))
            statuses.add(response.status_code)
            case.validate_response(response, checks=checks)

        ask()
        asked += 1
    assert asked == 6
    assert 200 in statuses
