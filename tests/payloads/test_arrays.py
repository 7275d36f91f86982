"""numpy to Arrow and back, without pandas."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from headrace.payloads.arrays import arrow_array, numpy_column
from headrace.payloads.inputs import Inputs
from headrace.workers import process


def objects(*values: Any) -> np.ndarray:
    return np.fromiter(values, dtype=object, count=len(values))


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (objects("é", None), pa.string()),
        (objects(b"\x00", None), pa.binary()),
        (objects(True, None, False), pa.bool_()),
        (objects(2**62 + 1, None, -1), pa.int64()),
        (objects(0.1, None), pa.float64()),
        (np.array([1, 2], np.uint8), pa.uint8()),
        (np.array([True, False]), pa.bool_()),
        (np.array(["2026-01-31", "NaT"], "datetime64[s]"), pa.timestamp("ns")),
    ],
)
def test_a_column_is_what_pyarrow_would_make_of_it(column: np.ndarray, kind: pa.DataType) -> None:
    array = arrow_array(column)
    assert array is not None
    array.validate(full=True)
    assert array.type == kind
    assert array.equals(pa.array(column, type=kind))


@pytest.mark.parametrize("values", [(1, "x"), (1, 1.5), (2**63,), ([1],), ({"a": 1},)])
def test_what_has_no_common_type_is_left_to_others(values: tuple[Any, ...]) -> None:
    assert arrow_array(objects(*values)) is None


def test_chunks_become_one_array() -> None:
    chunks = pa.chunked_array([pa.array([1, 2]), pa.array([], pa.int64()), pa.array([None, 4])])
    assert numpy_column(chunks).tolist() == [1, 2, None, 4]
    assert len(numpy_column(pa.chunked_array([], pa.float64()))) == 0


@pytest.mark.parametrize("shape", [(4,), (4, 3), (2, 2, 3)])
@pytest.mark.parametrize("dtype", ["float64", "uint8", "bool"])
def test_a_tensor_reaches_a_worker_in_its_shape(shape: tuple[int, ...], dtype: str) -> None:
    tensor = np.asfortranarray(np.arange(np.prod(shape)).reshape(shape).astype(dtype))
    found = process.tensor(Inputs(shape[0], {}, tensor).arrow().column("0"))
    assert found.dtype == dtype
    assert found.tolist() == tensor.tolist()


def test_inputs_and_answers_of_workers_need_no_pandas() -> None:
    code = """
import sys
import numpy as np
import pyarrow as pa
from headrace.payloads.answer import Answers
from headrace.payloads.inputs import Inputs

columns = {
    "d": np.array([1.5, np.nan]), "s": np.array(["x", None], dtype=object),
    "b": np.array([True, False]), "t": np.array(["2026-01-31", "NaT"], dtype="datetime64[ns]"),
    "n": np.array([7, None], dtype=object),
}
table = Inputs(2, columns).arrow()
assert Answers.of_table(table, 2).values() == [
    {"d": 1.5, "s": "x", "b": True, "t": "2026-01-31T00:00:00", "n": 7},
    {"d": None, "s": None, "b": False, "t": None, "n": None},
]
Inputs(2, {}, {"m": np.array([[1, 2], [3, 4]])}).arrow()
assert "pandas" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
