"""Endpoints of a project in the terms of MLflow's deployment client.

A deployment is a colour of an endpoint: ``blue`` or ``green``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from headrace.deployments.errors import (
    DeploymentFailedError,
    DeploymentNameError,
    DeploymentNotFoundError,
    InvalidDeploymentConfigError,
    InvalidModelUriError,
)
from headrace.endpoints import (
    EndpointSpec,
    declare,
    deploy,
    endpoint_names,
    endpoint_status,
    read_plane,
    shift,
    withdraw,
)
from headrace.endpoints.errors import EndpointNotFoundError
from headrace.endpoints.records import EndpointRecord, hold_endpoint, read_endpoint
from headrace.endpoints.rollout import set_state, touch
from headrace.endpoints.routing import COLOURS, other
from headrace.registry import resolve

if TYPE_CHECKING:
    from headrace.endpoints import DeploymentStatus, EndpointStatus
    from headrace.workspace import Workspace

BY: Final = "mlflow"
WAIT_SECONDS: Final = 120.0
_SETTINGS: Final = ("key", "rollout", "workers", "log")
_POLL_SECONDS: Final = 0.1


def reference_of(model_uri: str) -> str:
    """``name/3`` or ``name@alias`` of ``models:/name/3`` or ``models:/name@alias``.

    Raises:
        InvalidModelUriError: it is another URI.
    """
    reference = model_uri.removeprefix("models:/")
    if reference == model_uri or not ("/" in reference or "@" in reference):
        raise InvalidModelUriError(model_uri)
    return reference


def create_endpoint(workspace: Workspace, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Declare an endpoint; its first deployment follows.

    Raises:
        InvalidDeploymentConfigError: it has no ``model``, or another setting is wrong.
    """
    known = ("model", *_SETTINGS)
    _check_keys(config, known)
    if "model" not in config:
        raise InvalidDeploymentConfigError('"model" is missing: name@alias, or name/version')
    if _record(workspace, name) is not None:
        raise DeploymentNameError(
            name, name, "there is such an endpoint already", "client.update_endpoint(...)"
        )
    declare(workspace, _spec({"name": name, **config}))
    return get_endpoint(workspace, name)


def update_endpoint(workspace: Workspace, name: str, config: Mapping[str, Any]) -> None:
    """Change an endpoint's settings, or split its traffic.

    Raises:
        EndpointNotFoundError: there is no such endpoint.
        InvalidDeploymentConfigError: a setting is wrong.
    """
    _check_keys(config, ("model", "traffic", *_SETTINGS))
    record = _existing(workspace, name)
    settings = {key: value for key, value in config.items() if key != "traffic"}
    if settings:
        declare(workspace, _spec(record.spec.model_dump(mode="json") | settings))
    if "traffic" in config:
        _shift(workspace, name, config["traffic"])


def delete_endpoint(workspace: Workspace, name: str) -> None:
    """Take an endpoint out of service; nothing where there is none."""
    if _record(workspace, name) is not None:
        withdraw(workspace, name)


def list_endpoints(workspace: Workspace) -> list[dict[str, Any]]:
    """Every endpoint."""
    return [get_endpoint(workspace, name) for name in endpoint_names(workspace)]


def get_endpoint(workspace: Workspace, name: str) -> dict[str, Any]:
    """An endpoint, its traffic and its deployments.

    Raises:
        EndpointNotFoundError: there is no such endpoint.
    """
    status = endpoint_status(workspace, name)
    return {
        "name": status.name,
        "model": status.model,
        "state": status.state,
        "url": status.url,
        "traffic": dict(status.shares),
        "deployments": [_described(name, found) for found in _active(status)],
    }


def create_deployment(
    workspace: Workspace,
    endpoint: str,
    colour: str | None,
    model_uri: str,
    config: Mapping[str, Any],
) -> dict[str, Any]:
    """Deploy a version to the endpoint's idle colour, and wait until it is ready.

    Where no scoring plane runs there is nothing to wait for: the deployment is ``loading``.

    Args:
        workspace: the project.
        endpoint: declared if it is new.
        colour: the idle one; ``None`` takes it, whichever it is.
        model_uri: of a registered version.
        config: ``key``, ``rollout``, ``workers`` and ``log`` of the endpoint, and
            ``wait_seconds``.

    Raises:
        DeploymentNameError: the colour answers already.
        DeploymentFailedError: it did not become ready.
    """
    _check_keys(config, (*_SETTINGS, "wait_seconds"))
    seconds = _seconds(config)
    reference = reference_of(model_uri)
    version = resolve(workspace, reference)
    record = _record(workspace, endpoint)
    _check_colour(endpoint, colour, record)
    before = record.spec.model_dump(mode="json") if record else {"name": endpoint}
    settings = {key: value for key, value in config.items() if key != "wait_seconds"}
    spec = _spec(before | settings | {"model": reference})
    made = deploy(workspace, spec, version)
    _await(workspace, endpoint, made.id, seconds)
    found = {status.id: status for status in _active(endpoint_status(workspace, endpoint))}
    status = found.get(made.id)
    if status is None:
        raise DeploymentFailedError(endpoint, made.colour, "it was superseded meanwhile")
    return _described(endpoint, status)


