"""What models take and return, whatever its type, through a worker."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from tests.workers.conftest import rows, soon

from headrace.workers import ModelFailedError, Result, kind_of, process
from headrace.workers.result import decode

if TYPE_CHECKING:
    from headrace.workers import WorkerPool


def through(raw: Any, count: int) -> Result:
    """What a caller gets of what a model returned."""
    kind, data = process.encode(raw, count)
    return decode(kind, bytes(data))


@pytest.mark.parametrize(
    ("raw", "kind", "columns"),
    [
        (pd.DataFrame({"a": [1, 2], "b": ["x", None]}), "frame", {"a": [1, 2], "b": ["x", None]}),
        (pd.DataFrame({0: [1.5, 2.5], 1: [0.0, 1.0]}, index=[7, 9]), "frame", None),
        (pd.Series([1.5, 2.5], name="score"), "series", {"score": [1.5, 2.5]}),
        (pd.Series([True, False]), "series", {"0": [True, False]}),
        (np.array([1, 2], np.int32), "vector", {"0": [1, 2]}),
        (np.array(["a", "b"]), "vector", {"0": ["a", "b"]}),
        (np.array([[0.25, 0.75], [1, 0]]), "matrix", {"0": [0.25, 1.0], "1": [0.75, 0.0]}),
        ({"x": np.array([1.0, 2.0])}, "frame", {"x": [1.0, 2.0]}),
    ],
)
def test_tables_keep_names_types_and_kind(
    raw: Any, kind: str, columns: dict[str, list[Any]] | None
) -> None:
    result = through(raw, 2)
    assert isinstance(result, pa.Table)
    assert kind_of(result) == kind
    assert result.to_pydict() == (columns or {"0": [1.5, 2.5], "1": [0.0, 1.0]})


def test_numbers_keep_every_bit() -> None:
    exact = np.array([0.1 + 0.2, math.nan, math.inf, -0.0, 5e-324])
    result = through(exact, 5)
    assert isinstance(result, pa.Table)
    assert result.column(0).to_numpy().tobytes() == exact.tobytes()
    narrow = through(np.array([0.1], np.float32), 1)
    assert isinstance(narrow, pa.Table)
    assert narrow.column(0).type == pa.float32()


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        ([1, "a", None], [1, "a", None]),
        (("x", 2.5, math.nan), ["x", 2.5, None]),
        (
            [{"at": datetime(2026, 1, 2), "n": np.int64(3)}, b"\x00", Decimal("1.5")],
            [{"at": "2026-01-02T00:00:00", "n": 3}, "AA==", "1.5"],
        ),
        (np.zeros((3, 1, 2)), [[[0.0, 0.0]]] * 3),
        (pd.DataFrame({"mixed": [1, "a", None]}), [{"mixed": 1}, {"mixed": "a"}, {"mixed": None}]),
        ({"x": [1, 2, 3], "y": np.zeros((3, 1))}, [{"x": n, "y": [0.0]} for n in (1, 2, 3)]),
    ],
)
def test_anything_else_is_json(raw: Any, values: list[Any]) -> None:
    result = through(raw, 3)
    assert kind_of(result) == "json"
    assert result == values
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (np.array([1.0]), "1 predictions for 2 rows"),
        (7.5, "a float for 2 rows"),
        ("text", "a str for 2 rows"),
        (np.array(1.0), "a ndarray for 2 rows"),
        ({"x": [1, 2], "y": [1]}, "a dict for 2 rows"),
    ],
)
def test_one_prediction_a_row_or_an_error(raw: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        process.encode(raw, 2)


ECHO = """
import pandas as pd


class Model:
    def predict(self, data, params=None):
        if hasattr(data, "dtypes"):
            told = [f"{name}:{kind}" for name, kind in data.dtypes.items()]
        elif isinstance(data, dict):
            told = [f"{name}:{each.dtype}{list(each.shape)}" for name, each in data.items()]
        else:
            told = [f"{data.dtype}{list(data.shape)}"]
        return [{"told": told, "params": params}] * len(next(iter(data.values())) if isinstance(data, dict) else data)
"""


def asked(
    run_pool: Callable[..., Any], model: Path, table: pa.Table, params: dict[str, Any] | None = None
) -> Any:
    """The first row's answer of a model that tells what it was given."""

    async def use(pool: WorkerPool) -> Any:
        return await pool.predict(table, params, soon())

    return run_pool(model, use, max=1)[0]


def test_a_frame_has_the_signature_s_types_and_parameters(
    log_model: Callable[..., Path], run_pool: Callable[..., Any]
) -> None:
    signature = ModelSignature(
        inputs=Schema(
            [
                ColSpec("double", "x"),
                ColSpec("float", "f"),
                ColSpec("integer", "i"),
                ColSpec("boolean", "b"),
                ColSpec("string", "s"),
                ColSpec("datetime", "t"),
            ]
        ),
        params=ParamSchema([ParamSpec("depth", "long", 3)]),
    )
    table = pa.table(
        {
            "x": pa.array([1.0, None]),
            "f": pa.array([1.0, 2.0], pa.float32()),
            "i": pa.array([1, 2], pa.int32()),
            "b": pa.array([True, False]),
            "s": pa.array(["a", None]),
            "t": pa.array([0, 1], pa.timestamp("ns")),
        }
    )
    answer = asked(run_pool, log_model(ECHO, signature=signature), table, {"depth": 5})
    assert answer == {
        "told": [
            "x:float64", "f:float32", "i:int32", "b:bool", "s:object", "t:datetime64[ns]",
        ],
        "params": {"depth": 5},
    }  # fmt: skip


def test_tensors_keep_their_shape(
    log_model: Callable[..., Path], run_pool: Callable[..., Any]
) -> None:
    signature = ModelSignature(
        inputs=Schema(
            [
                TensorSpec(np.dtype("float32"), (-1, 2, 3), "image"),
                TensorSpec(np.dtype("int64"), (-1, 2), "pair"),
                TensorSpec(np.dtype("float64"), (-1,), "weight"),
            ]
        )
    )
    image = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    table = pa.table(
        {
            "image": pa.FixedShapeTensorArray.from_numpy_ndarray(image),
            "pair": pa.FixedSizeListArray.from_arrays(pa.array([1, 2, 3, 4]), 2),
            "weight": pa.array([0.5, 1.5]),
        }
    )
    answer = asked(run_pool, log_model(ECHO, signature=signature), table)
    assert answer["told"] == ["image:float32[2, 2, 3]", "pair:int64[2, 2]", "weight:float64[2]"]


def test_a_column_that_the_signature_wants_is_named(
    log_model: Callable[..., Path], run_pool: Callable[..., Any]
) -> None:
    model = log_model(ECHO, signature=ModelSignature(inputs=Schema([ColSpec("double", "needed")])))
    with pytest.raises(ModelFailedError, match="needed"):
        asked(run_pool, model, rows(1.0))
