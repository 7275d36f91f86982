"""Payloads: what MLflow accepts is read as MLflow reads it, everything else is a 400."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import HeadraceError
from headrace.payloads.codec import parse
from headrace.payloads.errors import MalformedRequestError, UnsupportedMediaTypeError
from headrace.payloads.payload import MISSING, Payload

JSON = "application/json"


def parse_json(document: Any) -> Payload:
    return parse(json.dumps(document).encode(), JSON)


SAME = [
    {"dataframe_split": {"columns": ["a", "b"], "data": [[1.5, "x"], [2.5, "y"]]}},
    {"dataframe_split": {"columns": ["a", "b"], "index": [7, 8], "data": [[1.5, "x"], [2.5, "y"]]}},
    {"dataframe_records": [{"a": 1.5, "b": "x"}, {"b": "y", "a": 2.5}]},
    {"instances": [{"a": 1.5, "b": "x"}, {"a": 2.5, "b": "y"}]},
    {"inputs": [{"a": 1.5, "b": "x"}, {"a": 2.5, "b": "y"}]},
    {"inputs": {"a": [1.5, 2.5], "b": ["x", "y"]}},
]


@pytest.mark.parametrize("document", SAME)
def test_the_same_rows_in_each_format(document: dict[str, Any]) -> None:
    payload = parse_json(document)
    assert [payload.record(row) for row in range(2)] == [
        {"a": 1.5, "b": "x"},
        {"a": 2.5, "b": "y"},
    ]


@pytest.mark.parametrize("content_type", ["text/csv", "text/csv; charset=utf-8", "Text/CSV"])
def test_csv(content_type: str) -> None:
    payload = parse(b'a,b\n1.5,"x, y"\n2.5,\xc3\xa9\n', content_type)
    assert payload.text
    assert payload.record(0) == {"a": "1.5", "b": "x, y"}
    assert payload.record(1) == {"a": "2.5", "b": "é"}


@pytest.mark.parametrize("value", [[[1, 2], [3, 4]], [1, 2, 3], 5])
def test_a_tensor_keeps_its_value(value: Any) -> None:
    payload = parse_json({"inputs": value})
    assert payload.tensor == (value if isinstance(value, list) else [value])
    assert payload.columns is None


def test_parameters_are_kept() -> None:
    payload = parse_json({"inputs": {"a": [1]}, "params": {"threshold": 0.5}})
    assert payload.params == {"threshold": 0.5}


def test_a_column_absent_from_a_record_is_told_from_null() -> None:
    payload = parse_json({"dataframe_records": [{"a": 1, "b": None}, {"a": 2}]})
    assert list(payload.column(1)) == [None, MISSING]
    assert payload.record(1) == {"a": 2}


@pytest.mark.parametrize(
    ("row", "columns", "key"),
    [
        ({"d": "x"}, ["d"], "x"),
        ({"d": 7}, ["d"], "7"),
        ({"d": 7, "h": "t"}, ["d", "h"], '["7", "t"]'),
        ({"d": None}, ["d"], None),
        ({"d": [1]}, ["d"], None),
        ({"e": 1}, ["d"], None),
        ({"e": 1}, [], None),
    ],
)
def test_the_key_of_a_row(row: dict[str, Any], columns: list[str], key: str | None) -> None:
    assert parse_json({"dataframe_records": [row]}).key(0, columns) == key


def test_a_key_is_the_same_in_csv_and_json() -> None:
    in_csv = parse(b"d,h\n7,t\n", "text/csv")
    in_json = parse_json({"dataframe_records": [{"d": 7, "h": "t"}]})
    assert in_csv.key(0, ["d", "h"]) == in_json.key(0, ["d", "h"])


MALFORMED: list[tuple[bytes, str]] = [
    (b"", "empty"),
    (b"   ", "empty"),
    (b"{", "line 1"),
    (b'{"inputs": [1]} x', "Extra data"),
    (b"\xff\xfe", "byte 0 is not valid UTF-8"),
    (b'{"inputs": ["\xff"]}', "not valid UTF-8"),
    (b"null", "null, not an object"),
    (b"[1, 2]", "a list, not an object"),
    (b'"text"', "text, not an object"),
    (b"true", "a truth value"),
    (b"{}", "none of the input fields"),
    (b'{"inputs": [1], "instances": [1]}', "instances and inputs"),
    (b'{"columns": ["a"], "data": [[1]]}', "none of the input fields"),
    (b'{"inputs": [1], "signature_name": "x"}', "signature_name"),
    (b'{"inputs": [1], "params": 3}', "params is a number"),
    (b'{"inputs": [NaN]}', "NaN is not JSON"),
    (b'{"inputs": [Infinity]}', "Infinity is not JSON"),
    (b'{"inputs": [-Infinity]}', "-Infinity is not JSON"),
    (b'{"inputs": [1e999]}', "too large"),
    (b'{"inputs": [' + b"1" * 5000 + b"]}", "digits"),
    (b'{"inputs": ["\\ud800"]}', "lone surrogate"),
    (b'{"inputs": ' + b"[" * 40 + b"]" * 40 + b"}", "nested deeper"),
    (b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested deeper"),
    (b'{"a":' * 100_000, "nested deeper"),
    (b'{"inputs": []}', "no rows"),
    (b'{"inputs": {}}', "no columns"),
    (b'{"inputs": {"a": []}}', "no rows"),
    (b'{"inputs": {"a": [1, 2], "b": [1]}}', '"b" has 1 values and "a" has 2'),
    (b'{"instances": []}', "no rows"),
    (b'{"dataframe_records": {}}', "not a list of objects"),
    (b'{"dataframe_records": [1]}', "not a list of objects"),
    (b'{"dataframe_records": []}', "no rows"),
    (b'{"dataframe_split": []}', "a list, not an object"),
    (b'{"dataframe_split": {"columns": ["a"]}}', "data is missing"),
    (b'{"dataframe_split": {"columns": ["a"], "data": 1}}', "not a list of rows"),
    (b'{"dataframe_split": {"columns": ["a"], "data": [1]}}', "not a list of rows"),
    (b'{"dataframe_split": {"columns": ["a"], "data": []}}', "no rows"),
    (b'{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}', "row 0 has 2 values"),
    (b'{"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}', '"a" is there twice'),
    (b'{"dataframe_split": {"columns": "a", "data": [[1]]}}', "not a list of names"),
    (b'{"dataframe_split": {"columns": ["a"], "data": [[1]], "x": 1}}', 'unknown field "x"'),
    (b'{"dataframe_split": {"columns": ["a"], "data": [[1]], "index": [1, 2]}}', "index"),
]


@pytest.mark.parametrize(("body", "message"), MALFORMED)
def test_a_malformed_payload_says_what_is_wrong(body: bytes, message: str) -> None:
    with pytest.raises(MalformedRequestError) as caught:
        parse(body, JSON)
    assert message in str(caught.value)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"a,b\n1\n", "row 0 has 1 values"),
        (b"a,a\n1,2\n", '"a" is there twice'),
        (b"a,b\n", "no rows"),
        (b'a\n"unclosed\n', "cannot be read"),
        (b"\n\n", "empty"),
    ],
)
def test_a_malformed_csv_says_what_is_wrong(body: bytes, message: str) -> None:
    with pytest.raises(MalformedRequestError, match=message):
        parse(body, "text/csv")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/json; profile=x",
        "application/vnd.apache.parquet",
    ],
)
def test_other_content_types_are_refused(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMediaTypeError) as caught:
        parse(b'{"inputs": [1]}', content_type)
    assert caught.value.status == 415


def test_records_that_share_no_columns_do_not_fill_the_memory() -> None:
    records = [{f"c{i}": 1} for i in range(3000)]
    with pytest.raises(MalformedRequestError, match="more than"):
        parse_json({"dataframe_records": records})


@given(st.binary(max_size=200))
def test_bytes_are_parsed_or_refused(body: bytes) -> None:
    for content_type in (JSON, "text/csv"):
        try:
            parse(body, content_type)
        except HeadraceError as error:
            assert 400 <= error.status < 500  # noqa: PT017  # any other exception fails the test


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
names = st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs", "params"])


@given(st.dictionaries(names, values, max_size=2))
def test_documents_are_parsed_or_refused(document: dict[str, Any]) -> None:
    try:
        payload = parse_json(document)
    except HeadraceError as error:
        assert 400 <= error.status < 500  # noqa: PT017  # any other exception fails the test
    else:
        for row in range(payload.rows_count):
            json.dumps(payload.record(row))
            payload.key(row, ["a"])


@pytest.mark.parametrize("document", SAME)
def test_mlflow_reads_the_same_rows(document: dict[str, Any], scoring_server: Any) -> None:
    theirs: Any = scoring_server.infer_and_parse_data(dict(document))
    theirs = pd.DataFrame(theirs).reset_index(drop=True)
    payload = parse_json(document)
    ours = pd.DataFrame([payload.record(row) for row in range(2)])
    assert ours.to_dict("records") == theirs[["a", "b"]].to_dict("records")
