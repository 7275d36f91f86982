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


class RequirementsNotFoundError(HeadraceError):
    """A project without ``requirements.txt``: there is nothing to lock."""

    code = "requirements_not_found"

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            "The project does not say which libraries it needs.",
            where=str(path),
            why="there is no such file",
            next="write one requirement a line into it, such as scikit-learn>=1.7,<2, "
            "then type: headrace lock",
        )


class ProjectLockNotFoundError(HeadraceError):
    """A project without ``requirements.lock``, where one is asked about."""

    code = "project_lock_not_found"

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            "The project has no lock.",
            where=str(path),
            why="none was made yet, so training uses whatever is installed",
            next="headrace lock",
        )


class LockResolutionError(HeadraceError):
    """uv finds no set of versions, or cannot ask for them.

    Attributes:
        requirement: the one that failed, where it is known.
        beside: what Headrace itself asks of that distribution.
        unreachable: no index answered.
    """

    code = "lock_resolution_failed"

    def __init__(
        self,
        path: Path,
        requirement: str | None,
        why: str,
        *,
        beside: str | None = None,
        offline: bool = False,
        unreachable: bool = False,
    ) -> None:
        self.path, self.requirement, self.beside = path, requirement, beside
        self.offline, self.unreachable = offline, unreachable
        if beside and not unreachable:
            why += f" (Headrace, beside which training runs, needs {beside})"
        if offline:
            step = "headrace lock, with the network; or headrace lock --from-environment"
        elif unreachable:
            step = "headrace lock --offline; or headrace lock --from-environment"
        else:
            step = f"mend {path.name}, then type: headrace lock"
        what = f"{path.name} cannot be resolved"
        if unreachable:
            what += ": no index answers."
        else:
            what += f": there is no answer for {requirement}." if requirement else "."
        super().__init__(
            what,
            where=str(path),
            why=why,
            next=step,
        )


class NotInstalledError(HeadraceError):
    """The environment to be locked is not what the requirements ask for."""

    code = "requirements_not_installed"

    def __init__(self, path: Path, differences: list[str]) -> None:
        self.path, self.differences = path, differences
        super().__init__(
            f"This environment is not what {path.name} asks for, so it cannot be its lock.",
            where=str(path),
            why="\n         ".join(differences),
            next=f"python -m uv pip install -r {path.name}, "
            "then type: headrace lock --from-environment",
        )
