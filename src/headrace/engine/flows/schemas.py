"""Names of columns in the forms in which Spark declares them."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from headrace.engine.errors import SqlSyntaxError
from headrace.engine.scan import Scanner

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import DataType


@lru_cache(maxsize=256)
def declared(text: str) -> tuple[str, ...] | None:
    """Columns of a schema in DDL or JSON; ``None`` where it is neither."""
    if text.lstrip().startswith("{"):
        found = json.loads(text)
        return tuple(each["name"] for each in found["fields"]) if "fields" in found else None
    text = text.strip()
    if text.lower().startswith("struct<") and text.endswith(">"):
        text = text[len("struct<") : -1].replace(":", " ")
    try:
        scanner = Scanner(text)
        names: list[str] = []
        while not scanner.at_end:
            (name,) = scanner.name()
            scanner.accept(":")
            if not scanner.until(frozenset({","}), or_end=True):
                return None  # a type alone
            names.append(name)
            scanner.accept(",")
    except (SqlSyntaxError, ValueError):
        return None
    return tuple(names)


def of_type(found: DataType) -> tuple[str, ...] | None:
    """Columns of a type of rows."""
    if found.HasField("struct"):
        return tuple(each.name for each in found.struct.fields)
    if found.HasField("unparsed"):
        return declared(found.unparsed.data_type_string)
    return None


def of_arrow(data: bytes) -> tuple[str, ...] | None:
    """Columns of rows in Arrow's stream format."""
    import pyarrow as pa

    with pa.ipc.open_stream(data) as stream:
        return tuple(stream.schema.names)
