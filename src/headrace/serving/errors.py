"""What can go wrong at an endpoint, with the HTTP status each answers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from headrace.errors import HeadraceError, did_you_mean


class EndpointNotFoundError(HeadraceError):
    """No endpoint of that name."""

    code = "endpoint_not_found"
    status = 404

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name, self.known = name, sorted(known)
        hint = did_you_mean(name, self.known)
        listed = ", ".join(self.known[:10]) if self.known else "none is deployed yet"
        super().__init__(
            f'There is no endpoint "{name}".',
            why=hint or f"known endpoints: {listed}",
            next="headrace status" if self.known else "headrace run",
        )


class NoLiveDeploymentError(HeadraceError):
    """The endpoint exists, but nothing answers for it at the moment."""

    code = "no_live_deployment"
    status = 503
    retry_after = 2

    def __init__(self, endpoint: str, reason: str) -> None:
        self.endpoint, self.reason = endpoint, reason
        super().__init__(
            f'Endpoint "{endpoint}" has no live deployment.',
            where=endpoint,
            why=reason,
            next="headrace status",
        )


class DeploymentNotReadyError(HeadraceError):
    """Traffic was to go to a colour that cannot take it."""

    code = "deployment_not_ready"
    status = 409

    def __init__(self, endpoint: str, colour: str, state: str) -> None:
        self.endpoint, self.colour, self.state = endpoint, colour, state
        super().__init__(
            f'Deployment {colour} of endpoint "{endpoint}" cannot take traffic.',
            where=endpoint,
            why=f"its state is {state}; only a ready deployment has answered its smoke request",
            next="headrace status",
        )


class InvalidSharesError(HeadraceError):
    """Traffic shares that are no split of 100 percent over blue and green."""

    code = "invalid_shares"

    def __init__(self, shares: dict[str, int]) -> None:
        self.shares = shares
        super().__init__(
            "The traffic shares are not a split of 100 percent.",
            where=", ".join(f"{colour}={share}" for colour, share in shares.items()),
            why="shares are whole percents of blue and green, from 0 to 100, and add up to 100",
            next="for example blue=90, green=10",
        )


class ModelNotServableError(HeadraceError):
    """A model that cannot be put behind an endpoint."""

    code = "model_not_servable"

    def __init__(self, model: str, why: str, next: str | None = None) -> None:
        self.model = model
        super().__init__(f"{model} cannot be served.", where=model, why=why, next=next)


class PortInUseError(HeadraceError):
    """Another process listens on the port."""

    code = "port_in_use"

    def __init__(self, host: str, port: int, pid: int | None, free: int) -> None:
        self.host, self.port, self.pid = host, port, pid
        super().__init__(
            f"Port {port} is in use.",
            where=f"{host}:{port}",
            why=f"process {pid} listens on it" if pid else "another process listens on it",
            next=f"headrace up --port {free}",
        )


class AddressUnavailableError(HeadraceError):
    """The host or the port cannot be listened on."""

    code = "address_unavailable"

    def __init__(self, host: str, port: int, reason: str) -> None:
        self.host, self.port = host, port
        super().__init__(
            f"Cannot listen on {host}:{port}.",
            where=f"{host}:{port}",
            why=reason,
            next="headrace up --host 127.0.0.1",
        )


class PlaneRunningError(HeadraceError):
    """Another ``headrace up`` serves this project."""

    code = "plane_running"

    def __init__(self, url: str | None, pid: int | None) -> None:
        self.url, self.pid = url, pid
        super().__init__(
            "This project is already being served.",
            where=url,
            why=f"process {pid} holds it" if pid else "another process holds it",
            next="headrace status",
        )


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


class InvalidLogLevelError(HeadraceError):
    """HEADRACE_LOG is no level of a log."""

    code = "invalid_log_level"

    def __init__(self, level: str, known: Iterable[str]) -> None:
        self.level = level
        levels = sorted(name.lower() for name in known)
        super().__init__(
            f'There is no log level "{level}".',
            where="the environment variable HEADRACE_LOG",
            why=did_you_mean(level.lower(), levels) or f"known levels: {', '.join(levels)}",
            next="export HEADRACE_LOG=warning",
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


class MalformedRequestError(HeadraceError):
    """The body of a scoring request does not parse, or is not one of MLflow's payloads."""

    code = "malformed_request"

    def __init__(self, why: str, where: str | None = None, next: str | None = None) -> None:
        super().__init__("The request cannot be read.", where=where, why=why, next=next)


class InvalidInputError(HeadraceError):
    """The payload parses, but its values do not fit the model's signature."""

    code = "invalid_input"

    def __init__(self, why: str, *, column: str | None = None, row: int | None = None) -> None:
        self.column, self.row = column, row
        place = f'column "{column}"' if column is not None else None
        if place and row is not None:
            place += f", row {row}"
        super().__init__("The input does not fit the model's signature.", where=place, why=why)


class PredictionFailedError(HeadraceError):
    """The model raised an error on input that fits its signature."""

    code = "prediction_failed"

    def __init__(self, model: str, why: str) -> None:
        self.model = model
        super().__init__(
            "The model could not score this input.",
            where=model,
            why=why,
            next="compare the values with the model's training data",
        )


class UnsupportedMediaTypeError(HeadraceError):
    """A content type that no codec reads."""

    code = "unsupported_media_type"
    status = 415

    def __init__(self, content_type: str, why: str | None = None) -> None:
        self.content_type = content_type
        super().__init__(
            f'Content type "{content_type}" is not supported.',
            why=why,
            next="send application/json or text/csv in UTF-8",
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


class DeadlineExceededError(HeadraceError):
    """The answer was not there in time."""

    code = "deadline_exceeded"
    status = 504

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The prediction took longer than {seconds:g} s.",
            next="send fewer rows in one request, or score the table in batch: headrace score",
        )


class OverloadedError(HeadraceError):
    """More requests wait than can be answered before their deadline."""

    code = "overloaded"
    status = 429
    retry_after = 1

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        super().__init__(
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
        super().__init__(what, next="see docs/endpoints.md")
        self.status = status
