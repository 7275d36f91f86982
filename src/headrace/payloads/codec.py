"""MLflow's scoring payloads: bytes to rows, rows to typed columns, predictions to JSON.

Reading has two steps, because the row's key decides which deployment answers, and only the
deployment knows the types: ``parse`` gives rows as they were sent, ``Signature.frame`` types them.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from headrace.payloads.errors import MalformedRequestError, UnsupportedMediaTypeError

FORMATS: Final = ("dataframe_split", "dataframe_records", "instances", "inputs")
MAX_DEPTH: Final = 32
MAX_CELLS: Final = 5_000_000


@dataclass(frozen=True)
class Payload:
    """One scoring request as it was sent.

    Attributes:
        format: one of ``FORMATS``, or ``csv``.
        columns: names of the columns, or ``None`` where the rows are positional or a tensor.
        rows: each row's values in the order of ``columns``; a column absent from a record is
            ``MISSING``. Empty for a tensor.
        tensor: the value of ``instances`` or ``inputs`` where it is no table.
        params: MLflow's inference parameters.
        text: the values are text (CSV), to be read by the model's types.
    """

    format: str
    columns: tuple[str, ...] | None
    rows: Sequence[Sequence[Any]]
    tensor: Any = None
    params: Mapping[str, Any] | None = None
    text: bool = False

    def record(self, row: int) -> dict[str, Any]:
        """One row as column name to value; positional columns are named by their position."""
        values = self.rows[row]
        names = self.columns or tuple(str(index) for index in range(len(values)))
        return {
            name: value for name, value in zip(names, values, strict=True) if value is not MISSING
        }

    def key(self, row: int, columns: Sequence[str]) -> str | None:
        """The row's key as text, or ``None`` where a key column is absent or null."""
        if not columns or self.columns is None or row >= len(self.rows):
            return None
        values = []
        for column in columns:
            if column not in self.columns:
                return None
            value = self.rows[row][self.columns.index(column)]
            if value is MISSING or value is None or isinstance(value, list | dict):
                return None
            values.append(value if isinstance(value, str) else json.dumps(value))
        return values[0] if len(values) == 1 else json.dumps(values, ensure_ascii=False)


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


def parse(body: bytes, content_type: str | None) -> Payload:
    """Read a request body.

    Raises:
        UnsupportedMediaTypeError: neither JSON nor CSV, or not UTF-8.
        MalformedRequestError: it does not parse or is no MLflow payload.
    """
    media = _media_type(content_type)
    if media == "text/csv":
        return _parse_csv(_utf8(body))
    document = _load_json(_utf8(body))
    if not isinstance(document, dict):
        raise MalformedRequestError(
            f"the body is {_kind(document)}, not an object",
            next=f"send an object with one of {', '.join(FORMATS)}",
        )
    present = [name for name in FORMATS if name in document]
    if len(present) != 1:
        raise MalformedRequestError(
            f"the body has {' and '.join(present) or 'none of the input fields'}",
            next=f"send an object with exactly one of {', '.join(FORMATS)}",
        )
    unknown = sorted(set(document) - {*FORMATS, "params", "client_request_id"})
    if unknown:
        raise MalformedRequestError(f'unknown field "{unknown[0]}"', where=unknown[0])
    params = document.get("params")
    if params is not None and not isinstance(params, dict):
        raise MalformedRequestError(f"params is {_kind(params)}, not an object", where="params")
    return _PARSERS[present[0]](document[present[0]], params)


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


def _utf8(body: bytes) -> str:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedRequestError(f"byte {error.start} is not valid UTF-8") from None
    if not text.strip():
        raise MalformedRequestError("the body is empty")
    return text


def _load_json(text: str) -> Any:
    try:
        document = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise MalformedRequestError(
            f"{error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise MalformedRequestError(f"it is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        # Python refuses to read integers of thousands of digits.
        raise MalformedRequestError(str(error).partition(";")[0]) from None
    _check_depth(document)
    if "\\u" in text:
        _check_surrogates(document)
    return document


def _refuse_constant(name: str) -> float:
    raise MalformedRequestError(f"{name} is not JSON", next="send null for a value that is missing")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise MalformedRequestError(f"the number {text[:40]} is too large for a double")
    return value


def _check_depth(document: Any) -> None:
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for value in level
            if isinstance(value, list | dict)
            for child in (value.values() if isinstance(value, dict) else value)
            if isinstance(child, list | dict)
        ]
        if not level:
            return
    raise MalformedRequestError(f"it is nested deeper than {MAX_DEPTH} levels")


def _check_surrogates(document: Any) -> None:
    # JSON can spell half of a surrogate pair, which no UTF-8 file can hold.
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise MalformedRequestError("it has a lone surrogate, which is no character") from None


