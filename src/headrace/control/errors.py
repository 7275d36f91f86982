"""What the control plane refuses, in the shape of MLflow's errors."""

from __future__ import annotations

import json
from typing import Final

from headrace.errors import HeadraceError

_MLFLOW: Final = {
    400: "INVALID_PARAMETER_VALUE",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "ENDPOINT_NOT_FOUND",
    408: "TEMPORARILY_UNAVAILABLE",
    413: "INVALID_PARAMETER_VALUE",
    503: "TEMPORARILY_UNAVAILABLE",
}


class ControlError(HeadraceError):
    """Base of what the control plane refuses."""

    code = "control_refused"
    status = 403

    def body(self) -> bytes:
        """``error_code`` and ``message``, as MLflow's client reads them."""
        text = " ".join(each for each in (self.what, self.why, self.next) if each)
        return json.dumps({"error_code": _MLFLOW[self.status], "message": text}).encode()


class UnauthorizedError(ControlError):
    """The request does not carry the project's token."""

    code = "unauthorized"
    status = 401

    def __init__(self, why: str) -> None:
        super().__init__(
            "The control plane wants the project's token.",
            why=f"{why[0].upper()}{why[1:]}.",
            next="Set MLFLOW_TRACKING_TOKEN to the content of .headrace/token, or open the link "
            "that headrace up prints.",
        )


class RouteNotListedError(ControlError):
    """A route that is not on the list, be it of MLflow's or of nobody's."""

    code = "route_not_listed"

    def __init__(self, method: str, path: str) -> None:
        self.method, self.path = method, path
        super().__init__(
            f"{method} {path[:200]} is not served here.",
            why="Only the routes of tracking, models and artifacts are; see docs/control.md.",
        )


class ForeignRequestError(ControlError):
    """A request that a page of another site made."""

    code = "foreign_request"

    def __init__(self, why: str) -> None:
        super().__init__("The request comes from elsewhere.", why=why)


class ProtectedError(ControlError):
    """The move of a protected alias, or a change of what it rests on."""

    code = "alias_protected"

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        super().__init__(sentence)


class OutsideArtifactsError(ControlError):
    """An experiment that would keep its artifacts where the project does not."""

    code = "outside_artifacts"
    status = 400

    def __init__(self, location: str) -> None:
        self.location = location
        super().__init__(
            f'Artifacts cannot be kept at "{location[:200]}".',
            why="The control plane reads and writes below the project's artifacts alone.",
            next="Leave artifact_location out.",
        )


class BodyTooLargeError(ControlError):
    """A body above its bound."""

    code = "body_too_large"
    status = 413

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"The body is larger than {limit:,} bytes.")


class TooSlowError(ControlError):
    """A body that does not arrive, or an answer that is not made, in time."""

    code = "too_slow"
    status = 408

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"The request took longer than {seconds:g} s.")


class BusyError(ControlError):
    """Too many requests at once."""

    code = "busy"
    status = 503

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"{limit} requests are under way already.", next="Try again.")
