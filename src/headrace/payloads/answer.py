"""What a model returned: columns or one value a row, as JSON values, scores and arrays."""

from __future__ import annotations

import base64
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from headrace.payloads.arrays import numpy_column
from headrace.payloads.times import iso_times

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

SCORE_COLUMN = "score"
#: The name of the only output of a model that gives its outputs no names.
PLAIN_COLUMN = "predictions"


@dataclass(frozen=True)
class Answers:
    """One prediction a row.

    Attributes:
        columns: named outputs, each an array of length ``rows``; or ``None``.
        plain: one value a row of a model without named outputs; or ``None``.
        rows: how many.
    """

    columns: Mapping[str, np.ndarray] | None
    plain: list[Any] | None
    rows: int

    @classmethod
    def of(cls, raw: Any, rows: int) -> Answers:
        """From what a model's ``predict`` returned for so many rows.

        A DataFrame, a Series and a dict of arrays have named columns; an array or a list has
        one value a row.

        Raises:
            ValueError: the model did not return one prediction a row.
        """
        columns = _columns_of(raw)
        if columns is not None:
            return cls.of_columns(columns, rows)
        plain = _listed(raw)
        if plain is None or len(plain) != rows:
            count = "a value that is no list" if plain is None else f"{len(plain)} predictions"
            raise ValueError(f"it returned {count} for {rows} rows")
        return cls(None, plain, rows)

    @classmethod
    def of_columns(cls, columns: Mapping[str, np.ndarray], rows: int) -> Answers:
        """From named arrays.

        Raises:
            ValueError: there is none, or an array has not one entry a row.
        """
        if not columns:
            raise ValueError("it returned no columns")
        for column in columns.values():
            if len(column) != rows:
                raise ValueError(f"it returned {len(column)} predictions for {rows} rows")
        return cls(columns, None, rows)

    @classmethod
    def of_table(cls, table: pa.Table, rows: int) -> Answers:
        """From an Arrow table.

        Raises:
            ValueError: it has not one row a row.
        """
        columns = {name: numpy_column(table.column(name)) for name in table.column_names}
        return cls.of_columns(columns, rows)

    def values(self) -> list[Any]:
        """A JSON value a row, as MLflow's scoring server gives it: an object for named outputs.

        NaN and infinity are null. The list is made once, and is not to be changed.
        """
        return self._values

    def scores(self) -> list[float | None]:
        """The column ``score``, else the only number of the row, else ``None``."""
        return self._scores

    def parts(self, sizes: Sequence[int]) -> list[Answers]:
        """The answers of so many rows each, in order.

        What was made of all rows at once, values and scores, is not made again.
        """
        values, scores, columns = self._values, self._scores, self.columns
        parts, end = [], 0
        for size in sizes:
            start, end = end, end + size
            cut = None
            if columns is not None:
                cut = {name: column[start:end] for name, column in columns.items()}
            part = Answers(cut, values[start:end] if cut is None else None, size)
            part.__dict__.update(_values=values[start:end], _scores=scores[start:end])
            parts.append(part)
        return parts

    @cached_property
    def _scores(self) -> list[float | None]:
        if self.columns is not None and SCORE_COLUMN in self.columns:
            column = self.columns[SCORE_COLUMN]
            if column.dtype.kind == "f" and column.ndim == 1:
                return _finite_values(column)
        return [_score(value) for value in self._values]

    @cached_property
    def _values(self) -> list[Any]:
        if self.columns is None:
            return [jsonable(value) for value in self.plain or ()]
        names = tuple(self.columns)
        columns = [_json_values(column) for column in self.columns.values()]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def named(self) -> dict[str, np.ndarray]:
        """The outputs as arrays by name, for protocols of tensors and columns."""
        if self.columns is not None:
            return dict(self.columns)
        return {PLAIN_COLUMN: _plain_array(self.plain or [])}


def _plain_array(plain: list[Any]) -> np.ndarray:
    """Numbers and equal lists of numbers as such; anything else, and what is mixed, as objects."""
    import numpy as np

    types = set(map(type, plain))
    if types <= {int, float} or types in ({bool}, {list}):
        try:
            array = np.asarray(plain)
        except ValueError:  # lists of different lengths
            return _ragged(plain)
        if array.dtype.kind in "biuf":
            return array
    return _ragged(plain)


def _columns_of(raw: Any) -> dict[str, np.ndarray] | None:
    """Named columns of a DataFrame, a Series or a dict of arrays; ``None``: it has none."""
    import numpy as np

    if isinstance(raw, dict):
        arrays = {str(name): _sequence(column) for name, column in raw.items()}
        if not arrays or any(array is None for array in arrays.values()):
            return None
        return {name: np.asarray(array) for name, array in arrays.items()}
    pandas = sys.modules.get("pandas")  # where it is not loaded, nothing can be its
    if pandas is None:
        return None
    if isinstance(raw, pandas.Series):
        raw = pandas.DataFrame(raw)
    if isinstance(raw, pandas.DataFrame):
        return {str(name): raw.iloc[:, at].to_numpy() for at, name in enumerate(raw.columns)}
    return None


def _sequence(column: Any) -> Any:
    """An array or a list as it is, the values of a Series; ``None`` for anything else."""
    if hasattr(column, "to_numpy"):
        return column.to_numpy()
    if isinstance(column, list | tuple):
        return _ragged(column)
    return column if getattr(column, "ndim", 0) else None


def _ragged(values: Sequence[Any]) -> np.ndarray:
    import numpy as np

    return np.fromiter(values, dtype=object, count=len(values))


def _listed(raw: Any) -> list[Any] | None:
    if hasattr(raw, "ndim"):
        if raw.ndim == 1 and getattr(raw, "dtype", None) is not None and raw.dtype.kind == "M":
            return iso_times(raw)
        listed = raw.tolist() if raw.ndim else None
        return listed if isinstance(listed, list) else None
    return list(raw) if isinstance(raw, list | tuple) else None


def _json_values(column: np.ndarray) -> list[Any]:
    kind = column.dtype.kind
    if column.ndim == 1:
        if kind in "biuU":
            return column.tolist()  # type: ignore[no-any-return]
        if kind == "f":
            return _finite_values(column)
        if kind == "M":
            return iso_times(column)
    return [jsonable(value) for value in column.tolist()]


def _finite_values(column: np.ndarray) -> list[Any]:
    import numpy as np

    values: list[Any] = column.tolist()
    if len(values) <= 8:
        return [value if math.isfinite(value) else None for value in values]
    finite = np.isfinite(column)
    if not finite.all():
        for row in np.flatnonzero(~finite):
            values[row] = None
    return values


def jsonable(value: Any) -> Any:
    """A value as JSON can hold it: NaN and infinity become null, bytes Base64, times ISO 8601."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): jsonable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [jsonable(inner) for inner in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat() if value == value else None  # NaT differs from itself
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if hasattr(value, "dtype") and value.dtype.kind == "M":
        times = iso_times(value.reshape(-1))
        return times if value.ndim else times[0]
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    return None if _is_pandas_na(value) else str(value)


def _is_pandas_na(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and value is pandas.NA


def _score(value: Any) -> float | None:
    if isinstance(value, dict):
        if SCORE_COLUMN in value:
            return _score(value[SCORE_COLUMN])
        numbers = [v for v in value.values() if isinstance(v, int | float)]
        return _score(numbers[0]) if len(numbers) == 1 else None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return None
    if isinstance(value, list) and len(value) == 1:
        return _score(value[0])
    return None
