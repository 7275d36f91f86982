"""Columns of a table as the arrays that a model is given, typed by its signature.

The rules are those of a request's values, so that a row gives the same bits in a table and in a
request: nothing is rounded, parsed or cut silently. It is sent to engines by value and needs
numpy and pyarrow only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


class UnfitColumnError(ValueError):
    """A column that a model cannot be given; the text names it and says why."""

    def __init__(self, column: str, why: str) -> None:
        super().__init__(f'column "{column}" {why}')
        self.column, self.why = column, why

    def __reduce__(self) -> tuple[type[UnfitColumnError], tuple[str, str]]:
        return UnfitColumnError, (self.column, self.why)


def typed_columns(
    table: pa.Table | pa.RecordBatch, types: Mapping[str, str], optional: frozenset[str]
) -> dict[str, npt.NDArray[Any]]:
    """A model's inputs.

    Args:
        table: holds at least the columns of ``types``.
        types: MLflow's type by column, ``any`` to leave its values; the order of the result.
        optional: columns whose values may be null whatever their type.

    Returns:
        One array a column: float64, float32, int64, int32, bool, datetime64[ns] (in UTC), or
        object for text, bytes, ``any``, and optional columns with nulls. Views of the table's
        memory where they can be.

    Raises:
        UnfitColumnError: a value does not fit its type.
    """
    import pyarrow as pa

    columns = {}
    for name, kind in types.items():
        column = table.column(name)
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        columns[name] = _TYPED[kind](column, name, kind, name not in optional)
    return columns


def _number(column: pa.Array, name: str, kind: str, required: bool) -> npt.NDArray[Any]:
    """Null becomes NaN; an integer the nearest double, as Python and JSON have it."""
    import numpy as np
    import pyarrow as pa

    del required
    t = pa.types
    if t.is_boolean(column.type):
        column = column.cast(pa.int8())
    numeric = t.is_integer(column.type) or t.is_floating(column.type) or t.is_decimal(column.type)
    if not numeric and not t.is_null(column.type):
        raise UnfitColumnError(name, f"is a {column.type}, and the model's signature says {kind}")
    if kind == "float" and t.is_float32(column.type):
        return _plain(column)
    values = _plain(column.cast(pa.float64(), safe=False))
    if kind == "double":
        return values
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    large = np.isinf(narrow) & np.isfinite(values)
    if large.any():
        raise UnfitColumnError(name, f"holds {values[large][0]}, which is too large for a float")
    return narrow


def _whole(column: pa.Array, name: str, kind: str, required: bool) -> npt.NDArray[Any]:
    import pyarrow as pa

    t = pa.types
    numeric = t.is_integer(column.type) or t.is_floating(column.type) or t.is_decimal(column.type)
    if not numeric and not t.is_null(column.type):
        raise UnfitColumnError(name, f"is a {column.type}, and the model's signature says {kind}")
    try:
        exact = column.cast(pa.int32() if kind == "integer" else pa.int64())
    except pa.ArrowInvalid as error:
        raise UnfitColumnError(name, f"is no {kind}: {error}") from None
    return _without_nulls(exact, name, kind, required)


def _boolean(column: pa.Array, name: str, kind: str, required: bool) -> npt.NDArray[Any]:
    import pyarrow as pa

    if not pa.types.is_boolean(column.type) and not pa.types.is_null(column.type):
        raise UnfitColumnError(name, f"is a {column.type}, and the model's signature says {kind}")
    return _without_nulls(column.cast(pa.bool_()), name, kind, required)


def _without_nulls(column: pa.Array, name: str, kind: str, required: bool) -> npt.NDArray[Any]:
    if not column.null_count:
        return _plain(column)
    if not required:
        return _objects(column.to_pylist())
    raise UnfitColumnError(
        name,
        f"holds {column.null_count} nulls, and the model's signature says {kind}, which has none; "
        "train it with a double column, or fill the nulls",
    )


def _text(column: pa.Array, name: str, kind: str, required: bool) -> npt.NDArray[Any]:
    import pyarrow as pa

    del required
    fits = {
        "string": (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
        "binary": (
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_binary_view,
            pa.types.is_fixed_size_binary,
        ),
    }
    if not pa.types.is_null(column.type) and not any(test(column.type) for test in fits[kind]):
        raise UnfitColumnError(name, f"is a {column.type}, and the model's signature says {kind}")
    return _objects(column.to_pylist())


def _moment(column: pa.Array, name: str, kind: str, required: bool) -> npt.NDArray[Any]:
    """Without a zone, in UTC: what MLflow's ``datetime`` is."""
    import pyarrow as pa

    del required
    t = pa.types
    if not (t.is_timestamp(column.type) or t.is_date(column.type) or t.is_null(column.type)):
        raise UnfitColumnError(name, f"is a {column.type}, and the model's signature says {kind}")
    if t.is_timestamp(column.type):
        column = column.cast(pa.timestamp(column.type.unit))
    try:
        return _plain(column.cast(pa.timestamp("ns")))
    except pa.ArrowInvalid as error:
        raise UnfitColumnError(name, f"holds a time out of range: {error}") from None


def _any(column: pa.Array, name: str, kind: str, required: bool) -> npt.NDArray[Any]:
    del name, kind, required
    return _objects(column.to_pylist())


def _plain(column: pa.Array) -> npt.NDArray[Any]:
    array: np.ndarray = column.to_numpy(zero_copy_only=False)
    return array


def _objects(values: list[Any]) -> npt.NDArray[Any]:
    import numpy as np

    return np.fromiter(values, dtype=object, count=len(values))


_TYPED: dict[str, Callable[[pa.Array, str, str, bool], npt.NDArray[Any]]] = {
    "double": _number,
    "float": _number,
    "long": _whole,
    "integer": _whole,
    "boolean": _boolean,
    "string": _text,
    "binary": _text,
    "datetime": _moment,
    "any": _any,
}
