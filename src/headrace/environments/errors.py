"""What can go wrong with a model's environment."""

from __future__ import annotations

from pathlib import Path

from headrace.errors import HeadraceError


class LockNotFoundError(HeadraceError):
    """A model's directory that does not say what the model needs."""

    code = "lock_not_found"

    def __init__(self, model: Path) -> None:
        self.model = model
        super().__init__(
            "The model does not say which libraries it needs.",
            where=str(model),
            why="there is neither environment.lock nor requirements.txt",
            next="log it again, with MLflow 1.20 or newer",
        )


class EnvironmentBuildError(HeadraceError):
    """The environment of a model cannot be built.

    Attributes:
        requirement: the one that failed, where it is known.
    """

    code = "environment_build_failed"

    def __init__(self, where: str, requirement: str | None, why: str, next: str) -> None:
        self.requirement = requirement
        what = "The environment cannot be built"
        super().__init__(
            f"{what}: {requirement} cannot be installed." if requirement else f"{what}.",
            where=where,
            why=why,
            next=next,
        )