def update_deployment(
    workspace: Workspace,
    endpoint: str,
    colour: str | None,
    model_uri: str | None,
    config: Mapping[str, Any],
) -> None:
    """Give a deployment a share of the traffic, or the idle colour another version.

    ``config["traffic"]`` is the deployment's percent, or that of each colour.
    """
    settings = {key: value for key, value in config.items() if key != "traffic"}
    if model_uri is not None:
        create_deployment(workspace, endpoint, colour, model_uri, settings)
    elif settings:
        _check_keys(config, ("traffic",))
    if "traffic" not in config:
        return
    share = config["traffic"]
    if not isinstance(share, Mapping):
        if colour is None:
            raise InvalidDeploymentConfigError("name a deployment, or each colour", key="traffic")
        share = {colour: share, other(colour): 100 - _percent(share)}
    _shift(workspace, endpoint, share)


def delete_deployment(workspace: Workspace, endpoint: str, colour: str) -> None:
    """Retire a deployment that takes no traffic; nothing where there is none.

    Raises:
        DeploymentNameError: it takes traffic.
    """
    with workspace.store.begin() as connection:
        record = hold_endpoint(connection, endpoint)
        found = record.serving(colour) if record else None
        if record is None or found is None:
            return
        share = record.split.shares.get(colour, 0) if record.split else 0
        if share:
            raise DeploymentNameError(
                endpoint,
                colour,
                f"it takes {share} % of the traffic",
                f'client.update_endpoint("{endpoint}", {{"traffic": {{"{other(colour)}": 100}}}})',
            )
        set_state(connection, found.id, "draining", "deleted through MLflow's client")
        touch(connection, endpoint)


def list_deployments(workspace: Workspace, endpoint: str | None) -> list[dict[str, Any]]:
    """The deployments of an endpoint, or of all."""
    names = endpoint_names(workspace) if endpoint is None else [endpoint]
    return [
        _described(name, found)
        for name in names
        for found in _active(endpoint_status(workspace, name))
    ]


def get_deployment(workspace: Workspace, endpoint: str, colour: str | None) -> dict[str, Any]:
    """One deployment; without a colour that with the largest share of the traffic.

    Raises:
        EndpointNotFoundError: there is no such endpoint.
        DeploymentNotFoundError: it has no such deployment.
    """
    found = _active(endpoint_status(workspace, endpoint))
    matching = [status for status in found if colour in (None, status.colour)]
    if not matching:
        names = [status.colour for status in found]
        raise DeploymentNotFoundError(endpoint, colour or "blue", names)
    return _described(endpoint, max(matching, key=lambda status: status.share))


def _record(workspace: Workspace, endpoint: str) -> EndpointRecord | None:
    with workspace.store.reading() as connection:
        return read_endpoint(connection, endpoint)


def _existing(workspace: Workspace, endpoint: str) -> EndpointRecord:
    record = _record(workspace, endpoint)
    if record is None:
        raise EndpointNotFoundError(endpoint, endpoint_names(workspace))
    return record


def _check_keys(config: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in config:
        if key not in known:
            raise InvalidDeploymentConfigError(
                f"it knows {', '.join(known)}", key=str(key), known=known
            )


def _check_colour(endpoint: str, colour: str | None, record: EndpointRecord | None) -> None:
    live = record.live_colour if record else None
    idle = other(live) if live else "blue"
    if colour not in (None, idle):
        why = "it answers requests" if colour == live else "the first deployment is blue"
        raise DeploymentNameError(
            endpoint, str(colour), why, f'create_deployment("{idle}", ..., endpoint="{endpoint}")'
        )


def _spec(values: Mapping[str, Any]) -> EndpointSpec:
    try:
        return EndpointSpec.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidDeploymentConfigError(first["msg"], key=place or None) from error


def _seconds(config: Mapping[str, Any]) -> float:
    value = config.get("wait_seconds", WAIT_SECONDS)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InvalidDeploymentConfigError(
            f"{value!r} is no number of seconds", key="wait_seconds"
        ) from None


def _percent(value: Any) -> int:
    """Whole, as the split of the traffic is; text too, as MLflow's command line sends it."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not number.is_integer() or isinstance(value, bool):
        raise InvalidDeploymentConfigError(f"{value!r} is no whole percent", key="traffic")
    return int(number)


def _shift(workspace: Workspace, endpoint: str, traffic: Any) -> None:
    if not isinstance(traffic, Mapping):
        raise InvalidDeploymentConfigError(
            'it is a percent for each colour, such as {"blue": 90, "green": 10}', key="traffic"
        )
    shift(workspace, endpoint, {str(c): _percent(share) for c, share in traffic.items()}, by=BY)


def _await(workspace: Workspace, endpoint: str, deployment: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and read_plane(workspace.paths) is not None:
        record = _existing(workspace, endpoint)
        found = next((d for d in record.deployments if d.id == deployment), None)
        if found is None or found.state != "loading":
            break
        time.sleep(_POLL_SECONDS)
    for status in endpoint_status(workspace, endpoint).deployments:
        if status.id == deployment and status.state == "failed":
            raise DeploymentFailedError(endpoint, status.colour, status.reason or "it failed")


def _active(status: EndpointStatus) -> list[DeploymentStatus]:
    """One deployment a colour at most: the newest that has not gone."""
    found: dict[str, DeploymentStatus] = {}
    for deployment in status.deployments:
        if deployment.state not in ("retired", "failed", "draining"):
            found.setdefault(deployment.colour, deployment)
    return [found[colour] for colour in COLOURS if colour in found]


def _described(endpoint: str, status: DeploymentStatus) -> dict[str, Any]:
    return {
        "name": status.colour,
        "endpoint": endpoint,
        "id": status.id,
        "state": status.state,
        "reason": status.reason,
        "model": status.model,
        "version": status.version,
        "model_uri": f"models:/{status.model_id}",
        "traffic": status.share,
    }
