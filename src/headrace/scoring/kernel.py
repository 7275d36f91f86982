"""The function that runs beside the data: Arrow batches in, predictions out.

It is sent to the engine's Python workers by value, so it may import nothing of this package;
``mlflow``, ``pandas`` and ``pyarrow`` must be there, at the versions of this process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_CACHE = "_headrace_models"


def load(path: str) -> Any:
    """The pyfunc model at ``path``, loaded once a process.

    ``path`` must hold one immutable model: the cache never looks again. The cache hangs on
    ``sys.modules`` because each unpickling of this module's functions makes new globals.
    """
    import threading
    import types

    fresh: Any = types.ModuleType(_CACHE)
    fresh.models, fresh.lock = {}, threading.Lock()
    cache: Any = sys.modules.setdefault(_CACHE, fresh)
    with cache.lock:
        if path not in cache.models:
            import mlflow.pyfunc

            cache.models[path] = mlflow.pyfunc.load_model(path)
        return cache.models[path]


def model_frame(table: pa.Table, types: Mapping[str, str]) -> pd.DataFrame:
    """The model's inputs as pandas, cast to the types of its signature.

    Args:
        table: holds at least the columns of ``types``.
        types: signature type by column, ``"any"`` to leave it; the order of the frame's columns.

    Raises:
        ValueError: a value does not fit its type; names the column.
    """
    import pyarrow as pa

    arrow = {
        "boolean": pa.bool_(),
        "integer": pa.int32(),
        "long": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "string": pa.string(),
        "binary": pa.binary(),
    }
    columns = []
    for name, kind in types.items():
        column = table.column(name)
        target = arrow.get(kind)
        if target is not None and column.type != target:
            try:
                # To a narrower float is what a float signature asks for; the rest must be exact.
                column = column.cast(target, safe=kind != "float")
            except pa.ArrowInvalid as error:
                raise ValueError(f'column "{name}" is no {kind}: {error}') from error
        if kind in ("boolean", "integer", "long") and column.null_count:
            raise ValueError(
                f'column "{name}" holds {column.null_count} nulls, and the model\'s signature says '
                f"{kind}, which has none; train it with a double column, or fill the nulls"
            )
        columns.append(column)
    frame: pd.DataFrame = pa.table(columns, names=list(types)).to_pandas()
    return frame


def prediction_table(predictions: Any, rows: int) -> pa.Table:
    """Whatever a pyfunc returns, as columns.

    A frame keeps its column names. One number a row becomes ``score``, any other single value
    ``label``; several numbers a row become ``score_0``, ``score_1``, ...

    Raises:
        ValueError: there is not one prediction a row.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    if isinstance(predictions, pd.Series) and isinstance(predictions.name, str):
        predictions = predictions.to_frame()
    if isinstance(predictions, pa.Table):
        table = predictions
    elif isinstance(predictions, pd.DataFrame):
        frame = predictions.rename(columns={name: str(name) for name in predictions.columns})
        unnamed = [name for name in frame.columns if name.isdigit()]
        if len(unnamed) == len(frame.columns) == 1:
            return prediction_table(frame.iloc[:, 0].to_numpy(), rows)
        frame = frame.rename(columns={name: f"score_{name}" for name in unnamed})
        table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    else:
        values = np.asarray(predictions)
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim == 1:
            numeric = values.dtype.kind in "iuf"
            name = "score" if numeric else "label"
            table = pa.table({name: pa.array(values if numeric else values.tolist())})
        elif values.ndim == 2:
            names = [f"score_{index}" for index in range(values.shape[1])]
            table = pa.table({name: values[:, index] for index, name in enumerate(names)})
        else:
            raise ValueError(f"the model returned an array of shape {values.shape}")
    if table.num_rows != rows:
        raise ValueError(f"the model returned {table.num_rows} predictions for {rows} rows")
    return table


def predictor(
    path: str,
    types: Mapping[str, str],
    kept: Sequence[str],
    predictions: Sequence[tuple[str, str]],
    chunk_rows: int,
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for ``mapInArrow``.

    Args:
        path: directory of one immutable model.
        types: the model's inputs, see ``model_frame``.
        kept: input columns that pass through, before the predictions.
        predictions: name and Arrow type alias of each prediction column.
        chunk_rows: rows that are predicted at once; with the width of a row, the bound on memory.
    """

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        waiting: list[pa.RecordBatch] = []
        rows = 0
        for batch in batches:
            for start in range(0, batch.num_rows, chunk_rows):
                part = batch.slice(start, chunk_rows)
                if rows + part.num_rows > chunk_rows:
                    yield from predict(pa.Table.from_batches(waiting))
                    waiting, rows = [], 0
                waiting.append(part)
                rows += part.num_rows
        if waiting:
            yield from predict(pa.Table.from_batches(waiting))

    def predict(table: pa.Table) -> list[pa.RecordBatch]:
        import pyarrow as pa

        answers = prediction_table(load(path).predict(model_frame(table, types)), table.num_rows)
        columns = [table.column(name) for name in kept]
        for name, alias in predictions:
            if name not in answers.column_names:
                raise ValueError(f'the model returned no column "{name}": {answers.column_names}')
            columns.append(answers.column(name).cast(pa.type_for_alias(alias)))
        names = [*kept, *(name for name, _ in predictions)]
        batches: list[pa.RecordBatch] = pa.table(columns, names=names).combine_chunks().to_batches()
        return batches

    return score
