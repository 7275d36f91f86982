"""Arrow columns as a model's inputs, typed by its signature."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from headrace.payloads.errors import InvalidInputError
from headrace.payloads.values import column_of
from headrace.scoring import predict
from headrace.scoring.columns import UnfitColumnError, typed_columns


def typed(values: Any, kind: str, optional: bool = False) -> np.ndarray:
    table = pa.table({"x": values})
    return typed_columns(table, {"x": kind}, frozenset("x" if optional else ""))["x"]


def test_a_frame_has_the_columns_and_types_of_the_signature() -> None:
    table = pa.table(
        {
            "a": pa.array([1, 2], pa.int16()),
            "b": pa.array([1.5, None]),
            "c": pa.array([True, False]),
            "d": pa.array(["x", None], pa.large_string()),
        }
    )
    frame = predict.model_frame(table, {"d": "string", "a": "double", "b": "float", "c": "double"})
    assert list(frame.columns) == ["d", "a", "b", "c"]
    assert [str(kind) for kind in frame.dtypes] == ["object", "float64", "float32", "float64"]
    assert frame["c"].tolist() == [1.0, 0.0]
    assert frame["d"].tolist() == ["x", None]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("double", [0.1, None, -0.0, 5e-324, 1.7976931348623157e308]),
        ("double", [2**53 + 1, -(2**63), 2**63 - 1, 0]),
        ("float", [0.1, None, 1e-46, 3.4028234663852886e38, 16777217.0]),
        ("long", [2**63 - 1, -(2**63), 0]),
        ("integer", [2**31 - 1, -(2**31), 0]),
        ("long", [3.0, -0.0, 2.0**62]),
        ("boolean", [True, False]),
        ("string", ["a", None, "", "\u00e9", "NaN"]),
        ("datetime", ["2026-01-01T00:00:00.123456", "1969-12-31T23:59:59"]),
    ],
)
def test_a_table_gives_the_bits_that_a_request_gives(kind: str, values: list[Any]) -> None:
    online = np.asarray(column_of(kind, values, "x"))
    stored = [dt.datetime.fromisoformat(v) for v in values] if kind == "datetime" else values
    batch = typed(stored, kind)
    assert batch.dtype == online.dtype
    if kind == "string":
        assert batch.tolist() == online.tolist()
    else:
        assert batch.tobytes() == online.tobytes()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("double", "1.5"),
        ("float", 1e39),
        ("long", 1.5),
        ("long", True),
        ("long", None),
        ("integer", 2**31),
        ("boolean", 1),
        ("boolean", None),
        ("string", 1),
        ("datetime", 5),
    ],
)
def test_a_table_refuses_what_a_request_may_not_hold(kind: str, value: Any) -> None:
    with pytest.raises(InvalidInputError):
        column_of(kind, [value], "x")
    with pytest.raises(UnfitColumnError, match=r'^column "x" '):
        typed([value], kind)


def test_an_optional_column_may_hold_nulls_of_any_type() -> None:
    for kind, values in (("long", [1, None]), ("boolean", [True, None])):
        assert typed(values, kind, optional=True).tolist() == values
        online = column_of(kind, values, "x", required=False)
        assert online.tolist() == values


def test_nulls_in_an_integer_column_are_counted_with_advice() -> None:
    with pytest.raises(UnfitColumnError, match=r'"x" holds 1 nulls.*long.*double column'):
        typed(pa.array([1, None], pa.int64()), "long")


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        (pa.array([Decimal("1.25"), None]), "double", [1.25, float("nan")]),
        (pa.array([Decimal("7.00")]), "long", [7]),
        (pa.array([1.5, float("inf")]), "float", [1.5, float("inf")]),
        (pa.array([None, None]), "double", [float("nan")] * 2),
        (pa.array(["a", "b", "a"]).dictionary_encode(), "string", ["a", "b", "a"]),
        (pa.chunked_array([["a"], ["b", None]]), "string", ["a", "b", None]),
        (pa.array([b"\x00\xff"]), "binary", [b"\x00\xff"]),
        (pa.array([[1, 2], [3, 4]]), "any", [[1, 2], [3, 4]]),
        (pa.array([], pa.float64()), "double", []),
    ],
)
def test_what_tables_hold_beyond_json(column: Any, kind: str, expected: list[Any]) -> None:
    np.testing.assert_equal(typed(column, kind).tolist(), expected)


def test_a_moment_is_told_in_utc() -> None:
    zoned = pa.array([1_000_000], pa.timestamp("us", "Europe/Berlin"))
    assert typed(zoned, "datetime")[0] == np.datetime64("1970-01-01T00:00:01")
    assert typed(pa.array([dt.date(2026, 1, 2)]), "datetime")[0] == np.datetime64("2026-01-02")
    with pytest.raises(UnfitColumnError, match="out of range"):
        typed(pa.array([dt.datetime(9999, 1, 1)]), "datetime")


def test_doubles_without_nulls_are_not_copied() -> None:
    values = np.arange(4.0)
    assert np.shares_memory(typed(pa.array(values), "double"), values)
