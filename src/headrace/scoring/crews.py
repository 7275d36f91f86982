"""Models that are scored by processes in their own environment, beside the embedded engine.

The engine's functions run in this process, where they find the crew by its name; the processes
load the model once, and end with the scoring.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.ids import new_id
from headrace.scoring.columns import typed_columns
from headrace.scoring.predict import prediction_table

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.workers import BatchWorker

_CREWS: dict[str, queue.SimpleQueue[BatchWorker]] = {}


@dataclass(frozen=True)
class WorkerScorer:
    """An MLflow model in processes of its own environment; for the embedded engine alone.

    Attributes:
        crew: of ``working``, whose processes it uses.
        types, optional, chunk_rows: as for ``PyfuncScorer``.
    """

    crew: str
    types: Mapping[str, str]
    optional: frozenset[str]
    chunk_rows: int

    def answers(self, table: pa.Table) -> pa.Table:
        """Predictions of a worker that is free; waits for one."""
        from headrace.payloads.inputs import Inputs

        columns = typed_columns(table, self.types, self.optional)
        inputs = Inputs(table.num_rows, dict[str | int, Any](columns.items())).arrow()
        free = _CREWS[self.crew]
        worker = free.get()
        try:
            result = worker.predict(inputs)
        finally:
            free.put(worker)
        return worker_table(result, table.num_rows)


@contextmanager
def working(workers: Sequence[BatchWorker]) -> Iterator[str]:
    """A crew that predicts until the context ends; gives its name."""
    name = new_id("crew")
    free: queue.SimpleQueue[BatchWorker] = queue.SimpleQueue()
    for worker in workers:
        free.put(worker)
    _CREWS[name] = free
    try:
        yield name
    finally:
        del _CREWS[name]
        for worker in workers:
            worker.close()


def worker_table(result: Any, rows: int) -> pa.Table:
    """What a worker answered, as ``prediction_table`` gives it for the same model."""
    import numpy as np

    from headrace.workers import kind_of

    kind = kind_of(result)
    if kind == "json":
        return prediction_table(np.asarray(result), rows)
    if kind == "vector":
        return prediction_table(result.column(0).to_numpy(), rows)
    plain = result.replace_schema_metadata(None)
    unnamed = [name for name in plain.column_names if name.isdigit()]
    if len(unnamed) == len(plain.column_names) == 1:
        return prediction_table(plain.column(0).to_numpy(), rows)
    names = [f"score_{name}" if name in unnamed else name for name in plain.column_names]
    return prediction_table(plain.rename_columns(names), rows)
