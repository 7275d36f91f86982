"""What can go wrong in the scoring plane, with the HTTP status each answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headrace.errors import HeadraceError
from headrace.workers.errors import ModelFailedError, WorkerDeadlineError, WorkersBusyError


class PlaneFailedError(HeadraceError):
    """The scoring plane did not come up."""

    code = "plane_failed"

    def __init__(self, why: str, log: Path | None) -> None:
        self.log = log
        super().__init__(
            "The scoring plane does not start.",
            where=str(log) if log else None,
            why=why,
            next="headrace doctor",
        )


class TokenUnreadableError(HeadraceError):
    """The file of the bearer token holds none."""

    code = "token_unreadable"

    def __init__(self, file: Path, why: str) -> None:
        self.file = file
        super().__init__(
            "The bearer token cannot be read.",
            where=str(file),
            why=why,
            next=f"rm {file}; the next start makes a new one",
        )


class UnauthorizedError(HeadraceError):
    """The bearer token is missing or wrong."""

    code = "unauthorized"
    status = 401

    def __init__(self, why: str) -> None:
        super().__init__(
            "This request needs the project's bearer token.",
            why=why,
            next="send the header Authorization: Bearer TOKEN; the token is in .headrace/token",
        )


class PredictionFailedError(ModelFailedError):
    """A kernel raised an error on input that fits its signature, or returned no predictions."""

    def __init__(self, model: str, why: str) -> None:
        super().__init__(model, why.partition(":")[0], why)


class VersionNotLiveError(HeadraceError):
    """The path asks for a version of the model that the endpoint does not serve."""

    code = "version_not_live"
    status = 404

    def __init__(self, endpoint: str, version: int, served: Sequence[int]) -> None:
        self.endpoint, self.version = endpoint, version
        listed = ", ".join(str(one) for one in served)
        super().__init__(
            f"Version {version} is not live.",
            where=f"endpoint {endpoint}",
            why=f"it serves {listed}" if listed else "no version is loaded",
            next=f"leave /versions/{version} out of the path",
        )


class DeploymentNotLiveError(HeadraceError):
    """A header asks for a deployment that the endpoint does not have."""

    code = "deployment_not_live"
    status = 404

    def __init__(self, endpoint: str, colour: str, live: Sequence[str]) -> None:
        self.endpoint, self.colour = endpoint, colour
        super().__init__(
            f'Deployment "{colour}" is not live.',
            where=f"endpoint {endpoint}",
            why=f"live are {', '.join(live)}" if live else "none is loaded",
            next="leave the header azureml-model-deployment out",
        )


class BodyTooLargeError(HeadraceError):
    """The body exceeds the limit."""

    code = "body_too_large"
    status = 413

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(
            "The request is too large.",
            why=f"the limit is {limit} bytes",
            next="send fewer rows in one request, or score the table in batch: headrace score",
        )


class SlowRequestError(HeadraceError):
    """The client did not send its body in time."""

    code = "request_timeout"
    status = 408

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The body of the request did not arrive within {seconds:g} s.")


class DeadlineExceededError(WorkerDeadlineError):
    """The answer of a kernel was not there in time."""

    def __init__(self, seconds: float) -> None:
        HeadraceError.__init__(
            self,
            f"The prediction took longer than {seconds:g} s.",
            next="send fewer rows in one request, or score the table in batch: headrace score",
        )


class OverloadedError(WorkersBusyError):
    """More requests wait in the plane itself than can be answered before their deadline."""

    def __init__(self, waiting: int) -> None:
        self.waiting, self.retry_after = waiting, 1
        HeadraceError.__init__(
            self,
            "The scoring plane is overloaded.",
            why=f"{waiting} requests wait already",
            next="try again after the time in the Retry-After header",
        )


class RequestLogUnavailableError(HeadraceError):
    """The answer could not be logged, so it is not given."""

    code = "request_log_unavailable"
    status = 503
    retry_after = 5

    def __init__(self, why: str) -> None:
        super().__init__("The request log cannot be written.", why=why, next="headrace doctor")


class InternalError(HeadraceError):
    """A defect of the scoring plane."""

    code = "internal_error"
    status = 500

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(
            "The scoring plane has a defect.",
            why=kind,
            next="report it with the log of headrace up",
        )


class HttpError(HeadraceError):
    """An error of HTTP itself: no such route, no such method."""

    code = "http_error"

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what, next="see docs/serving.md")
        self.status = status
