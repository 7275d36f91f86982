"""What a worker answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa

KIND: Final = b"headrace.kind"

Result: TypeAlias = "pa.Table | list[Any]"
"""One prediction a row: a table, or JSON values of a model that returns no table.

The table's metadata tell under ``headrace.kind`` what the model returned: ``frame`` (also for
arrays by name), ``series``, ``vector`` (one column, ``"0"``) or ``matrix`` (``"0"``, ``"1"``, ...).
"""


def kind_of(result: Result) -> str:
    """``frame``, ``series``, ``vector``, ``matrix``, or ``json`` for a list."""
    if isinstance(result, list):
        return "json"
    return str((result.schema.metadata or {}).get(KIND, b"frame").decode())


def decode(kind: str, payload: bytes) -> Result:
    """The result in a worker's answer.

    Raises:
        ValueError: the bytes are no such result.
    """
    if kind == "json":
        values = json.loads(payload)
        if not isinstance(values, list):
            raise ValueError("an answer that is no list")
        return values
    import pyarrow as pa

    return pa.ipc.open_stream(pa.py_buffer(payload)).read_all()


def encode(table: pa.Table) -> Any:
    """A table as the bytes of an Arrow stream."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()
