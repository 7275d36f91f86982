"""The tables that hold an endpoint's requests and what became of them, and their rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    import pyarrow as pa

_SHARED: Final = (
    "request_id",
    "endpoint",
    "deployment",
    "colour",
    "model_name",
    "model_version",
    "model_id",
    "latency_ms",
    "status",
)


def request_table(endpoint: str) -> str:
    """The table of an endpoint's request log.

    >>> request_table("device-failure")
    'ops.device_failure_requests'
    """
    return f"ops.{endpoint.replace('-', '_')}_requests"


def truth_table(endpoint: str) -> str:
    """The table of the ground truth that was posted for an endpoint's predictions.

    >>> truth_table("device-failure")
    'ops.device_failure_ground_truth'
    """
    return f"ops.{endpoint.replace('-', '_')}_ground_truth"


def labelled_view(endpoint: str) -> str:
    """The view of an endpoint's requests with their latest ground truth.

    >>> labelled_view("device-failure")
    'ops.device_failure_labelled'
    """
    return f"ops.{endpoint.replace('-', '_')}_labelled"


def request_rows(served: Iterable[Mapping[str, Any]]) -> pa.Table:
    """The request log's rows: one a scored row."""
    import pyarrow as pa

    fields = [
        pa.field("prediction_id", pa.string(), nullable=False),
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("row", pa.int64()),
        pa.field("endpoint", pa.string()),
        pa.field("deployment", pa.string()),
        pa.field("colour", pa.string()),
        pa.field("model_name", pa.string()),
        pa.field("model_version", pa.int64()),
        pa.field("model_id", pa.string()),
        pa.field("requested_at", pa.timestamp("us", tz="UTC")),
        pa.field("latency_ms", pa.float64()),
        pa.field("status", pa.int64()),
        pa.field("key", pa.string()),
        pa.field("request", pa.string()),
        pa.field("params", pa.string()),
        pa.field("prediction", pa.string()),
        pa.field("score", pa.float64()),
    ]
    rows = [row for record in served for row in _rows_of(record)]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def truth_rows(records: Iterable[Mapping[str, Any]]) -> pa.Table:
    """The rows of ground truth: one a label that was posted."""
    import pyarrow as pa

    fields = [
        pa.field("prediction_id", pa.string(), nullable=False),
        pa.field("endpoint", pa.string()),
        pa.field("label", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("labelled_at", pa.timestamp("us", tz="UTC")),
        pa.field("received_at", pa.timestamp("us", tz="UTC")),
    ]
    rows = [
        {
            "prediction_id": label["prediction_id"],
            "endpoint": record["endpoint"],
            "label": _json(label["label"]),
            "value": _number(label["label"]),
            "labelled_at": datetime.fromisoformat(label["at"]),
            "received_at": datetime.fromisoformat(record["at"]),
        }
        for record in records
        for label in record["labels"]
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def labelled_query(endpoint: str) -> str:
    """The query of the view: each request that has ground truth, with the latest of it."""
    return (
        "SELECT r.*, t.label, t.value AS label_value, t.labelled_at "
        f"FROM main.{request_table(endpoint)} AS r JOIN ("
        "SELECT *, row_number() OVER ("
        "PARTITION BY prediction_id ORDER BY labelled_at DESC, received_at DESC) AS newest "
        f"FROM main.{truth_table(endpoint)}"
        ") AS t ON t.prediction_id = r.prediction_id AND t.newest = 1"
    )


def _rows_of(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    shared = {name: record[name] for name in _SHARED}
    params = record["params"]
    shared["params"] = params if isinstance(params, str | None) else _json(params)
    shared["requested_at"] = datetime.fromisoformat(record["at"])
    for index, row in enumerate(record["rows"]):
        yield {
            **shared,
            "prediction_id": row["id"],
            "row": index,
            "key": row["key"],
            "request": row["request"] if "request" in row else _json(row["inputs"]),
            "prediction": row["prediction"] if "prediction" in row else _json(row["output"]),
            "score": row["score"],
        }


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        # A whole number beyond 64 bits, or half of a surrogate pair.
        return json.dumps(value, separators=(",", ":"))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, bool | int | float) else None
