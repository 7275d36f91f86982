"""Azure ML's shape of a request to score."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.payloads.answer import Answers
from headrace.payloads.azure import CLIENT_ID_HEADER
from headrace.payloads.dialect import AnswerContext
from headrace.payloads.dialects import DIALECTS
from headrace.payloads.errors import MalformedRequestError
from headrace.payloads.signature import Field, Signature

from .wires import post

NUMBERS = Signature((Field("a", "double"), Field("b", "double")))
DATA = [[1.5, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    "document",
    [
        {"input_data": {"columns": ["b", "a"], "index": [0, 1], "data": [[2.0, 1.5], [4.0, 3.0]]}},
        {"input_data": {"columns": ["a", "b"], "data": DATA}},
        {"input_data": {"data": DATA}},
        {"input_data": DATA},
        {"data": DATA},
        {"input_data": {"a": [1.5, 3.0], "b": [2.0, 4.0]}},
        {"data": [{"a": 1.5, "b": 2.0}, {"a": 3.0, "b": 4.0}]},
    ],
)
def test_the_same_rows_in_each_form(document: Any) -> None:
    inputs = post("score", document).typed(NUMBERS)
    assert {n: c.tolist() for n, c in inputs.columns.items()} == {"a": [1.5, 3.0], "b": [2.0, 4.0]}


def test_a_tensor_model_gets_its_tensor() -> None:
    signature = Signature((Field(None, "float32", shape=(-1, 2)),))
    assert post("score", {"input_data": DATA}).typed(signature).tensor.tolist() == DATA
    named = Signature((Field("x", "float32", shape=(-1, 2)),))
    assert post("score", {"input_data": {"x": DATA}}).typed(named).tensor["x"].tolist() == DATA


def test_parameters_are_kept() -> None:
    payload = post("score", {"input_data": DATA, "params": {"more": 1}}).decode(NUMBERS)
    assert payload.params == {"more": 1}


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"inputs": DATA}, "neither input_data nor data"),
        ({"input_data": DATA, "data": DATA}, "input_data and data"),
        ({"input_data": DATA, "extra": 1}, 'unknown field "extra"'),
        ({"input_data": DATA, "params": 1}, "params is a number"),
        ({"input_data": [[1.0]]}, "row 0 has 1 values for 2 columns"),
        ({"input_data": []}, "no rows"),
        ({"input_data": {}}, "no columns"),
        ({"input_data": {"columns": ["a", "b"], "data": [[1.0]]}}, "row 0 has 1 values"),
    ],
)
def test_a_malformed_request_says_what_is_wrong(document: Any, why: str) -> None:
    with pytest.raises(MalformedRequestError) as caught:
        post("score", document).decode(NUMBERS)
    assert why in str(caught.value)


def test_the_clients_own_id_is_given_back() -> None:
    wire = post("score", {"input_data": DATA}, **{CLIENT_ID_HEADER: "mine"})
    context = AnswerContext("req_1", ["pred_1", "pred_2"], "model", 3)
    answers = Answers.of([0.5, 0.75], 2)
    encoded = DIALECTS["score"].encode(wire.decode(NUMBERS), answers, context)
    assert encoded.body == b"[0.5,0.75]"
    assert encoded.headers == {CLIENT_ID_HEADER: "mine"}
