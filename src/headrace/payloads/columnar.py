"""Tables as bodies: Arrow IPC and Parquet to columns, answers to Arrow.

A small body can claim any number of rows and bytes, so what a reader would allocate is added up
from the body's own headers before anything is decoded, and types that repeat values by reference
are bounded by what they expand to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from headrace.payloads.answer import jsonable
from headrace.payloads.arrays import arrow_array, numpy_array, numpy_column, text_array
from headrace.payloads.codec import MAX_CELLS, check_rows
from headrace.payloads.errors import MalformedRequestError
from headrace.payloads.payload import ColumnPayload

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from headrace.payloads.answer import Answers

ARROW_STREAM: Final = "application/vnd.apache.arrow.stream"
ARROW_FILE: Final = "application/vnd.apache.arrow.file"
PARQUET: Final = "application/vnd.apache.parquet"
#: Media types of tables, and the form each is read as.
FORMS: Final = {
    ARROW_STREAM: "arrow",
    ARROW_FILE: "arrow",
    PARQUET: "parquet",
    "application/x-parquet": "parquet",
}
#: What a body may expand to.
MAX_BYTES: Final = 256 * 1024 * 1024
MAX_COLUMNS: Final = 10_000
ID_COLUMN: Final = "prediction_id"


def read_table(body: bytes, form: str) -> ColumnPayload:
    """The columns of a body.

    Args:
        body: an Arrow stream or file, or a Parquet file.
        form: ``arrow`` or ``parquet``.

    Raises:
        MalformedRequestError: it is no such table, has no rows, has columns of a type that no
            model takes, or expands to more than ``MAX_ROWS`` rows, ``MAX_CELLS`` values or
            ``MAX_BYTES`` bytes.
    """
    import pyarrow as pa

    if not body:
        raise MalformedRequestError("the body is empty")
    try:
        table = _READERS[form](body)
    except (pa.ArrowException, OSError, ValueError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise MalformedRequestError(f"it is no {form.title()} table: {lines[0][:200]}") from None
    if not table.num_rows:
        raise MalformedRequestError("it has no rows")
    names = tuple(table.column_names)
    values = [_values(name, table.column(at)) for at, name in enumerate(names)]
    return ColumnPayload(form, names, values, table.num_rows, params=_params(table.schema))


def check_size(rows: int, columns: int, size: int) -> None:
    """Refuse a table before it is decoded.

    Raises:
        MalformedRequestError: it has too many columns, rows, values or bytes.
    """
    if columns > MAX_COLUMNS:
        raise MalformedRequestError(f"it has more than {MAX_COLUMNS} columns")
    if rows < 0 or rows * max(columns, 1) > MAX_CELLS:
        raise MalformedRequestError(f"it has more than {MAX_CELLS} values")
    if size > MAX_BYTES:
        raise MalformedRequestError(f"it expands to more than {MAX_BYTES} bytes")
    check_rows(rows)


def check_schema(schema: pa.Schema) -> None:
    """Refuse columns that no model takes.

    Raises:
        MalformedRequestError: names the column: its type is nested or unknown to models, or
            its name is there twice.
    """
    seen: set[str] = set()
    for field in schema:
        if field.name in seen:
            raise MalformedRequestError(f'column "{field.name}" is there twice', where="columns")
        seen.add(field.name)
        if not _is_known(field.type):
            raise MalformedRequestError(
                f"columns of type {field.type} are not read",
                where=f'column "{field.name}"',
                next="send numbers, truth values, text, bytes or times",
            )


def _is_known(kind: pa.DataType) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        return bool(types.is_integer(kind.index_type)) and _is_variable(kind.value_type)
    return _is_variable(kind) or any(
        is_kind(kind)
        for is_kind in (
            *(types.is_integer, types.is_floating, types.is_boolean, types.is_null),
            *(types.is_timestamp, types.is_date),
        )
    )


def _is_variable(kind: pa.DataType) -> bool:
    """Whether it is text or bytes, whose values have any length."""
    from pyarrow import types

    # Views are not among them: many of theirs can show the same bytes.
    return any(
        is_kind(kind)
        for is_kind in (
            *(types.is_string, types.is_large_string),
            *(types.is_binary, types.is_large_binary),
        )
    )


def _read_arrow(body: bytes) -> pa.Table:
    import pyarrow as pa

    from headrace.payloads.arrow_bounds import measure

    stream = body[8:] if body.startswith(b"ARROW1\0\0") else body
    options = pa.ipc.IpcReadOptions(use_threads=False)
    with pa.ipc.open_stream(pa.BufferReader(stream), options=options) as reader:
        check_schema(reader.schema)
        rows, size = measure(stream)
        check_size(rows, len(reader.schema), size)
        return reader.read_all()


def _read_parquet(body: bytes) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from headrace.payloads.parquet_bounds import measure

    rows, size = measure(body)
    source = pa.BufferReader(body)
    with pq.ParquetFile(source) as file:
        schema = file.schema_arrow
    check_schema(schema)
    check_size(rows, len(schema), size)
    variable = [field.name for field in schema if _is_variable(field.type)]
    # As dictionaries: a page of references to one long value would otherwise be expanded.
    with pq.ParquetFile(source, read_dictionary=variable) as file:
        return file.read(use_threads=False)


_READERS: Final[dict[str, Callable[[bytes], pa.Table]]] = {
    "arrow": _read_arrow,
    "parquet": _read_parquet,
}


def _values(name: str, column: pa.ChunkedArray) -> np.ndarray:
    """A column as numpy: numbers and truth values, ``datetime64``, or objects."""
    import pyarrow as pa
    from pyarrow import types

    kind = column.type
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise MalformedRequestError(str(error).split("\n")[0], where=f'column "{name}"') from None
    if types.is_dictionary(kind):
        return _shared(name, column.unify_dictionaries())
    return numpy_column(column)


def _shared(name: str, column: pa.ChunkedArray) -> np.ndarray:
    """The texts or bytes that the indices of a dictionary point to, shared between rows."""
    import numpy as np
    import pyarrow.compute as pc

    values = column.chunk(0).dictionary
    lengths = numpy_array(pc.fill_null(pc.binary_length(values), 0))
    shared = np.fromiter((*values.to_pylist(), None), dtype=object, count=len(values) + 1)
    found: list[np.ndarray] = []
    size = 0
    for chunk in column.chunks:
        if not len(chunk):
            continue
        indices = numpy_array(pc.fill_null(chunk.indices.cast("int64"), -1))
        size += int(lengths[indices[indices >= 0]].sum())
        found.append(shared[indices])
    if size > MAX_BYTES:
        raise MalformedRequestError(
            f"it expands to more than {MAX_BYTES} bytes", where=f'column "{name}"'
        )
    return np.concatenate(found)


def _params(schema: pa.Schema) -> dict[str, Any] | None:
    """Inference parameters: the entry ``params`` of the schema's metadata, as JSON."""
    text = (schema.metadata or {}).get(b"params")
    if text is None:
        return None
    try:
        params = json.loads(text)
    except ValueError as error:
        raise MalformedRequestError(f"it is no JSON: {error}", where="params") from None
    if not isinstance(params, dict):
        raise MalformedRequestError("it is no object", where="params")
    return params


def write_arrow(answers: Answers, ids: Mapping[str, list[str]], media: str) -> bytes:
    """The answers as one Arrow record batch, with the columns of ``ids`` behind them."""
    import pyarrow as pa

    arrays = {name: _arrow_of(column) for name, column in answers.named().items()}
    arrays |= {name: text_array(column) for name, column in ids.items()}
    table = pa.table(list(arrays.values()), names=list(arrays))
    sink = pa.BufferOutputStream()
    new = pa.ipc.new_file if media == ARROW_FILE else pa.ipc.new_stream
    with new(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _arrow_of(column: np.ndarray) -> pa.Array:
    import pyarrow as pa

    array = arrow_array(column)
    if array is not None:
        return array
    try:
        return pa.array(column if column.ndim == 1 else list(column))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        # Values of no common type: each as its JSON.
        return text_array([json.dumps(jsonable(value)) for value in column.tolist()])
