"""What a model returned, as one JSON value and one score a row."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

SCORE_COLUMN = "score"


@dataclass(frozen=True)
class Predictions:
    """One entry a row.

    Attributes:
        values: JSON values as MLflow's scoring server gives them: an object a row for a
            DataFrame or a Series, else the row's own value.
        scores: the column ``score``, else the only number of the row, else ``None``.
    """

    values: list[Any]
    scores: list[float | None]


def predictions_of(raw: Any, rows: int) -> Predictions:
    """Predictions of a model for a request of so many rows.

    Raises:
        ValueError: the model did not return one prediction a row.
    """
    values = _listed(raw)
    if values is None or len(values) != rows:
        count = "a value that is no list" if values is None else f"{len(values)} predictions"
        raise ValueError(f"it returned {count} for {rows} rows")
    plain = [jsonable(value) for value in values]
    return Predictions(plain, [_score(value) for value in plain])


def _listed(raw: Any) -> list[Any] | None:
    import numpy as np
    import pandas as pd

    if isinstance(raw, pd.Series):
        raw = pd.DataFrame(raw)
    if isinstance(raw, pd.DataFrame):
        raw.columns = [str(column) for column in raw.columns]
        return raw.to_dict(orient="records")
    if isinstance(raw, np.ndarray):
        return raw.tolist() if raw.ndim else None
    if isinstance(raw, dict):
        # As named tensors: one array an output, all of one length.
        columns = {str(name): _listed(column) for name, column in raw.items()}
        if not columns or None in columns.values():
            return None
        rows = zip(*[column or [] for column in columns.values()], strict=False)
        return [dict(zip(columns, row, strict=True)) for row in rows]
    return list(raw) if isinstance(raw, list | tuple) else None


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
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    return None if _is_pandas_na(value) else str(value)


def _is_pandas_na(value: Any) -> bool:
    import pandas as pd

    return value is pd.NA


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
