"""Arrow and Parquet bodies: bounded before they are decoded, and typed by the rules of JSON."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.payloads import columnar
from headrace.payloads.answer import Answers
from headrace.payloads.columnar import FORMS, MAX_COLUMNS, read_table
from headrace.payloads.dialect import AnswerContext
from headrace.payloads.dialects import DIALECTS
from headrace.payloads.errors import InvalidInputError, MalformedRequestError
from headrace.payloads.signature import Field, Signature

from .wires import arrow, in_parquet, ipc, parquet, post

ZEROS = pa.array(np.zeros(400_000))
LONG = "x" * 100_000
BOMBS: dict[str, tuple[str, bytes]] = {
    "rows of zeros": ("parquet", parquet(pa.table({"a": ZEROS, "b": ZEROS}), compression="zstd")),
    "rows of zeros, lz4": ("arrow", ipc(pa.table({"a": ZEROS, "b": ZEROS}), compression="lz4")),
    "rows of nothing": ("arrow", ipc(pa.table({"a": pa.nulls(10**9)}))),
    "one long text": (
        "parquet",
        parquet(pa.table({"a": ["x" * 20_000_000]}), use_dictionary=False, compression="zstd"),
    ),
    "one long text, zstd": (
        "arrow", ipc(pa.table({"a": ["x" * 20_000_000]}), compression="zstd"),
    ),
    "a dictionary": (
        "arrow",
        ipc(
            pa.table(
                {"a": pa.DictionaryArray.from_arrays(np.zeros(1000, dtype=np.int32), [LONG])}
            )
        ),
    ),
    "a dictionary in pages": (
        "parquet", parquet(pa.table({"a": [LONG] * 1000}), compression="zstd"),
    ),
    "bytes in a dictionary in pages": (
        "parquet", parquet(pa.table({"a": [LONG.encode()] * 1000}), compression="zstd"),
    ),
    "shared prefixes": (
        "parquet",
        parquet(
            pa.table({"a": [LONG + str(n) for n in range(20)]}),
            use_dictionary=False,
            column_encoding={"a": "DELTA_BYTE_ARRAY"},
        ),
    ),
    "many columns": (
        "arrow", ipc(pa.table({f"c{n}": pa.nulls(1) for n in range(MAX_COLUMNS + 1)})),
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bombs of a size that is made in no time."""
    monkeypatch.setattr(columnar, "MAX_BYTES", 16 * 1024 * 1024)
    monkeypatch.setattr(columnar, "MAX_CELLS", 500_000)


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(bomb: str) -> None:
    form, body = BOMBS[bomb]
    assert len(body) < 1024 * 1024
    before = pa.total_allocated_bytes()
    with pytest.raises(MalformedRequestError) as caught:
        read_table(body, form)
    assert any(words in str(caught.value) for words in ("more than", "encoding"))
    assert pa.total_allocated_bytes() - before < 1024 * 1024


def test_pages_larger_than_the_footer_says_are_counted() -> None:
    # The footer states sizes of its own; what a reader allocates is in the heads of the pages.
    body = parquet(pa.table({"a": ["x" * 20_000_000]}), use_dictionary=False, compression="zstd")
    chunk = pq.ParquetFile(io.BytesIO(body)).metadata.row_group(0).column(0)
    stated = _zigzag(chunk.total_uncompressed_size)
    assert body.count(stated) >= 1
    lying = body.replace(stated, _zigzag(100).ljust(len(stated), b"\0")[: len(stated)])
    with pytest.raises(MalformedRequestError):
        read_table(lying, "parquet")


def _zigzag(value: int) -> bytes:
    value <<= 1
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


BERLIN = timezone(timedelta(hours=1))
MOMENT = datetime(2026, 1, 31, 12, tzinfo=UTC)
NANOSECONDS = np.datetime64("2026-01-31T12:00:00", "ns")
FITS: list[tuple[str, pa.Array, Any]] = [
    ("double", pa.array([1.5], pa.float32()), 1.5),
    ("double", pa.array([3], pa.int8()), 3.0),
    ("double", pa.array([None], pa.float64()), None),
    ("double", pa.array([None], pa.int64()), None),
    ("double", pa.array([float("inf")]), float("inf")),
    ("float", pa.array([0.1], pa.float64()), np.float32(0.1)),
    ("float", pa.array([float("-inf")], pa.float64()), np.float32("-inf")),
    ("long", pa.array([7], pa.uint8()), 7),
    ("long", pa.array([3.0], pa.float64()), 3),
    ("integer", pa.array([-7], pa.int64()), -7),
    ("boolean", pa.array([True]), True),
    ("string", pa.array(["é"], pa.large_string()), "é"),
    ("string", pa.array(["é"]).dictionary_encode(), "é"),
    ("binary", pa.array([b"\x00\xff"]).dictionary_encode(), b"\x00\xff"),
    ("string", pa.array([None], pa.string()), None),
    ("binary", pa.array([b"\xff"], pa.large_binary()), b"\xff"),
    ("datetime", pa.array([MOMENT], pa.timestamp("s", "UTC")), NANOSECONDS),
    ("datetime", pa.array([MOMENT], pa.timestamp("us", "Europe/Berlin")), NANOSECONDS),
    ("datetime", pa.array([date(2026, 1, 31)]), np.datetime64("2026-01-31", "ns")),
    ("datetime", pa.array(["2026-01-31T13:00:00+01:00"]), NANOSECONDS),
]


