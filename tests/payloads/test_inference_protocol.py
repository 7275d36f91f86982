"""The Open Inference Protocol: tensors in JSON and in bytes, in and out."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest

from headrace.payloads.answer import Answers
from headrace.payloads.dialect import AnswerContext, Encoded
from headrace.payloads.dialects import DIALECTS
from headrace.payloads.errors import InvalidInputError, MalformedRequestError
from headrace.payloads.inference_protocol import model_metadata, server_metadata
from headrace.payloads.signature import Field, Signature

from .wires import ALL, Wire, post, tensor

NUMBERS = Signature((Field("a", "double"), Field("b", "long")))
PAIR = [tensor("a", [1.5, 2.5], "FP64"), tensor("b", [1, 2], "INT64")]


def infer(inputs: Any, **more: Any) -> Wire:
    return post("infer", {"inputs": inputs, **more})


def test_a_tensor_a_column_in_any_order_and_shape() -> None:
    columns = [PAIR[1], {**PAIR[0], "shape": [2, 1], "data": [[1.5], [2.5]]}]
    inputs = infer(columns).typed(NUMBERS)
    assert {n: c.tolist() for n, c in inputs.columns.items()} == {"a": [1.5, 2.5], "b": [1, 2]}


@pytest.mark.parametrize("data", [[1.5, 1, 2.5, 2], [[1.5, 1], [2.5, 2]]])
def test_one_matrix_holds_all_columns(data: list[Any]) -> None:
    matrix = {"name": "x", "datatype": "FP64", "shape": [2, 2], "data": data}
    inputs = infer([matrix]).typed(NUMBERS)
    assert {n: c.tolist() for n, c in inputs.columns.items()} == {"a": [1.5, 2.5], "b": [1, 2]}
    unnamed = Signature((Field(None, "double"), Field(None, "long")))
    assert infer([matrix]).typed(unnamed).columns[1].tolist() == [1, 2]


def test_a_tensor_model_gets_its_tensor() -> None:
    signature = Signature((Field(None, "float32", shape=(-1, 2)),))
    matrix = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}
    assert infer([matrix]).typed(signature).tensor.tolist() == [[1, 2], [3, 4]]
    named = Signature((Field("x", "float32", shape=(-1, 2)), Field("y", "int64", shape=(-1,))))
    inputs = infer([matrix, tensor("y", [7, 8], "INT64")]).typed(named)
    assert inputs.tensor["y"].tolist() == [7, 8]
    assert inputs.rows == 2


def test_null_is_a_missing_value() -> None:
    signature = Signature((Field("a", "double"), Field("s", "string")))
    inputs = infer([tensor("a", [None], "FP64"), tensor("s", [None], "BYTES")]).typed(signature)
    assert np.isnan(inputs.columns["a"][0])
    assert inputs.columns["s"][0] is None


def test_parameters_are_the_models() -> None:
    parameters = {"threshold": 0.5, "binary_data_output": True, "content_type": "pd"}
    assert infer(PAIR, parameters=parameters).decode(NUMBERS).params == {"threshold": 0.5}
    assert infer(PAIR).decode(NUMBERS).params is None


MALFORMED: list[tuple[Any, str]] = [
    ({}, "not a list of tensors"),
    ({"inputs": []}, "not a list of tensors"),
    ({"inputs": [1]}, "has no name"),
    ({"inputs": PAIR, "more": 1}, 'unknown field "more"'),
    ({"inputs": PAIR, "id": 7}, "id is a number, not text"),
    ({"inputs": PAIR, "parameters": []}, "parameters is a list"),
    ({"inputs": [PAIR[0], PAIR[0]]}, '"a" is there twice'),
    ({"inputs": [{**PAIR[0], "datatype": "FP128"}]}, "datatype is not one of"),
    ({"inputs": [{**PAIR[0], "shape": "2"}]}, "not a list of whole numbers"),
    ({"inputs": [{**PAIR[0], "shape": [-1]}]}, "not one of a tensor"),
    ({"inputs": [{**PAIR[0], "shape": [3]}]}, "2 values, its shape [3] has 3"),
    ({"inputs": [{**PAIR[0], "shape": [10**6, 10**6]}]}, "more than 5000000 values"),
    ({"inputs": [{**PAIR[0], "data": {}}]}, "data is an object"),
    ({"inputs": [{"name": "a", "datatype": "FP64", "shape": [2]}]}, "data is null"),
    ({"inputs": [tensor("a", [], "FP64"), tensor("b", [], "INT64")]}, "no rows"),
    ({"inputs": PAIR, "outputs": 5}, "outputs is not a list"),
    (
        {"inputs": PAIR, "outputs": [{"name": "x", "parameters": {"classification": 2}}]},
        "classification",
    ),
    ({"inputs": [{**PAIR[0], "parameters": {"binary_data_size": 8}}]}, "0 bytes are left"),
]


@pytest.mark.parametrize(("document", "why"), MALFORMED)
def test_a_malformed_request_says_what_is_wrong(document: Any, why: str) -> None:
    with pytest.raises(MalformedRequestError) as caught:
        post("infer", document).decode(NUMBERS)
    assert why in str(caught.value)


UNFIT: list[tuple[list[Any], str, str]] = [
    ([tensor("a", ["x"], "FP64")], "a", "no number"),
    ([tensor("a", [True], "FP64")], "a", "no number"),
    ([tensor("a", [1e39], "FP32")], "a", "does not fit in FP32"),
    ([tensor("b", [1.5], "INT64")], "b", "no whole number"),
    ([tensor("b", [300], "UINT8")], "b", "does not fit in UINT8"),
    ([tensor("b", [1], "BOOL")], "b", "neither true nor false"),
    ([tensor("a", [1], "BYTES")], "a", "no text"),
    ([{**PAIR[0], "shape": [1, 2]}, PAIR[1]], "a", "a column has [n] or [n, 1]"),
    ([PAIR[0], tensor("b", [1], "INT64")], "b", "1 rows, the first input 2"),
    ([PAIR[0]], "b", "the column is missing"),
]


@pytest.mark.parametrize(("inputs", "column", "why"), UNFIT)
def test_a_tensor_that_does_not_fit_is_named(inputs: list[Any], column: str, why: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        infer(inputs).typed(NUMBERS)
    assert caught.value.column == column
    assert why in str(caught.value)


def binary(document: Any, tail: bytes, length: str | None = None) -> Wire:
    head = json.dumps(document).encode()
    return Wire("infer", head + tail, {"inference-header-content-length": length or str(len(head))})


def in_bytes(name: str, datatype: str, size: int, rows: int = 2) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": datatype,
        "shape": [rows],
        "parameters": {"binary_data_size": size},
    }


def test_bytes_and_json_can_be_mixed() -> None:
    document = {"inputs": [in_bytes("b", "INT64", 16), PAIR[0]]}
    inputs = binary(document, struct.pack("<2q", 7, -8)).typed(NUMBERS)
    assert inputs.columns["b"].tolist() == [7, -8]
    assert inputs.columns["a"].tolist() == [1.5, 2.5]


TEXTS = struct.pack("<I1sI1s", 1, b"x", 1, b"\xff")
WRONG: list[tuple[Wire, str]] = [
    (binary({"inputs": [in_bytes("b", "INT64", 15)]}, b"\0" * 15), "2 values of INT64 have 16"),
    (binary({"inputs": [in_bytes("b", "INT64", 16)]}, b"\0" * 17), "belong to no tensor"),
    (binary({"inputs": [in_bytes("b", "INT64", -1)]}, b""), "binary_data_size is -1"),
    (binary({"inputs": [in_bytes("s", "BYTES", 8)]}, b"\xff" * 8), "longer than the tensor"),
    (binary({"inputs": [in_bytes("s", "BYTES", 5)]}, TEXTS[:5]), "1 values of 2"),
    (binary({"inputs": [in_bytes("s", "BYTES", 11)]}, TEXTS + b"\0"), "bytes too many"),
    (binary({"inputs": []}, b"", "99999"), "the body has"),
    (binary({"inputs": []}, b"", "-5"), "the body has"),
    (binary({"inputs": []}, b"", "9" * 30), "the body has"),
]


@pytest.mark.parametrize(("wire", "why"), WRONG)
def test_bytes_that_do_not_fit_are_refused(wire: Wire, why: str) -> None:
    with pytest.raises(MalformedRequestError) as caught:
        wire.decode(NUMBERS)
    assert why in str(caught.value)


def test_text_that_is_not_utf_8_is_named() -> None:
    wire = binary({"inputs": [in_bytes("s", "BYTES", len(TEXTS))]}, TEXTS)
    with pytest.raises(InvalidInputError) as caught:
        wire.decode(Signature((Field("s", "string"),)))
    assert (caught.value.column, caught.value.row) == ("s", 1)
    bytes_kept = wire.typed(Signature((Field("s", "binary"),)))
    assert bytes_kept.columns["s"].tolist() == [b"x", b"\xff"]


ANSWERS = Answers.of_columns(
    {
        "score": np.array([0.25, np.nan]),
        "label": np.array([1, 0]),
        "name": np.array(["é", None], dtype=object),
    },
    2,
)


def encoded(wire: Wire) -> Encoded:
    context = AnswerContext("req_1", ["pred_1", "pred_2"], "model", 3, endpoint="scores")
    return DIALECTS["infer"].encode(wire.decode(NUMBERS), ANSWERS, context)


def test_the_outputs_that_were_asked_for() -> None:
    wanted = [{"name": "label"}, {"name": "score", "parameters": {"binary_data": False}}]
    answer = json.loads(encoded(infer(PAIR, outputs=wanted, id="mine")).body)
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("mine", "scores", "3")
    assert answer["outputs"] == [
        {"name": "label", "datatype": "INT64", "shape": [2], "data": [1, 0]},
        {"name": "score", "datatype": "FP64", "shape": [2], "data": [0.25, None]},
    ]
    with pytest.raises(InvalidInputError, match="score, label, name, prediction_id"):
        encoded(infer(PAIR, outputs=[{"name": "scores"}]))


def test_outputs_in_bytes() -> None:
    answer = encoded(infer(PAIR, parameters={"binary_data_output": True}))
    length = int(answer.headers["inference-header-content-length"])
    outputs = json.loads(answer.body[:length])["outputs"]
    sizes = [output["parameters"]["binary_data_size"] for output in outputs]
    assert sizes == [16, 16, 10, 20]
    tail = answer.body[length:]
    assert tail[:8] == struct.pack("<d", 0.25)
    assert tail[16:32] == struct.pack("<2q", 1, 0)
    assert tail[32:42] == struct.pack("<I2sI", 2, "é".encode(), 0)
    assert answer.content_type == "application/octet-stream"


def test_metadata_is_that_of_the_signature() -> None:
    signature = Signature(
        ALL.fields, (Field("score", "double"), Field("label", "string")), ALL.parameters
    )
    metadata = model_metadata("scores", [2, 3], signature)
    assert metadata["versions"] == ["2", "3"]
    assert [entry["datatype"] for entry in metadata["inputs"]] == [
        *("FP64", "FP32", "INT64", "INT32", "BOOL", "BYTES", "BYTES", "BYTES", "INT64"),
    ]
    assert [entry["name"] for entry in metadata["outputs"]] == ["score", "label", "prediction_id"]
    tensors = Signature((Field("x", "float32", shape=(-1, 2)),))
    assert model_metadata("x", [1], tensors)["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
    ]
    assert "binary_tensor_data" in server_metadata("1")["extensions"]
