"""Statistics of Parquet files as Delta keeps them, read from the files' footers."""

from __future__ import annotations

import json
import math
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.lakehouse.errors import DataFileError

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData

_INDEXED_COLUMNS: Final = 32  # Delta's default, delta.dataSkippingNumIndexedCols
_LONGEST_TEXT: Final = 32


def footer(path: Path) -> FileMetaData:
    """The footer of a Parquet file.

    Raises:
        DataFileError: the file is missing, cut short or not Parquet.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        return parquet.read_metadata(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataFileError(str(path), str(error).splitlines()[0]) from error


def delta_statistics(metadata: FileMetaData) -> str:
    """``numRecords``, ``minValues``, ``maxValues`` and ``nullCount`` as JSON text.

    Only top-level columns of types with an order are bounded, and only where each row group
    has bounds. A maximum that cannot be written exactly is left out or rounded up.
    """
    lows: dict[str, Any] = {}
    highs: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for index in range(min(metadata.num_columns, _INDEXED_COLUMNS)):
        name = metadata.schema.column(index).path
        if "." in name and name not in metadata.schema.to_arrow_schema().names:
            continue
        chunks = [
            metadata.row_group(group).column(index).statistics
            for group in range(metadata.num_row_groups)
        ]
        if any(chunk is None for chunk in chunks):
            continue
        if all(chunk.has_null_count for chunk in chunks):
            nulls[name] = sum(chunk.null_count for chunk in chunks)
        bounded = [chunk for chunk in chunks if chunk.has_min_max]
        # A chunk of nulls alone has no bounds and needs none.
        if bounded and all(chunk.has_min_max or chunk.num_values == 0 for chunk in chunks):
            low = _low(min(chunk.min for chunk in bounded))
            high = _high(max(chunk.max for chunk in bounded))
            if low is not None and high is not None:
                lows[name], highs[name] = low, high
    return json.dumps(
        {
            "numRecords": metadata.num_rows,
            "minValues": lows,
            "maxValues": highs,
            "nullCount": nulls,
        }
    )


def _low(value: Any) -> Any:
    if isinstance(value, str):
        # A prefix sorts before every text that begins with it.
        return value[:_LONGEST_TEXT]
    if isinstance(value, datetime):
        return _moment(value - timedelta(microseconds=value.microsecond % 1000))
    return _plain(value)


def _high(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else None
    if isinstance(value, datetime):
        return _moment(value + timedelta(microseconds=-value.microsecond % 1000))
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, bool | bytes):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        # JSON numbers pass through floats in many readers: bounds must not move.
        return None
    return value.isoformat() if isinstance(value, date) else None


def _moment(value: datetime) -> str:
    text = value.isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z") if value.tzinfo else text
