"""The same rows as each protocol sends them."""

from __future__ import annotations

import base64
import io
import json
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.payloads.dialects import DIALECTS
from headrace.payloads.signature import Field, Signature

if TYPE_CHECKING:
    from headrace.payloads.inputs import Inputs
    from headrace.payloads.payload import Payload

ALL = Signature(
    (
        Field("d", "double"),
        Field("f", "float"),
        Field("l", "long"),
        Field("i", "integer"),
        Field("b", "boolean"),
        Field("s", "string"),
        Field("y", "binary"),
        Field("t", "datetime"),
        Field("o", "long", required=False),
    )
)
DATATYPES = {
    "double": "FP64", "float": "FP32", "long": "INT64", "integer": "INT32", "boolean": "BOOL",
}  # fmt: skip


class Wire(NamedTuple):
    """A request on its way."""

    protocol: str
    body: bytes
    headers: dict[str, str]

    def decode(self, signature: Signature = ALL) -> Payload:
        """The payload that its dialect makes of it."""
        return DIALECTS[self.protocol].decode(self.body, self.headers, signature)

    def typed(self, signature: Signature = ALL) -> Inputs:
        """The inputs that a model of the signature gets."""
        return signature.typed(self.decode(signature))


def jsonable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Bytes as Base64."""
    return [
        {n: base64.b64encode(v).decode() if isinstance(v, bytes) else v for n, v in row.items()}
        for row in rows
    ]


def columns_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """A list a column."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def table_of(rows: list[dict[str, Any]], signature: Signature = ALL) -> pa.Table:
    """An Arrow table in the signature's types."""
    kinds = {
        "double": pa.float64(), "float": pa.float32(), "long": pa.int64(),
        "integer": pa.int32(), "boolean": pa.bool_(), "string": pa.string(),
        "binary": pa.binary(),
    }  # fmt: skip
    types = {str(field.name): field.type for field in signature.fields}
    arrays = {}
    for name, values in columns_of(rows).items():
        if types.get(name) == "datetime":
            moments = np.array([None if v is None else v for v in values], dtype="datetime64[ns]")
            arrays[name] = pa.array(moments)
        else:
            arrays[name] = pa.array(values, kinds.get(types.get(name, "")))
    return pa.table(arrays)


def ipc(table: pa.Table, new: Callable[..., Any] = pa.ipc.new_stream, **options: Any) -> bytes:
    """An Arrow stream, or a file."""
    sink = pa.BufferOutputStream()
    with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def parquet(table: pa.Table, **options: Any) -> bytes:
    """A Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def post(protocol: str, document: Any, **headers: str) -> Wire:
    """A JSON document."""
    return Wire(
        protocol, json.dumps(document).encode(), {"content-type": "application/json", **headers}
    )


def arrow(table: pa.Table, **options: Any) -> Wire:
    """An Arrow stream."""
    media = "application/vnd.apache.arrow.stream"
    return Wire("invocations", ipc(table, **options), {"content-type": media})


def in_parquet(table: pa.Table, **options: Any) -> Wire:
    """A Parquet file."""
    media = "application/vnd.apache.parquet"
    return Wire("invocations", parquet(table, **options), {"content-type": media})


def tensor(name: str, values: list[Any], datatype: str) -> dict[str, Any]:
    """A tensor of JSON."""
    return {"name": name, "datatype": datatype, "shape": [len(values)], "data": values}


def tensors(rows: list[dict[str, Any]], signature: Signature = ALL) -> list[dict[str, Any]]:
    """One a column."""
    types = {str(field.name): field.type for field in signature.fields}
    return [
        tensor(name, values, DATATYPES.get(types.get(name, ""), "BYTES"))
        for name, values in columns_of(jsonable(rows)).items()
    ]


def binary_tensors(rows: list[dict[str, Any]], signature: Signature = ALL) -> Wire:
    """One a column, their bytes behind the JSON."""
    numpy = {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "INT32": "<i4", "BOOL": "?"}
    types = {str(field.name): field.type for field in signature.fields}
    inputs, tails = [], []
    for name, values in columns_of(rows).items():
        datatype = DATATYPES.get(types.get(name, ""), "BYTES")
        if datatype == "BYTES":
            parts = [v if isinstance(v, bytes) else v.encode() for v in values]
            data = b"".join(struct.pack("<I", len(part)) + part for part in parts)
        else:
            data = np.array(values, dtype=numpy[datatype]).tobytes()
        tails.append(data)
        head = tensor(name, values, datatype) | {"parameters": {"binary_data_size": len(data)}}
        del head["data"]
        inputs.append(head)
    document = json.dumps({"inputs": inputs}).encode()
    headers = {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(document)),
    }
    return Wire("infer", b"".join((document, *tails)), headers)


def every_wire(rows: list[dict[str, Any]], signature: Signature = ALL) -> dict[str, Wire]:
    """The rows in each form that can hold them: tensors have no nulls."""
    plain = jsonable(rows)
    names = list(plain[0])
    data = [list(row.values()) for row in plain]
    split = {"columns": names, "data": data}
    table = table_of(rows, signature)
    wires = {
        "dataframe_split": post("invocations", {"dataframe_split": split}),
        "dataframe_records": post("invocations", {"dataframe_records": plain}),
        "instances": post("invocations", {"instances": plain}),
        "inputs": post("invocations", {"inputs": columns_of(plain)}),
        "arrow": arrow(table),
        "arrow compressed": arrow(table, compression="zstd"),
        "arrow file": Wire(
            "invocations",
            ipc(table, pa.ipc.new_file),
            {"content-type": "application/vnd.apache.arrow.file"},
        ),
        "parquet": in_parquet(table),
        "parquet x": Wire("invocations", parquet(table), {"content-type": "application/x-parquet"}),
        "azure split": post("score", {"input_data": split | {"index": list(range(len(rows)))}}),
        "azure records": post("score", {"input_data": plain}),
        "azure columns": post("score", {"input_data": columns_of(plain)}),
        "azure data": post("score", {"data": plain}),
    }
    if any(value is None for row in rows for value in row.values()):
        return wires
    return wires | {
        "tensors": post("infer", {"inputs": tensors(rows, signature)}),
        "binary tensors": binary_tensors(rows, signature),
    }
