"""What can go wrong when a worker scores, with the HTTP status each answers."""

from __future__ import annotations

import math

from headrace.errors import HeadraceError


class ModelFailedError(HeadraceError):
    """The model raised an error, or returned what is no prediction a row.

    Attributes:
        kind: the type of the model's error.
        reason: type and first line of it.
    """

    code = "prediction_failed"

    def __init__(self, model: str, kind: str, reason: str) -> None:
        self.model, self.kind, self.reason = model, kind, reason
        super().__init__(
            "The model could not score this input.",
            where=model,
            why=reason,
            next="compare the values with the model's training data",
        )


class WorkerDiedError(HeadraceError):
    """A worker's process ended while it scored this request; another takes its place."""

    code = "worker_died"
    status = 503
    retry_after = 1

    def __init__(self, model: str, why: str) -> None:
        self.model = model
        super().__init__(
            "The process that scored this request ended before it answered.",
            where=model,
            why=why,
            next="send it again; if it fails again, score its rows one by one to find the cause",
        )


class WorkerDeadlineError(HeadraceError):
    """The answer was not there in time."""

    code = "deadline_exceeded"
    status = 504

    def __init__(self, model: str, seconds: float) -> None:
        self.model, self.seconds = model, seconds
        super().__init__(
            f"The prediction took longer than {seconds:.3g} s.",
            where=model,
            next="send fewer rows in one request, or score the table in batch: headrace score",
        )


class WorkersBusyError(HeadraceError):
    """More requests wait than can be answered before their deadline.

    Attributes:
        retry_after: whole seconds until it is worth another try.
    """

    code = "overloaded"
    status = 429

    def __init__(self, model: str, queued: int, seconds: float) -> None:
        self.model, self.queued = model, queued
        self.retry_after = max(1, math.ceil(seconds))
        super().__init__(
            "The deployment is overloaded.",
            where=model,
            why=f"{queued} requests wait already, for about {seconds:.2g} s",
            next="try again after the time in the Retry-After header, or raise workers.max",
        )


class WorkersUnavailableError(HeadraceError):
    """There is no worker, and none comes in time.

    Attributes:
        retry_after: whole seconds until the next try to start one.
    """

    code = "workers_unavailable"
    status = 503

    def __init__(self, model: str, why: str, seconds: float) -> None:
        self.model = model
        self.retry_after = max(1, math.ceil(seconds))
        super().__init__(
            "No worker of this deployment is running.",
            where=model,
            why=why,
            next="headrace endpoints; headrace doctor",
        )


class WorkerStartError(HeadraceError):
    """A worker did not come up: the model does not load, or takes too long or too much."""

    code = "worker_start_failed"
    status = 503

    def __init__(self, model: str, why: str) -> None:
        self.model = model
        super().__init__(
            "The model does not load in a worker.",
            where=model,
            why=why,
            next="load it with mlflow.pyfunc.load_model in the same environment",
        )


class PoolClosedError(HeadraceError):
    """The pool is closed: the deployment was withdrawn, or the plane stops."""

    code = "deployment_closed"
    status = 503
    retry_after = 1

    def __init__(self, model: str) -> None:
        self.model = model
        super().__init__("This deployment takes no more requests.", where=model)
