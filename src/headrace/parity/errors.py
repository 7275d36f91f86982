"""What stands in the way of comparing, and what a comparison found."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import HeadraceError

if TYPE_CHECKING:
    from headrace.parity.environment import EnvironmentReport
    from headrace.parity.report import ParityReport


class ParityError(HeadraceError):
    """Base of the errors of parity."""

    code = "parity_error"
    status = 409


class RecordDamagedError(ParityError):
    """The answers that were recorded at training cannot be used."""

    code = "parity_record_damaged"

    def __init__(self, directory: Path, why: str) -> None:
        self.directory = directory
        super().__init__(
            "The answers that the training recorded cannot be used.",
            where=str(directory),
            why=why,
            next="bring the model's files back, or train it again: headrace run --full",
        )


class DisagreementError(ParityError):
    """The same rows got other answers than at training.

    Attributes:
        report: what was compared.
    """

    code = "parity_disagreement"

    def __init__(self, model: str, report: ParityReport) -> None:
        self.model, self.report = model, report
        super().__init__(
            f"{model} does not answer as it did when it was trained.",
            where=report.route,
            why=report.reason,
            next=f"headrace parity {model}",
        )


class EnvironmentUnreadableError(ParityError):
    """An interpreter does not say what it can import."""

    code = "environment_unreadable"

    def __init__(self, python: Path, why: str) -> None:
        self.python = python
        super().__init__(
            "The environment that serves does not answer.",
            where=str(python),
            why=why,
            next="remove its directory, and it is built again: headrace run",
        )


class EnvironmentDiffersError(ParityError):
    """The environment that would serve is not the one that trained.

    Attributes:
        report: what was compared.
    """

    code = "environment_differs"

    def __init__(self, model: str, report: EnvironmentReport) -> None:
        self.model, self.report = model, report
        super().__init__(
            f"{model} was trained in another environment than the one that would serve it.",
            where=f"{report.serves}, Python {report.python}",
            why=report.reason,
            next=f"headrace parity {model}",
        )


class NoRequestsError(ParityError):
    """There is no logged request to compare."""

    code = "no_requests"
    status = 404

    def __init__(self, endpoint: str, table: str, since: timedelta | None) -> None:
        self.endpoint, self.table, self.since = endpoint, table, since
        while_ = "" if since is None else f" in the last {since}"
        super().__init__(
            f"{endpoint} has no logged requests{while_}.",
            where=table,
            why="requests are shipped to the table some seconds after they were answered"
            if since is None
            else "the request log has none of that while",
            next=f"headrace endpoints {endpoint}"
            if since is None
            else f"headrace parity {endpoint}",
        )


class NoFeatureKeyError(ParityError):
    """A model does not say which row of which table its features come from."""

    code = "no_feature_key"

    def __init__(self, model: str, lacks: str) -> None:
        self.model, self.lacks = model, lacks
        super().__init__(
            f"{model} does not say which feature rows its requests are about.",
            where=f"models:/{model}",
            why=f"it records no {lacks}",
            next="name the key of the model in headrace.yaml (key: [...]), and headrace run",
        )


class FeatureTableError(ParityError):
    """A table that requests cannot be compared with."""

    code = "feature_table"

    def __init__(self, table: str, why: str) -> None:
        self.table = table
        super().__init__(
            f"Requests cannot be compared with {table}.",
            where=table,
            why=why,
            next="headrace parity ENDPOINT --table NAME compares with another table",
        )
