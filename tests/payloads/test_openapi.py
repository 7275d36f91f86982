"""The OpenAPI document: valid, and true of what the dialects take and refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from headrace.payloads.dialects import DIALECTS
from headrace.payloads.errors import InvalidInputError
from headrace.payloads.openapi import ERRORS, document
from headrace.payloads.signature import Field, Parameter, Signature

from .wires import ALL, columns_of, jsonable, post

OUTPUTS = (Field("score", "double"), Field("label", "string"))
FULL = Signature(ALL.fields, OUTPUTS, (Parameter("threshold", "double", 0.5),))
UNNAMED = Signature((Field(None, "double"), Field(None, "long")))
TENSOR = Signature((Field(None, "float32", shape=(-1, 2)),))
NAMED_TENSORS = Signature(
    (Field("x", "float32", shape=(-1, 2)), Field("y", "int64", shape=(-1,))),
)
ROW: dict[str, Any] = {
    "d": 1.5, "f": 0.5, "l": 2**40, "i": -3, "b": True, "s": "é", "y": b"\x00",
    "t": "2026-01-31T12:00:00Z", "o": None,
}  # fmt: skip


def of(signature: Signature) -> dict[str, Any]:
    return document("scores", signature, model="model", version=3, url="http://plane/")


def validator(signature: Signature, name: str) -> Draft202012Validator:
    found = of(signature)
    schema = {"$ref": f"#/components/schemas/{name}", "components": found["components"]}
    return Draft202012Validator(schema)


@pytest.mark.parametrize("signature", [FULL, ALL, UNNAMED, TENSOR, NAMED_TENSORS])
def test_each_schema_is_valid_and_each_reference_leads_somewhere(signature: Signature) -> None:
    found = of(signature)
    json.dumps(found, allow_nan=False)
    for schema in found["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for reference in references(found):
        target: Any = found
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
    identifiers = [
        operation["operationId"]
        for methods in found["paths"].values()
        for operation in methods.values()
    ]
    assert len(identifiers) == len(set(identifiers)) == 6


def references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [found for inner in value for found in references(inner)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
    return own + [found for inner in value.values() for found in references(inner)]


GOOD = jsonable([ROW, ROW])
SPLIT = {"columns": list(ROW), "data": [list(row.values()) for row in GOOD]}
FORMS: list[tuple[str, str, dict[str, Any]]] = [
    ("Invocation", "invocations", {"dataframe_split": SPLIT}),
    ("Invocation", "invocations", {"dataframe_records": GOOD}),
    ("Invocation", "invocations", {"instances": GOOD, "params": {"threshold": 0.1}}),
    ("Invocation", "invocations", {"inputs": columns_of(GOOD)}),
    ("Score", "score", {"input_data": SPLIT}),
]


@pytest.mark.parametrize(("schema", "protocol", "sent"), FORMS)
def test_what_the_schema_describes_is_taken(
    schema: str, protocol: str, sent: dict[str, Any]
) -> None:
    validator(FULL, schema).validate(sent)
    assert post(protocol, sent).typed(FULL).rows == 2


@pytest.mark.parametrize(
    ("column", "value"),
    [("d", "x"), ("f", 1e39), ("l", 1.5), ("l", None), ("i", 2**31), ("b", 1), ("s", 7)],
)
def test_what_the_schema_forbids_is_refused(column: str, value: Any) -> None:
    rows = [GOOD[0], GOOD[1] | {column: value}]
    split = {"columns": list(ROW), "data": [list(row.values()) for row in rows]}
    for form in (
        {"dataframe_records": rows},
        {"inputs": columns_of(rows)},
        {"dataframe_split": split},
    ):
        assert not validator(FULL, "Invocation").is_valid(form)
        with pytest.raises(InvalidInputError) as caught:
            post("invocations", form).typed(FULL)
        assert caught.value.column == column


def test_a_missing_column_is_forbidden() -> None:
    rows = [{name: value for name, value in GOOD[0].items() if name != "s"}]
    assert not validator(FULL, "Invocation").is_valid({"dataframe_records": rows})
    optional = [{name: value for name, value in GOOD[0].items() if name != "o"}]
    validator(FULL, "Invocation").validate({"dataframe_records": optional})


@pytest.mark.parametrize("signature", [FULL, UNNAMED, TENSOR, NAMED_TENSORS])
def test_the_made_up_example_fits_its_schema(signature: Signature) -> None:
    example = signature.example()
    if signature is FULL:
        example["dataframe_split"]["data"][0][7] += "Z"
    validator(signature, "Invocation").validate(example)
    assert post("invocations", example).typed(signature).rows == 1


@pytest.mark.parametrize(
    ("signature", "prediction"),
    [
        (FULL, {"score": None, "label": "a"}),
        (Signature(ALL.fields, (Field(None, "long"),)), 3),
        (Signature(ALL.fields, (Field(None, "float64", shape=(-1, 2)),)), [0.1, 0.9]),
        (ALL, "anything"),
    ],
)
def test_the_answer_fits_its_schema(signature: Signature, prediction: Any) -> None:
    answer = {"predictions": [prediction], "prediction_ids": ["pred_1"]}
    assert validator(signature, "Predictions").is_valid(answer)


def test_errors_fit_their_schemas() -> None:
    error = InvalidInputError("'x' is no number", column="d", row=3)
    plain, protocol = (
        json.loads(DIALECTS[name].refuse(error)) for name in ("invocations", "infer")
    )
    assert validator(FULL, "Error").is_valid(plain)
    assert validator(FULL, "ProtocolError").is_valid(protocol)


def test_each_route_needs_the_token_and_tells_its_errors() -> None:
    found = of(FULL)
    assert found["security"] == [{"token": []}]
    for path in ("/endpoints/scores/invocations", "/v2/models/scores/infer"):
        responses = found["paths"][path]["post"]["responses"]
        assert set(responses) == {"200", *map(str, ERRORS)}