def _parse_csv(text: str) -> Payload:
    try:
        header, *rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    except (csv.Error, ValueError) as error:
        raise MalformedRequestError(f"the CSV cannot be read: {error}") from None
    _check_columns(header)
    _check_rows(rows, len(header))
    return Payload("csv", tuple(header), rows, text=True)


def _parse_split(value: Any, params: Mapping[str, Any] | None) -> Payload:
    if not isinstance(value, dict):
        raise MalformedRequestError(
            f"dataframe_split is {_kind(value)}, not an object", where="dataframe_split"
        )
    unknown = sorted(set(value) - {"columns", "data", "index"})
    if "data" not in value or unknown:
        raise MalformedRequestError(
            f'unknown field "{unknown[0]}"' if unknown else "data is missing",
            where="dataframe_split",
        )
    columns, data = value.get("columns"), value["data"]
    if not isinstance(data, list) or not all(isinstance(row, list) for row in data):
        raise MalformedRequestError("data is not a list of rows", where="dataframe_split.data")
    if columns is None:
        _check_rows(data, len(data[0]) if data else 0)
        return Payload("dataframe_split", None, data, params=params)
    if not isinstance(columns, list) or not all(isinstance(c, str | int) for c in columns):
        raise MalformedRequestError(
            "columns is not a list of names", where="dataframe_split.columns"
        )
    names = [str(column) for column in columns]
    _check_columns(names)
    _check_rows(data, len(names))
    index = value.get("index")
    if index is not None and (not isinstance(index, list) or len(index) != len(data)):
        raise MalformedRequestError(
            "index has not one entry for each row", where="dataframe_split.index"
        )
    return Payload("dataframe_split", tuple(names), data, params=params)


def _parse_records(value: Any, params: Mapping[str, Any] | None) -> Payload:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise MalformedRequestError(
            "dataframe_records is not a list of objects", where="dataframe_records"
        )
    return _from_records("dataframe_records", value, params)


def _from_records(
    name: str, records: list[dict[str, Any]], params: Mapping[str, Any] | None
) -> Payload:
    if not records:
        raise MalformedRequestError("it has no rows", where=name)
    columns = tuple(dict.fromkeys(key for record in records for key in record))
    if len(columns) * len(records) > MAX_CELLS:
        # Records that share no columns would otherwise fill the memory from a small body.
        raise MalformedRequestError(f"it has more than {MAX_CELLS} values", where=name)
    rows = [[record.get(column, MISSING) for column in columns] for record in records]
    return Payload(name, columns, rows, params=params)


def _parse_instances(value: Any, params: Mapping[str, Any] | None) -> Payload:
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return _from_records("instances", value, params)
    return _parse_tensor("instances", value, params)


def _parse_inputs(value: Any, params: Mapping[str, Any] | None) -> Payload:
    if isinstance(value, dict):
        return _from_columns(value, params)
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return _from_records("inputs", value, params)
    return _parse_tensor("inputs", value, params)


def _from_columns(value: dict[str, Any], params: Mapping[str, Any] | None) -> Payload:
    if not value:
        raise MalformedRequestError("it has no columns", where="inputs")
    columns = {name: v if isinstance(v, list) else [v] for name, v in value.items()}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        short, long = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise MalformedRequestError(
            f'column "{short}" has {lengths[short]} values and "{long}" has {lengths[long]}',
            where="inputs",
        )
    rows = list(zip(*columns.values(), strict=True))
    if not rows:
        raise MalformedRequestError("it has no rows", where="inputs")
    return Payload("inputs", tuple(columns), rows, tensor=value, params=params)


def _parse_tensor(name: str, value: Any, params: Mapping[str, Any] | None) -> Payload:
    if not isinstance(value, list):
        value = [value]
    if not value:
        raise MalformedRequestError("it has no rows", where=name)
    rows = [row if isinstance(row, list) else [row] for row in value]
    return Payload(name, None, rows, tensor=value, params=params)


_PARSERS: Final = {
    "dataframe_split": _parse_split,
    "dataframe_records": _parse_records,
    "instances": _parse_instances,
    "inputs": _parse_inputs,
}


def _check_columns(names: Sequence[str]) -> None:
    seen: set[str] = set()
    twice = next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]
    if twice is not None:
        raise MalformedRequestError(f'column "{twice}" is there twice', where="columns")


def _check_rows(rows: Sequence[Sequence[Any]], width: int) -> None:
    if not rows:
        raise MalformedRequestError("it has no rows", where="data")
    for index, row in enumerate(rows):
        if len(row) != width:
            raise MalformedRequestError(
                f"row {index} has {len(row)} values for {width} columns", where=f"data[{index}]"
            )


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value"}
    return "null" if value is None else names.get(type(value), "a number")
