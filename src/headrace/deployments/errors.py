"""What can go wrong with a request of MLflow's deployment client."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.errors import HeadraceError, did_you_mean


class InvalidDeploymentConfigError(HeadraceError):
    """The ``config`` of a call is not one of this target."""

    code = "invalid_deployment_config"

    def __init__(self, why: str, *, key: str | None = None, known: Iterable[str] = ()) -> None:
        self.key = key
        hint = did_you_mean(key, known) if key else None
        super().__init__(
            "The configuration of the deployment is not valid.",
            where=f'config["{key}"]' if key else "config",
            why=f"{why}; {hint}" if hint else why,
            next="mlflow deployments help -t headrace",
        )


class InvalidModelUriError(HeadraceError):
    """A model URI that names no registered version."""

    code = "invalid_model_uri"

    def __init__(self, uri: str) -> None:
        self.uri = uri
        super().__init__(
            f'"{uri}" names no registered version.',
            why="an endpoint answers with registered versions",
            next="models:/NAME/VERSION, or models:/NAME@ALIAS",
        )


class DeploymentNameError(HeadraceError):
    """The name of a deployment that cannot be made or changed as asked."""

    code = "deployment_name"
    status = 409

    def __init__(self, endpoint: str, name: str, why: str, next: str) -> None:
        self.endpoint, self.name = endpoint, name
        super().__init__(
            f'"{name}" is not the deployment to do this to.',
            where=f"endpoint {endpoint}",
            why=why,
            next=next,
        )


class DeploymentNotFoundError(HeadraceError):
    """An endpoint has no such deployment."""

    code = "deployment_not_found"
    status = 404

    def __init__(self, endpoint: str, name: str, known: Iterable[str]) -> None:
        self.endpoint, self.name, self.known = endpoint, name, sorted(known)
        super().__init__(
            f'Endpoint "{endpoint}" has no deployment "{name}".',
            why=did_you_mean(name, self.known)
            or (f"it has {', '.join(self.known)}" if self.known else "nothing is deployed"),
            next="headrace endpoints",
        )


class DeploymentFailedError(HeadraceError):
    """A deployment did not become ready."""

    code = "deployment_failed"
    status = 409

    def __init__(self, endpoint: str, name: str, why: str) -> None:
        self.endpoint, self.name = endpoint, name
        super().__init__(
            f'Deployment "{name}" of endpoint "{endpoint}" did not become ready.',
            where=endpoint,
            why=why,
            next="headrace endpoints",
        )


class ProjectNeededError(HeadraceError):
    """A target of an address alone was asked to change what is deployed."""

    code = "project_needed"

    def __init__(self, target: str) -> None:
        self.target = target
        super().__init__(
            "A scoring plane answers, it does not deploy.",
            where=target,
            next="get_deploy_client('headrace:/path/to/project')",
        )


class PlaneUnreachableError(HeadraceError):
    """No scoring plane answers at the address."""

    code = "plane_unreachable"
    status = 503

    def __init__(self, where: str, why: str) -> None:
        self.where_asked = where
        super().__init__("No scoring plane answers.", where=where, why=why, next="headrace up")


class RefusedError(HeadraceError):
    """The scoring plane refused a request; its own words."""

    def __init__(self, status: int, body: dict[str, str]) -> None:
        super().__init__(
            body.get("message", f"The scoring plane answered with status {status}."),
            where=body.get("where"),
            why=body.get("why"),
            next=body.get("next"),
        )
        self.status = status
        self.code = body.get("error_code", "error")
