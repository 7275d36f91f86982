"""What a pool tells of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WorkerStats:
    """A pool at one moment.

    Attributes:
        workers: that have the model loaded.
        starting: that are loading it.
        busy: that work on a batch.
        queued: requests that wait.
        restarts: workers that ended otherwise than by the pool's wish, since it started.
        memory: bytes of all workers.
        predict_seconds: the median time of the latest calls of ``predict``; ``None`` before any.
        start_seconds: the time that the latest worker took to load the model.
    """

    workers: int
    starting: int
    busy: int
    queued: int
    restarts: int
    memory: int
    predict_seconds: float | None
    start_seconds: float | None
