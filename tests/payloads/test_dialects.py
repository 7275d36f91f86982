"""What holds in every protocol: the same rows give the same bits, and errors name the column."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import HeadraceError
from headrace.payloads import codec
from headrace.payloads.answer import Answers
from headrace.payloads.dialect import AnswerContext
from headrace.payloads.dialects import DIALECTS, refusal
from headrace.payloads.errors import (
    InvalidInputError,
    MalformedRequestError,
    UnsupportedMediaTypeError,
)
from headrace.payloads.signature import Field, Signature

from .wires import Wire, arrow, every_wire, in_parquet, post, table_of, tensor, tensors

ROWS: list[dict[str, Any]] = [
    {
        "d": 0.1 + 0.2, "f": float(np.float32(0.1)), "l": 2**62 + 1, "i": -(2**31), "b": True,
        "s": "é\n\x00", "y": b"\x00\xff", "t": "2026-01-31T12:00:00.123456789", "o": 7,
        "device": "d-1",
    },
    {
        "d": -0.0, "f": 1e-45, "l": -(2**63), "i": 2**31 - 1, "b": False,
        "s": "", "y": b"", "t": "1999-12-31T23:59:59", "o": -(2**63),
        "device": "d-2",
    },
    {
        "d": 5e-324, "f": 3.4028234663852886e38, "l": 2**63 - 1, "i": 0, "b": True,
        "s": "😀", "y": b"a" * 100, "t": "2026-01-31T00:00:00", "o": 0,
        "device": "d-3",
    },
]  # fmt: skip


def bits(values: np.ndarray) -> list[Any]:
    """What two arrays share if they are the same to the last bit."""
    if values.dtype == object:
        return [(type(value), value) for value in values]
    return [values.dtype.str, values.tobytes()]


@pytest.mark.parametrize("wire", every_wire(ROWS))
def test_the_same_rows_are_the_same_bits_in_each_protocol(wire: str) -> None:
    wires = every_wire(ROWS)
    expected = wires["dataframe_split"].typed()
    found = wires[wire].typed()
    assert found.rows == 3
    assert list(found.columns) == list(expected.columns)
    for name, values in expected.columns.items():
        assert bits(np.asarray(found.columns[name])) == bits(np.asarray(values)), name


doubles = st.lists(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
    min_size=1,
    max_size=4,
)
NUMBERS = Signature(tuple(Field(name, "double") for name in "abc"))


@settings(max_examples=40)
@given(doubles)
def test_any_doubles_are_the_same_bits_in_each_protocol(data: list[list[float]]) -> None:
    rows = [dict(zip("abc", row, strict=True)) for row in data]
    expected = np.array(data)
    for wire in every_wire(rows, NUMBERS).values():
        found = wire.typed(NUMBERS)
        matrix = np.column_stack([found.columns[name] for name in "abc"])
        assert matrix.tobytes() == expected.tobytes()
        if found.matrix is not None:
            assert found.matrix.tobytes() == expected.tobytes()


@pytest.mark.parametrize("wire", every_wire(ROWS))
def test_the_key_and_the_log_are_the_same_in_each_protocol(wire: str) -> None:
    payload = every_wire(ROWS)[wire].decode()
    assert [payload.key(row, ["device"]) for row in range(3)] == ["d-1", "d-2", "d-3"]
    assert payload.key(0, ["absent"]) is None
    record = payload.record(2)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert (record["l"], record["s"], record["b"]) == (2**63 - 1, "😀", True)


def without(name: str, row: dict[str, Any] | None = None) -> dict[str, Any]:
    return {n: v for n, v in (row or ROWS[0]).items() if n != name}


@pytest.mark.parametrize("wire", every_wire(ROWS))
def test_more_rows_than_a_request_can_have_are_refused_in_each_protocol(
    wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = every_wire(ROWS)[wire]
    monkeypatch.setattr(codec, "MAX_ROWS", 3)
    assert found.typed().rows == 3
    monkeypatch.setattr(codec, "MAX_ROWS", 2)
    with pytest.raises(MalformedRequestError, match="more than 2 rows"):
        found.typed()


@pytest.mark.parametrize("wire", every_wire(ROWS))
def test_a_missing_column_is_named_in_each_protocol(wire: str) -> None:
    found = every_wire([without("s", row) for row in ROWS])[wire]
    with pytest.raises(InvalidInputError) as caught:
        found.typed()
    assert caught.value.column == "s"
    assert caught.value.status == 400


def wrong(column: str, value: Any, datatype: str) -> dict[str, Wire]:
    """The second row has a value that does not fit, in each protocol that can say it."""
    rows: list[dict[str, Any]] = [dict(ROWS[1], y="", t="1999-12-31") for _ in range(2)]
    rows[1][column] = value
    others = [row | {column: None} for row in rows]
    sent = [entry for entry in tensors(rows) if entry["name"] != column]
    found = {
        "json": post("invocations", {"dataframe_records": rows}),
        "azure": post("score", {"input_data": rows}),
        "tensors": post(
            "infer", {"inputs": [*sent, tensor(column, [rows[0][column], value], datatype)]}
        ),
    }
    if type(rows[0][column]) is type(value) or value is None or isinstance(value, float):
        import pyarrow as pa

        values = [row[column] for row in rows]
        kind = pa.float64() if isinstance(value, float) else None
        for row in others:
            row["y"] = b""
        table = table_of(others).drop([column]).append_column(column, pa.array(values, kind))
        found |= {"arrow": arrow(table), "parquet": in_parquet(table)}
    return found


WRONG: list[tuple[str, Any, str, str]] = [
    ("i", 1.5, "FP64", "whole number"),
    ("l", None, "BYTES", "null is no long"),
    ("i", 2**31, "INT64", "32 bits"),
    ("i", None, "BYTES", "null is no integer"),
    ("f", 1e39, "FP64", "too large for a float"),
    ("d", "warm", "BYTES", "no number"),
    ("b", None, "BYTES", "null is no boolean"),
]


@pytest.mark.parametrize(("column", "value", "datatype", "why"), WRONG)
def test_a_value_that_does_not_fit_is_named_in_each_protocol(
    column: str, value: Any, datatype: str, why: str
) -> None:
    for name, wire in wrong(column, value, datatype).items():
        if name == "tensors" and datatype == "BYTES":
            continue  # a tensor has one type
        with pytest.raises(InvalidInputError) as caught:
            wire.typed()
        assert (caught.value.column, caught.value.row) == (column, 1), name
        assert why in str(caught.value)


DEEP = b"[" * 40 + b"]" * 40
BAD: list[tuple[bytes, str]] = [
    (b'{"FIELD": [NaN]}', "NaN is not JSON"),
    (b'{"FIELD": [[Infinity]]}', "Infinity is not JSON"),
    (b'{"FIELD": [1e999]}', "too large for a double"),
    (b'{"FIELD": ["\xff"]}', "not valid UTF-8"),
    (b'{"FIELD": ["\\ud800"]}', "lone surrogate"),
    (b'{"FIELD": ' + DEEP + b"}", "nested deeper"),
    (b'{"FIELD": ' * 2000, "nested deeper"),
    (b"", "empty"),
    (b"{", "line 1"),
    (b"[]", "not an object"),
    (b"{}", ""),
]
FIELDS = {"invocations": b"inputs", "score": b"input_data", "infer": b"inputs"}


@pytest.mark.parametrize("protocol", FIELDS)
@pytest.mark.parametrize(("body", "why"), BAD)
def test_bad_json_is_refused_in_each_protocol(protocol: str, body: bytes, why: str) -> None:
    sent = body.replace(b"FIELD", FIELDS[protocol])
    with pytest.raises(MalformedRequestError) as caught:
        Wire(protocol, sent, {"content-type": "application/json"}).decode()
    assert why in str(caught.value)


@pytest.mark.parametrize("protocol", DIALECTS)
@pytest.mark.parametrize("headers", [{"content-type": "text/html"}, {"content-encoding": "gzip"}])
def test_other_media_are_refused_in_each_protocol(protocol: str, headers: dict[str, str]) -> None:
    wire = post(protocol, {})
    with pytest.raises(UnsupportedMediaTypeError) as caught:
        wire._replace(headers=wire.headers | headers).decode()
    assert caught.value.status == 415


@pytest.mark.parametrize("protocol", DIALECTS)
@given(body=st.binary(max_size=120))
def test_any_bytes_are_read_or_refused(protocol: str, body: bytes) -> None:
    kinds = ["application/json"]
    if protocol == "invocations":
        kinds += ["application/vnd.apache.arrow.stream", "application/x-parquet", "text/csv"]
    for media in kinds:
        try:
            Wire(protocol, body, {"content-type": media}).typed()
        except HeadraceError as error:
            assert error.status in (400, 415)  # noqa: PT017  # any other exception fails the test


mutations = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4)


@pytest.mark.parametrize("name", ["arrow", "arrow compressed", "parquet", "binary tensors"])
@settings(max_examples=150)
@given(changes=mutations, cut=st.integers(0, 10**6))
def test_a_damaged_body_is_read_or_refused(
    name: str, changes: list[tuple[int, int]], cut: int
) -> None:
    wire = every_wire(ROWS)[name]
    body = bytearray(wire.body)
    for at, value in changes:
        body[at % len(body)] = value
    whole = len(body) if cut % 2 else cut % len(body)
    try:
        wire._replace(body=bytes(body[:whole])).typed()
    except HeadraceError as error:
        assert error.status == 400  # noqa: PT017  # any other exception fails the test


def test_an_error_has_the_shape_of_its_protocol() -> None:
    error = InvalidInputError("'x' is no number", column="d", row=3)
    plain = json.loads(refusal("/endpoints/scores/invocations", error))
    assert plain == error.as_json()
    protocol = json.loads(refusal("/v2/models/scores/infer", error))
    assert protocol["error"].endswith("column \"d\", row 3: 'x' is no number")
    assert protocol["error_code"] == "invalid_input"


CONTEXT = AnswerContext("req_1", ["pred_1", "pred_2"], "model", 3, endpoint="scores")


def test_what_is_answered_in_each_protocol() -> None:
    answers = Answers.of_columns(
        {"score": np.array([0.25, np.nan]), "label": np.array(["a", None], dtype=object)}, 2
    )
    records = [{"score": 0.25, "label": "a"}, {"score": None, "label": None}]
    wires = every_wire(ROWS[:2])

    def encoded(name: str) -> Any:
        wire = wires[name]
        return json.loads(DIALECTS[wire.protocol].encode(wire.decode(), answers, CONTEXT).body)

    assert encoded("inputs") == {"predictions": records, "prediction_ids": ["pred_1", "pred_2"]}
    assert encoded("azure split") == records
    assert encoded("tensors") == {
        "model_name": "scores",
        "model_version": "3",
        "id": "req_1",
        "outputs": [
            {"name": "score", "datatype": "FP64", "shape": [2], "data": [0.25, None]},
            {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["a", None]},
            {
                "name": "prediction_id",
                "datatype": "BYTES",
                "shape": [2],
                "data": ["pred_1", "pred_2"],
            },
        ],
    }
