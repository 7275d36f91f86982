"""Typing: nothing is cast silently, and errors name the column, the row and the value."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.types import ColSpec, Schema, TensorSpec
from mlflow.types.schema import Array, DataType

from headrace.errors import HeadraceError
from headrace.payloads.codec import parse
from headrace.payloads.errors import InvalidInputError, ModelNotServableError
from headrace.payloads.signature import Signature

ALL = Signature.of_mlflow(
    Schema(
        [
            ColSpec("double", "d"),
            ColSpec("float", "f"),
            ColSpec("long", "l"),
            ColSpec("integer", "i"),
            ColSpec("boolean", "b"),
            ColSpec("string", "s"),
            ColSpec("binary", "y"),
            ColSpec("datetime", "t"),
            ColSpec("long", "o", required=False),
        ]
    ),
    "m/1",
)
GOOD: dict[str, Any] = {
    "d": 1.5,
    "f": 0.5,
    "l": 2**40,
    "i": -3,
    "b": True,
    "s": "é",
    "y": "AAE=",
    "t": "2026-01-31T12:00:00",
}


def typed(signature: Signature, *rows: dict[str, Any]) -> Any:
    body = json.dumps({"dataframe_records": list(rows)}).encode()
    return signature.typed(parse(body, "application/json")).frame()


def test_each_type_has_the_dtype_that_mlflow_wants() -> None:
    frame = typed(ALL, GOOD, GOOD)
    assert list(frame.columns) == ["d", "f", "l", "i", "b", "s", "y", "t"]
    assert [str(dtype) for dtype in frame.dtypes] == [
        *("float64", "float32", "int64", "int32", "bool", "object", "object", "datetime64[ns]")
    ]
    assert frame.iloc[0].to_dict() == {
        **GOOD,
        "y": b"\x00\x01",
        "t": pd.Timestamp("2026-01-31T12:00:00"),
    }


def test_mlflow_accepts_what_was_typed() -> None:
    from mlflow.models.utils import _enforce_schema

    schema = Schema(
        [ColSpec(field.type, field.name, required=field.required) for field in ALL.fields]
    )
    frame = typed(ALL, {**GOOD, "o": 4})
    pd.testing.assert_frame_equal(_enforce_schema(frame, schema), frame)


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("d", "1.5", "is no number"),
        ("d", True, "is no number"),
        ("d", [1.5], "is no number"),
        ("d", 10**400, "too large for a double"),
        ("f", 1e39, "too large for a float"),
        ("l", 1.5, "no whole number"),
        ("l", 2**63, "does not fit in 64 bits"),
        ("l", None, "null is no long"),
        ("i", 2**31, "does not fit in 32 bits"),
        ("i", "1", "no whole number"),
        ("b", 1, "neither true nor false"),
        ("b", None, "null is no boolean"),
        ("s", 1, "is no text"),
        ("y", "***", "no Base64"),
        ("y", 1, "no Base64"),
        ("t", "yesterday-ish", "no ISO 8601"),
        ("t", 5, "no ISO 8601"),
        ("t", "999999-01-01", "no ISO 8601"),
        ("o", "x", "no whole number"),
    ],
)
def test_a_value_that_does_not_fit_is_named(column: str, value: Any, why: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        typed(ALL, GOOD, {**GOOD, column: value})
    assert (caught.value.column, caught.value.row) == (column, 1)
    assert why in str(caught.value)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("d", 3, 3.0),
        ("l", 3.0, 3),
        ("t", "2026-01-31T13:00:00+01:00", pd.Timestamp("2026-01-31T12:00:00")),
        ("t", "2026-01-31", pd.Timestamp("2026-01-31")),
    ],
)
def test_a_value_that_loses_nothing_is_taken(column: str, value: Any, expected: Any) -> None:
    assert typed(ALL, {**GOOD, column: value})[column][0] == expected


@pytest.mark.parametrize("column", ["d", "f", "s", "y", "t"])
def test_null_is_a_missing_value_where_the_type_has_one(column: str) -> None:
    assert typed(ALL, GOOD, {**GOOD, column: None})[column].isna().tolist() == [False, True]


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InvalidInputError) as caught:
        typed(ALL, {"d": 1.0, "s": "x"})
    assert caught.value.column == "f"
    assert "missing columns: f, l, i, b, y, t" in str(caught.value)


def test_a_column_missing_from_one_record_is_named_with_its_row() -> None:
    short = {name: value for name, value in GOOD.items() if name != "s"}
    with pytest.raises(InvalidInputError) as caught:
        typed(ALL, GOOD, short)
    assert (caught.value.column, caught.value.row) == ("s", 1)


def test_extra_columns_are_left_out_and_optional_ones_may_be_absent() -> None:
    frame = typed(ALL, {**GOOD, "device": "x"}, {**GOOD, "o": 7})
    assert "device" not in frame
    assert frame["o"].tolist() == [None, 7]


def test_csv_is_read_by_the_types() -> None:
    body = b"d,f,l,i,b,s,y,t\n1.5,.5,7,-3,true,x,AAE=,2026-01-31\n,,7,3,False,,,\n"
    frame = ALL.typed(parse(body, "text/csv")).frame()
    assert frame["l"].tolist() == [7, 7]
    assert frame["b"].tolist() == [True, False]
    assert frame.iloc[1][["d", "f", "s", "y", "t"]].isna().all()


@pytest.mark.parametrize(
    ("cell", "column"), [("1_000", "d"), ("inf", "d"), ("1e999", "d"), ("0x10", "l"), ("", "l")]
)
def test_csv_cells_that_are_no_numbers_are_named(cell: str, column: str) -> None:
    values = {"d": "1", "f": "1", "l": "1", "i": "1", "b": "true", "s": "", "y": "", "t": ""}
    values[column] = cell
    body = ",".join(values).encode() + b"\n" + ",".join(values.values()).encode() + b"\n"
    with pytest.raises(InvalidInputError) as caught:
        ALL.typed(parse(body, "text/csv"))
    assert caught.value.column == column


def test_inputs_without_names_are_found_by_position() -> None:
    signature = Signature.of_mlflow(Schema([ColSpec("double"), ColSpec("long")]), "m/1")
    body = b'{"inputs": [[1.5, 2], [2.5, 3]]}'
    frame = signature.typed(parse(body, "application/json")).frame()
    assert frame.to_numpy().tolist() == [[1.5, 2], [2.5, 3]]
    with pytest.raises(InvalidInputError, match="1 values, the model 2"):
        signature.typed(parse(b'{"inputs": [1, 2]}', "application/json"))
    for ragged in (b'{"inputs": [[1.5, 2], [2.5]]}', b'{"inputs": [[1.5, 2], [2.5, 3, 4]]}'):
        with pytest.raises(InvalidInputError, match="row 1 has"):
            signature.typed(parse(ragged, "application/json"))


def test_positions_do_not_stand_in_for_names() -> None:
    with pytest.raises(InvalidInputError, match="no names"):
        ALL.typed(parse(b'{"dataframe_split": {"data": [[1]]}}', "application/json"))


def test_a_tensor_is_an_array_of_its_type_and_shape() -> None:
    signature = Signature.of_mlflow(Schema([TensorSpec(np.dtype("float32"), (-1, 2))]), "m/1")
    body = b'{"inputs": [[1, 2], [3, 4]]}'
    array = signature.typed(parse(body, "application/json")).tensor
    assert array.dtype == np.float32
    assert array.tolist() == [[1, 2], [3, 4]]
    for body in (
        b'{"inputs": [[1], [2]]}',
        b'{"inputs": [[1, 2], [3]]}',
        b'{"inputs": [["x", 1]]}',
    ):
        with pytest.raises(InvalidInputError):
            signature.typed(parse(body, "application/json"))


def test_named_tensors() -> None:
    signature = Signature.of_mlflow(
        Schema(
            [TensorSpec(np.dtype("int64"), (-1, 2), "x"), TensorSpec(np.dtype("bool"), (-1,), "y")]
        ),
        "m/1",
    )
    body = b'{"inputs": {"x": [[1, 2], [3, 4]], "y": [true, false]}}'
    arrays = signature.typed(parse(body, "application/json")).tensor
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "x": [[1, 2], [3, 4]],
        "y": [True, False],
    }
    with pytest.raises(InvalidInputError) as caught:
        signature.typed(parse(b'{"inputs": {"x": [[1, 2]]}}', "application/json"))
    assert caught.value.column == "y"


@pytest.mark.parametrize(
    ("dtype", "sent"),
    [("int64", "1.5"), ("int64", "1e300"), ("int8", "300"), ("bool", "2")],
)
def test_a_tensor_is_not_cast_to_what_cannot_hold_it(dtype: str, sent: str) -> None:
    signature = Signature.of_mlflow(Schema([TensorSpec(np.dtype(dtype), (-1,))]), "m/1")
    with pytest.raises(InvalidInputError, match="cannot hold"):
        signature.typed(parse(f'{{"inputs": [{sent}]}}'.encode(), "application/json"))


def test_a_record_without_a_named_tensor_is_refused() -> None:
    signature = Signature.of_mlflow(Schema([TensorSpec(np.dtype("str"), (-1,), "x")]), "m/1")
    with pytest.raises(InvalidInputError) as caught:
        signature.typed(parse(b'{"instances": [{"x": "a"}, {"y": "b"}]}', "application/json"))
    assert (caught.value.column, caught.value.row) == ("x", 1)


def test_nested_types_are_left_to_mlflow() -> None:
    signature = Signature.of_mlflow(Schema([ColSpec(Array(DataType.double), "v")]), "m/1")
    assert typed(signature, {"v": [1.0, 2.0]})["v"][0] == [1.0, 2.0]


def test_a_model_without_a_signature_is_refused() -> None:
    with pytest.raises(ModelNotServableError) as caught:
        Signature.of_mlflow(None, "m/1")
    assert "infer_signature" in str(caught.value)


@pytest.mark.parametrize(
    "signature",
    [
        ALL,
        Signature.of_mlflow(Schema([ColSpec("double"), ColSpec("long")]), "m/1"),
        Signature.of_mlflow(Schema([TensorSpec(np.dtype("float32"), (-1, 2))]), "m/1"),
        Signature.of_mlflow(Schema([TensorSpec(np.dtype("int64"), (-1, 3), "x")]), "m/1"),
    ],
)
def test_the_made_up_example_fits(signature: Signature) -> None:
    body = json.dumps(signature.example()).encode()
    payload = parse(body, "application/json")
    assert payload.rows_count == 1
    signature.typed(payload)


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
)
anything = scalars | st.lists(scalars, max_size=2)


@given(st.fixed_dictionaries(dict.fromkeys(GOOD, anything)))
def test_any_row_is_typed_or_refused(row: dict[str, Any]) -> None:
    try:
        typed(ALL, row)
    except HeadraceError as error:
        assert error.status == 400  # noqa: PT017  # any other exception fails the test


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=9), min_size=8, max_size=8))
def test_any_csv_row_is_typed_or_refused(cells: list[str]) -> None:
    import csv
    import io

    text = io.StringIO()
    csv.writer(text).writerows([list(GOOD), cells])
    try:
        ALL.typed(parse(text.getvalue().encode(), "text/csv"))
    except HeadraceError as error:
        assert error.status == 400  # noqa: PT017  # any other exception fails the test
