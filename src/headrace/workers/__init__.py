"""Workers: processes in a model version's own environment that score what has no kernel.

pool = WorkerPool(model, environments.ensure(environments.lock_of(model)), spec, directory)
await pool.start()
result = await pool.predict(table, None, time.monotonic() + 2)
await pool.close()
"""

from __future__ import annotations

from headrace.workers.batch import BatchWorker as BatchWorker
from headrace.workers.batch import BatchWorkerError as BatchWorkerError
from headrace.workers.errors import ModelFailedError as ModelFailedError
from headrace.workers.errors import PoolClosedError as PoolClosedError
from headrace.workers.errors import WorkerDeadlineError as WorkerDeadlineError
from headrace.workers.errors import WorkerDiedError as WorkerDiedError
from headrace.workers.errors import WorkersBusyError as WorkersBusyError
from headrace.workers.errors import WorkerStartError as WorkerStartError
from headrace.workers.errors import WorkersUnavailableError as WorkersUnavailableError
from headrace.workers.pool import WorkerPool as WorkerPool
from headrace.workers.result import Result as Result
from headrace.workers.result import kind_of as kind_of
from headrace.workers.spec import WorkerSpec as WorkerSpec
from headrace.workers.stats import WorkerStats as WorkerStats

__all__ = [
    "BatchWorker",
    "BatchWorkerError",
    "ModelFailedError",
    "PoolClosedError",
    "Result",
    "WorkerDeadlineError",
    "WorkerDiedError",
    "WorkerPool",
    "WorkerSpec",
    "WorkerStartError",
    "WorkerStats",
    "WorkersBusyError",
    "WorkersUnavailableError",
    "kind_of",
]
