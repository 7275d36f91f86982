"""A scoring request as it was sent, before a model's types are known."""

from __future__ import annotations

import base64
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from headrace.payloads.times import iso_times


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


#: The value of a column that a record does not have.
MISSING: Final = _Missing()


class Payload(ABC):
    """Rows of a request, whatever protocol they came in.

    Attributes:
        format: the form they were sent in, such as ``dataframe_split`` or ``arrow``.
        columns: names of the columns, or ``None`` where they are positional or a tensor.
        rows_count: how many rows; at least one, except in protocols that may send none.
        tensor: the array or the nested lists of a request that is no table, else ``None``.
        params: MLflow's inference parameters.
        text: the values are text (CSV), to be read by the model's types.
        asked: what the protocol's answer needs to know of the request, else ``None``.
    """

    format: str
    columns: tuple[str, ...] | None
    tensor: Any
    params: Mapping[str, Any] | None
    text: bool
    asked: Any

    @property
    @abstractmethod
    def rows_count(self) -> int:
        """How many rows."""

    @abstractmethod
    def column(self, index: int) -> Any:
        """All values of one column: a sequence, or a numpy array."""

    @abstractmethod
    def cell(self, row: int, index: int) -> Any:
        """One value as JSON can hold it, or ``MISSING``."""

    @abstractmethod
    def width(self, row: int) -> int:
        """How many values a row has."""

    def record(self, row: int) -> dict[str, Any]:
        """One row as column name to value; positional columns are named by their position."""
        width = self.width(row)
        names = self.columns or tuple(str(index) for index in range(width))
        values = ((name, self.cell(row, index)) for index, name in enumerate(names))
        return {name: value for name, value in values if value is not MISSING}

    def key(self, row: int, columns: Sequence[str]) -> str | None:
        """The row's key as text, or ``None`` where a key column is absent or null."""
        if not columns or self.columns is None or row >= self.rows_count:
            return None
        values = []
        for column in columns:
            if column not in self.columns:
                return None
            value = self.cell(row, self.columns.index(column))
            if value is MISSING or value is None or isinstance(value, list | dict):
                return None
            values.append(value if isinstance(value, str) else json.dumps(value))
        return values[0] if len(values) == 1 else json.dumps(values, ensure_ascii=False)


@dataclass(slots=True)
class RowPayload(Payload):
    """Rows of values, each in the order of ``columns``; a value that is absent is ``MISSING``."""

    format: str
    columns: tuple[str, ...] | None
    rows: Sequence[Sequence[Any]]
    tensor: Any = None
    params: Mapping[str, Any] | None = None
    text: bool = False
    asked: Any = None

    @property
    def rows_count(self) -> int:
        return len(self.rows)

    def column(self, index: int) -> Any:
        return [row[index] for row in self.rows]

    def cell(self, row: int, index: int) -> Any:
        return self.rows[row][index]

    def width(self, row: int) -> int:
        return len(self.rows[row])

    def record(self, row: int) -> dict[str, Any]:
        values = self.rows[row]
        if self.columns is None or MISSING in values:
            return Payload.record(self, row)
        return dict(zip(self.columns, values, strict=True))


@dataclass(frozen=True)
class ColumnPayload(Payload):
    """Columns of values: lists as JSON gave them, or numpy arrays.

    An array is of numbers, truth values or ``datetime64[ns]``, or of objects where it has text,
    bytes or nulls.
    """

    format: str
    columns: tuple[str, ...]
    values: Sequence[Any]
    count: int
    tensor: Any = None
    params: Mapping[str, Any] | None = None
    text: bool = False
    asked: Any = None

    @property
    def rows_count(self) -> int:
        return self.count

    def column(self, index: int) -> Any:
        return self.values[index]

    def cell(self, row: int, index: int) -> Any:
        return plain(self.values[index][row])

    def width(self, row: int) -> int:  # noqa: ARG002  # all rows are alike
        return len(self.columns)


def plain(value: Any) -> Any:
    """A cell of an array as JSON holds it: NaN is null, bytes are Base64, times ISO 8601."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if hasattr(value, "dtype"):
        if value.dtype.kind == "M":
            return iso_times(value.reshape(1))[0]
        return plain(value.tolist())
    return value