@pytest.mark.parametrize(("kind", "values", "expected"), FITS)
@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_a_value_that_loses_nothing_is_taken(
    form: str, kind: str, values: pa.Array, expected: Any
) -> None:
    wire = {"arrow": arrow, "parquet": in_parquet}[form](pa.table({"a": values}))
    column = wire.typed(Signature((Field("a", kind),))).columns["a"]
    if expected is None:
        assert [value is None or value != value for value in column] == [True]
    else:
        assert column[0] == expected
        assert type(column[0]) in (type(expected), np.float64, np.int64, np.int32, np.bool_)


UNFIT: list[tuple[str, pa.Array, str]] = [
    ("double", pa.array([1.0, "x"][1:] * 2), "no number"),
    ("double", pa.array([True, False]), "no number"),
    ("float", pa.array([1.0, 1e39]), "too large for a float"),
    ("long", pa.array([1, None]), "null is no long"),
    ("long", pa.array([1.0, None]), "null is no long"),
    ("long", pa.array([1.0, 1.5]), "no whole number"),
    ("long", pa.array([1.0, -(2.0**63)]), "64 bits"),
    ("long", pa.array([1, 2**63], pa.uint64()), "64 bits"),
    ("integer", pa.array([1, 2**31]), "32 bits"),
    ("integer", pa.array([1, None], pa.int32()), "null is no integer"),
    ("boolean", pa.array([1, 0]), "neither true nor false"),
    ("boolean", pa.array([True, None]), "null is no boolean"),
    ("string", pa.array([1, 2]), "no text"),
    ("datetime", pa.array([1, 2]), "no time"),
    ("datetime", pa.array([0, 2**40], pa.timestamp("s")), "1678 to 2261"),
    ("binary", pa.array(["AAE=", "***"]), "no Base64"),
]


@pytest.mark.parametrize(("kind", "values", "why"), UNFIT)
@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_a_value_that_does_not_fit_is_named(
    form: str, kind: str, values: pa.Array, why: str
) -> None:
    wire = {"arrow": arrow, "parquet": in_parquet}[form](pa.table({"a": values}))
    with pytest.raises(InvalidInputError) as caught:
        wire.typed(Signature((Field("a", kind),)))
    assert caught.value.column == "a"
    assert caught.value.row in (None, 0, 1)
    assert why in str(caught.value)


def test_an_optional_column_may_have_nulls_or_be_absent() -> None:
    signature = Signature((Field("a", "double"), Field("o", "long", required=False)))
    table = pa.table({"a": [1.0, 2.0], "o": pa.array([None, 7])})
    assert arrow(table).typed(signature).columns["o"].tolist() == [None, 7]
    assert list(arrow(table.drop(["o"])).typed(signature).columns) == ["a"]


REFUSED: list[tuple[pa.Table, str]] = [
    (pa.table({"a": [[1.0]]}), "list<"),
    (pa.table({"a": [{"b": 1}]}), "struct<"),
    (pa.table({"a": pa.array(["x"], pa.string_view())}), "string_view"),
    (pa.table({"a": pa.array([b"xx"], pa.binary(2))}), "fixed_size_binary"),
    (pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), '"a" is there twice'),
    (pa.table({"a": pa.array([], pa.float64())}), "no rows"),
]


@pytest.mark.parametrize(("table", "why"), REFUSED)
def test_a_table_that_no_model_takes_is_refused(table: pa.Table, why: str) -> None:
    with pytest.raises(MalformedRequestError) as caught:
        arrow(table).decode()
    assert why in str(caught.value)


def test_text_that_is_not_utf_8_names_its_column() -> None:
    broken = pa.StringArray.from_buffers(
        1, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xfe")
    )
    for wire in (arrow(pa.table({"s": broken})), in_parquet(pa.table({"s": broken}))):
        with pytest.raises(MalformedRequestError) as caught:
            wire.decode()
        assert caught.value.where == 'column "s"'


