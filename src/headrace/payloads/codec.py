"""MLflow's scoring payloads: JSON and CSV to rows.

Reading has two steps, because the row's key decides which deployment answers, and only the
deployment knows the types: ``parse`` gives values as they were sent, ``Signature.typed`` types them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from headrace.payloads.documents import kind_of, read_json, utf8
from headrace.payloads.errors import MalformedRequestError, UnsupportedMediaTypeError
from headrace.payloads.payload import MISSING, ColumnPayload, Payload, RowPayload

FORMATS: Final = ("dataframe_split", "dataframe_records", "instances", "inputs")
MAX_CELLS: Final = 5_000_000
#: Each row gets an id, an answer and a record in the log, however small it is in the body.
MAX_ROWS: Final = 200_000
_SPLIT: Final = {"columns", "data", "index"}
#: The columns of the latest request that had any: those of the next are mostly the same, and need
#: no look. Replaced as a whole, so that threads may read it.
_known: tuple[list[str] | None, tuple[str, ...]] = (None, ())
_FIELDS: Final = {*FORMATS, "params", "client_request_id"}


def parse(body: bytes, content_type: str | None) -> Payload:
    """Read a request body.

    Raises:
        UnsupportedMediaTypeError: neither JSON nor CSV, or not UTF-8.
        MalformedRequestError: it does not parse or is no MLflow payload.
    """
    if content_type != "application/json" and _media_type(content_type) == "text/csv":
        return _parse_csv(utf8(body))
    document = read_json(body)
    if not isinstance(document, dict):
        raise MalformedRequestError(
            f"the body is {kind_of(document)}, not an object",
            next=f"send an object with one of {', '.join(FORMATS)}",
        )
    if len(document) == 1:
        name, value = next(iter(document.items()))
        if name in _PARSERS:
            return _PARSERS[name](value, None)
    present = [name for name in FORMATS if name in document]
    if len(present) != 1:
        raise MalformedRequestError(
            f"the body has {' and '.join(present) or 'none of the input fields'}",
            next=f"send an object with exactly one of {', '.join(FORMATS)}",
        )
    params = None
    if len(document) > 1:
        unknown = sorted(set(document) - _FIELDS)
        if unknown:
            raise MalformedRequestError(f'unknown field "{unknown[0]}"', where=unknown[0])
        params = params_of(document)
    return _PARSERS[present[0]](document[present[0]], params)


def params_of(document: dict[str, Any]) -> dict[str, Any] | None:
    """MLflow's inference parameters of a document.

    Raises:
        MalformedRequestError: they are no object.
    """
    params = document.get("params")
    if params is not None and not isinstance(params, dict):
        raise MalformedRequestError(f"params is {kind_of(params)}, not an object", where="params")
    return params


def check_rows(rows: int) -> None:
    """Refuse more rows than one request can have.

    Raises:
        MalformedRequestError: it has more than ``MAX_ROWS``.
    """
    if rows > MAX_ROWS:
        raise MalformedRequestError(
            f"it has more than {MAX_ROWS} rows", next="score the table in batch: headrace score"
        )


def _media_type(content_type: str | None) -> str:
    if content_type is None:
        raise UnsupportedMediaTypeError("", "the Content-Type header is missing")
    media, *rest = [part.strip() for part in content_type.split(";")]
    parameters = dict(part.lower().partition("=")[::2] for part in rest if part)
    charset = parameters.pop("charset", "utf-8").strip('"')
    if media.lower() not in ("application/json", "text/csv"):
        raise UnsupportedMediaTypeError(content_type)
    if charset not in ("utf-8", "utf8"):
        raise UnsupportedMediaTypeError(content_type, "only UTF-8 is read")
    if parameters:
        raise UnsupportedMediaTypeError(content_type, f"unknown parameter {min(parameters)}")
    return media.lower()


def _parse_csv(text: str) -> Payload:
    try:
        header, *rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    except (csv.Error, ValueError) as error:
        raise MalformedRequestError(f"the CSV cannot be read: {error}") from None
    _check_columns(header)
    _check_rows(rows, len(header))
    return RowPayload("csv", tuple(header), rows, text=True)


def _parse_split(value: Any, params: Mapping[str, Any] | None) -> Payload:
    if not isinstance(value, dict):
        raise MalformedRequestError(
            f"dataframe_split is {kind_of(value)}, not an object", where="dataframe_split"
        )
    if "data" not in value or not value.keys() <= _SPLIT:
        unknown = sorted(value.keys() - _SPLIT)
        raise MalformedRequestError(
            f'unknown field "{unknown[0]}"' if unknown else "data is missing",
            where="dataframe_split",
        )
    return split_payload("dataframe_split", value, params)


def split_payload(
    name: str, value: Mapping[str, Any], params: Mapping[str, Any] | None
) -> RowPayload:
    """Rows of pandas' split orientation: ``data``, and ``columns`` and ``index`` if it has them.

    Args:
        name: the field that holds them, for errors.
        value: the object.
        params: inference parameters, to be kept.

    Raises:
        MalformedRequestError: it is no table.
    """
    columns, data = value.get("columns"), value["data"]
    if type(data) is not list or not set(map(type, data)) <= {list}:
        raise MalformedRequestError("data is not a list of rows", where=f"{name}.data")
    if columns is None:
        _check_rows(data, len(data[0]) if data else 0)
        return RowPayload(name, None, data, params=params)
    names = _names(columns, name)
    _check_rows(data, len(names))
    index = value.get("index")
    if index is not None and (not isinstance(index, list) or len(index) != len(data)):
        raise MalformedRequestError("index has not one entry for each row", where=f"{name}.index")
    return RowPayload(name, names, data, params=params)


def _names(columns: Any, name: str) -> tuple[str, ...]:
    global _known
    known = _known
    if columns == known[0]:
        return known[1]
    if type(columns) is not list or not set(map(type, columns)) <= {str, int}:
        raise MalformedRequestError("columns is not a list of names", where=f"{name}.columns")
    names = tuple(map(str, columns))
    _check_columns(names)
    if set(map(type, columns)) == {str}:
        _known = (columns, names)
    return names


def _parse_records(value: Any, params: Mapping[str, Any] | None) -> Payload:
    if not isinstance(value, list) or not _are_records(value):
        raise MalformedRequestError(
            "dataframe_records is not a list of objects", where="dataframe_records"
        )
    return records_payload("dataframe_records", value, params)


def records_payload(
    name: str, records: list[dict[str, Any]], params: Mapping[str, Any] | None
) -> RowPayload:
    """Rows of a list of objects, whose columns are all those that any of them has.

    Raises:
        MalformedRequestError: there are none, or together they have too many columns.
    """
    if not records:
        raise MalformedRequestError("it has no rows", where=name)
    columns = tuple(records[0])
    alike = set(map(len, records)) == {len(columns)}
    if len(records) == 1:
        return RowPayload(name, columns, [list(records[0].values())], params=params)
    if alike and len(columns) > 1:
        try:
            return RowPayload(
                name, columns, list(map(itemgetter(*columns), records)), params=params
            )
        except KeyError:
            alike = False  # as many columns, but others
    columns = tuple(dict.fromkeys(key for record in records for key in record))
    if len(columns) * len(records) > MAX_CELLS:
        # Records that share no columns would otherwise fill the memory from a small body.
        raise MalformedRequestError(f"it has more than {MAX_CELLS} values", where=name)
    rows = [[record.get(column, MISSING) for column in columns] for record in records]
    return RowPayload(name, columns, rows, params=params)


def _are_records(value: list[Any]) -> bool:
    return set(map(type, value)) <= {dict}


def _parse_instances(value: Any, params: Mapping[str, Any] | None) -> Payload:
    if isinstance(value, list) and value and _are_records(value):
        return records_payload("instances", value, params)
    return tensor_payload("instances", value, params)


def _parse_inputs(value: Any, params: Mapping[str, Any] | None) -> Payload:
    if isinstance(value, dict):
        return columns_payload("inputs", value, params)
    if isinstance(value, list) and value and _are_records(value):
        return records_payload("inputs", value, params)
    return tensor_payload("inputs", value, params)


def columns_payload(
    name: str, value: dict[str, Any], params: Mapping[str, Any] | None
) -> ColumnPayload:
    """Columns of an object of lists; a value that is no list is one row.

    Raises:
        MalformedRequestError: there are none, or they have not the same length.
    """
    if not value:
        raise MalformedRequestError("it has no columns", where=name)
    columns = [v if type(v) is list else [v] for v in value.values()]
    if len(set(map(len, columns))) != 1:
        lengths = dict(zip(value, map(len, columns), strict=True))
        short, long = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise MalformedRequestError(
            f'column "{short}" has {lengths[short]} values and "{long}" has {lengths[long]}',
            where=name,
        )
    rows = len(columns[0])
    if not rows:
        raise MalformedRequestError("it has no rows", where=name)
    return ColumnPayload(name, tuple(value), columns, rows, tensor=value, params=params)


def tensor_payload(name: str, value: Any, params: Mapping[str, Any] | None) -> RowPayload:
    """Rows of nested lists without names: the first axis is that of the rows.

    Raises:
        MalformedRequestError: there are none.
    """
    if not isinstance(value, list):
        value = [value]
    if not value:
        raise MalformedRequestError("it has no rows", where=name)
    listed = set(map(type, value)) == {list}
    rows = value if listed else [row if isinstance(row, list) else [row] for row in value]
    return RowPayload(name, None, rows, tensor=value, params=params)


_PARSERS: Final = {
    "dataframe_split": _parse_split,
    "dataframe_records": _parse_records,
    "instances": _parse_instances,
    "inputs": _parse_inputs,
}


def _check_columns(names: Sequence[str]) -> None:
    if len(set(names)) == len(names):
        return
    seen: set[str] = set()
    twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    raise MalformedRequestError(f'column "{twice}" is there twice', where="columns")


def _check_rows(rows: Sequence[Sequence[Any]], width: int) -> None:
    if not rows:
        raise MalformedRequestError("it has no rows", where="data")
    if set(map(len, rows)) == {width}:
        return
    index = next(index for index, row in enumerate(rows) if len(row) != width)
    raise MalformedRequestError(
        f"row {index} has {len(rows[index])} values for {width} columns", where=f"data[{index}]"
    )
