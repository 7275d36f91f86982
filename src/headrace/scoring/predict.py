"""The functions that run beside the data: Arrow batches in, predictions out.

They are sent to the engine's Python workers by value, with ``columns`` and the kernels' runtime:
a worker needs numpy, pyarrow, and what the model needs (onnxruntime for a kernel; mlflow and its
libraries for a pyfunc), at the versions of this process, and not this package.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from headrace.kernels.runtime import Kernel
from headrace.scoring.columns import typed_columns

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_CACHE = "_headrace_models"


class Scorer(Protocol):
    """What predicts: sent to the engine's workers, so it holds little and loads late."""

    @property
    def chunk_rows(self) -> int:
        """Rows predicted at once; with the width of a row, the bound on memory."""

    def answers(self, table: pa.Table) -> pa.Table:
        """One row of predictions for each row, see ``prediction_table``."""


@dataclass(frozen=True)
class PyfuncScorer:
    """An MLflow model of any flavor, in the worker's own process and environment.

    Attributes:
        path: directory of one immutable model.
        types, optional: its inputs, see ``columns.typed_columns``.
    """

    path: str
    types: Mapping[str, str]
    optional: frozenset[str]
    chunk_rows: int

    def answers(self, table: pa.Table) -> pa.Table:
        """Predictions of the loaded model."""
        frame = model_frame(table, self.types, self.optional)
        return prediction_table(load(self.path).predict(frame), table.num_rows)


@dataclass(frozen=True)
class KernelScorer:
    """A proven kernel.

    Attributes:
        digest: of its graph.
        directory: where it lies, for workers that share this machine's disk.
        files: name and content of its files instead, for workers that do not.
        types, optional, chunk_rows: as for ``PyfuncScorer``.
    """

    digest: str
    directory: str | None
    files: Mapping[str, bytes] | None
    types: Mapping[str, str]
    optional: frozenset[str]
    chunk_rows: int

    def answers(self, table: pa.Table) -> pa.Table:
        """Predictions of the kernel, which each process reads once."""
        import pyarrow as pa

        kernel = _once(self.digest, self._read)
        return pa.table(
            kernel.predict(typed_columns(table, self.types, self.optional), table.num_rows)
        )

    def _read(self) -> Kernel:
        import tempfile
        from pathlib import Path

        if self.files is None:
            assert self.directory is not None  # noqa: S101  # one of the two is given
            return Kernel(self.directory)
        with tempfile.TemporaryDirectory() as scratch:
            for name, content in self.files.items():
                (Path(scratch) / name).write_bytes(content)
            return Kernel(scratch)


def load(path: str) -> Any:
    """The pyfunc model at ``path``, loaded once a process.

    ``path`` must hold one immutable model: the cache never looks again.

    Raises:
        FileNotFoundError: the worker does not see the project's directory.
    """

    def read() -> Any:
        from pathlib import Path

        import mlflow.pyfunc

        if not Path(path).is_dir():
            raise FileNotFoundError(
                f"the model's directory {path} is not there on the engine's worker: mount the "
                "project's directory, or score with HEADRACE_ENGINE=sail"
            )
        return mlflow.pyfunc.load_model(path)

    return _once(path, read)


def _once(key: str, read: Callable[[], Any]) -> Any:
    """What ``read`` gave the first time in this process.

    The cache hangs on ``sys.modules`` because each unpickling of these functions makes new
    globals.
    """
    import threading
    import types

    fresh: Any = types.ModuleType(_CACHE)
    fresh.models, fresh.lock = {}, threading.Lock()
    cache: Any = sys.modules.setdefault(_CACHE, fresh)
    with cache.lock:
        if key not in cache.models:
            cache.models[key] = read()
        return cache.models[key]


def model_frame(
    table: pa.Table, types: Mapping[str, str], optional: frozenset[str] = frozenset()
) -> pd.DataFrame:
    """The model's inputs as pandas: what a request of the same rows gives.

    Raises:
        UnfitColumnError: a value does not fit its type; names the column.
    """
    import pandas as pd

    columns = typed_columns(table, types, optional)
    return pd.DataFrame(columns, index=range(table.num_rows))


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
    scorer: Scorer, kept: Sequence[str], predictions: Sequence[tuple[str, str]]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for ``mapInArrow``.

    Args:
        scorer: what predicts.
        kept: input columns that pass through, before the predictions.
        predictions: name and Arrow type alias of each prediction column.
    """

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        waiting: list[pa.RecordBatch] = []
        rows = 0
        for batch in batches:
            for start in range(0, batch.num_rows, scorer.chunk_rows):
                part = batch.slice(start, scorer.chunk_rows)
                if rows + part.num_rows > scorer.chunk_rows:
                    yield from predict(pa.Table.from_batches(waiting))
                    waiting, rows = [], 0
                waiting.append(part)
                rows += part.num_rows
        if waiting:
            yield from predict(pa.Table.from_batches(waiting))

    def predict(table: pa.Table) -> list[pa.RecordBatch]:
        import pyarrow as pa

        answers = scorer.answers(table)
        columns = [table.column(name) for name in kept]
        for name, alias in predictions:
            if name not in answers.column_names:
                raise ValueError(f'the model returned no column "{name}": {answers.column_names}')
            columns.append(answers.column(name).cast(pa.type_for_alias(alias)))
        names = [*kept, *(name for name, _ in predictions)]
        batches: list[pa.RecordBatch] = pa.table(columns, names=names).combine_chunks().to_batches()
        return batches

    return score