def test_parameters_stand_in_the_metadata_of_the_schema() -> None:
    table = pa.table({"a": [1.0]})
    sent = table.replace_schema_metadata({"params": '{"threshold": 0.5}'})
    assert arrow(sent).decode().params == {"threshold": 0.5}
    assert in_parquet(sent).decode().params == {"threshold": 0.5}
    assert arrow(table).decode().params is None
    for wrong in ("{", "[]"):
        with pytest.raises(MalformedRequestError) as caught:
            arrow(table.replace_schema_metadata({"params": wrong})).decode()
        assert caught.value.where == "params"


def test_several_batches_are_one_table() -> None:
    tables = [pa.table({"a": pa.array([text]).dictionary_encode()}) for text in ("x", "y", "x")]
    schema = tables[0].schema
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for table in tables:
            writer.write_table(table)
    payload = read_table(sink.getvalue().to_pybytes(), "arrow")
    assert payload.column(0).tolist() == ["x", "y", "x"]


ANSWERS = Answers.of_columns(
    {"score": np.array([0.25, np.nan]), "label": np.array(["a", None], dtype=object)}, 2
)
TABLE = pa.table({"a": [1.0, 2.0]})
STREAM, FILE, _, _ = FORMS


def answered(wire: Any, accept: str | None, answers: Answers = ANSWERS) -> Any:
    context = AnswerContext("req_1", ["pred_1", "pred_2"], "model", 3, accept)
    encoded = DIALECTS["invocations"].encode(wire.decode(), answers, context)
    if encoded.content_type == "application/json":
        return json.loads(encoded.body)
    opened = pa.ipc.open_file if encoded.content_type == FILE else pa.ipc.open_stream
    return opened(encoded.body).read_all().to_pydict()


JSON_REQUEST = post("invocations", {"inputs": {"a": [1.0, 2.0]}})
AS_TABLE = {
    "score": [0.25, pytest.approx(float("nan"), nan_ok=True)],
    "label": ["a", None],
    "prediction_id": ["pred_1", "pred_2"],
}
AS_JSON = {
    "predictions": [{"score": 0.25, "label": "a"}, {"score": None, "label": None}],
    "prediction_ids": ["pred_1", "pred_2"],
}


@pytest.mark.parametrize(
    ("wire", "accept", "expected"),
    [
        (arrow(TABLE), None, AS_TABLE),
        (in_parquet(TABLE), None, AS_TABLE),
        (arrow(TABLE), "*/*", AS_TABLE),
        (arrow(TABLE), FILE, AS_TABLE),
        (arrow(TABLE), "application/json", AS_JSON),
        (arrow(TABLE), f"{STREAM};q=0.5, application/json", AS_JSON),
        (arrow(TABLE), "image/png", AS_TABLE),
        (JSON_REQUEST, None, AS_JSON),
        (JSON_REQUEST, "*/*", AS_JSON),
        (JSON_REQUEST, "application/*", AS_JSON),
        (JSON_REQUEST, STREAM, AS_TABLE),
        (JSON_REQUEST, f"application/json;q=0.1,{STREAM}", AS_TABLE),
        (JSON_REQUEST, "text/html", AS_JSON),
    ],
)
def test_the_answer_has_the_type_that_the_client_accepts(
    wire: Any, accept: str | None, expected: Any
) -> None:
    assert answered(wire, accept) == expected


@pytest.mark.parametrize(
    ("raw", "predictions"),
    [
        (np.array([[0.1, 0.9], [0.8, 0.2]]), [[0.1, 0.9], [0.8, 0.2]]),
        ([1, "x"], ["1", '"x"']),
        ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 2}]),
    ],
)
def test_any_answer_is_a_column(raw: Any, predictions: list[Any]) -> None:
    assert answered(arrow(TABLE), None, Answers.of(raw, 2))["predictions"] == predictions


def test_tables_are_read_and_written_without_pandas() -> None:
    # The plane has no other use for it, and its import would hold up every request.
    code = """
import sys
import numpy as np
from headrace.payloads.answer import Answers
from headrace.payloads.columnar import ARROW_STREAM, read_table, write_arrow

columns = {
    "d": np.array([1.5, np.nan]), "s": np.array(["x", None], dtype=object),
    "b": np.array([True, False]), "t": np.array(["2026-01-31", "NaT"], dtype="datetime64[ns]"),
    "m": np.array([[1, 2], [3, 4]]),
}
body = write_arrow(Answers.of_columns(columns, 2), {"prediction_id": ["p", "q"]}, ARROW_STREAM)
del columns["m"]
body = write_arrow(Answers.of_columns(columns, 2), {"prediction_id": ["p", "q"]}, ARROW_STREAM)
payload = read_table(body, "arrow")
assert payload.record(1)["prediction_id"] == "q", payload.record(1)
assert "pandas" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
