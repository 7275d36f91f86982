"""A reference to a model that leads nowhere."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.errors import HeadraceError, did_you_mean


class RegistryError(HeadraceError):
    """Base of the errors of the registry."""

    code = "registry_error"
    status = 404


class InvalidReferenceError(RegistryError):
    """The text is no reference to a model version."""

    code = "invalid_model_reference"
    status = 400

    def __init__(self, reference: str) -> None:
        self.reference = reference
        super().__init__(
            f'"{reference}" does not name a model version.',
            why="a reference is name@alias, name/3 or name",
            next="headrace status shows the models and their aliases",
        )


class ModelNotFoundError(RegistryError):
    """No registered model of that name."""

    code = "model_not_found"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name, self.known = name, list(known)
        listed = ", ".join(known) or "none yet"
        super().__init__(
            f"There is no registered model {name}.",
            why=did_you_mean(name, known) or f"registered are: {listed}",
            next="headrace run trains and registers the models of headrace.yaml",
        )


class ModelVersionNotFoundError(RegistryError):
    """The model has no such version."""

    code = "model_version_not_found"

    def __init__(self, name: str, version: int | None, known: Sequence[int]) -> None:
        self.name, self.version, self.known = name, version, list(known)
        listed = ", ".join(str(number) for number in known)
        super().__init__(
            f"Model {name} has no version {version}." if version else f"{name} has no versions.",
            why=f"its versions are {listed}" if known else "nothing has been registered",
            next="headrace status shows the versions",
        )


class AliasNotFoundError(RegistryError):
    """The model has no such alias."""

    code = "alias_not_found"

    def __init__(self, name: str, alias: str, known: Sequence[str]) -> None:
        self.name, self.alias, self.known = name, alias, list(known)
        why = did_you_mean(alias, known) or (
            f"its aliases are {', '.join(known)}" if known else "no version has passed the gate"
        )
        super().__init__(
            f"Model {name} has no alias {alias}.",
            why=why,
            next="headrace run judges the newest version; headrace status shows the verdicts",
        )


class ModelIdUnknownError(RegistryError):
    """The version was registered from files that are no logged model."""

    code = "model_id_unknown"
    status = 409

    def __init__(self, name: str, version: int, source: str) -> None:
        self.name, self.version, self.source = name, version, source
        super().__init__(
            f"Version {version} of model {name} has no immutable model id.",
            where=source,
            why="it was registered from a path; its files could change under the same address",
            next="log the model with log_model(...) and register what that returns",
        )
