"""Putting a model version behind an endpoint, and whether that is to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, insert, select, update

from headrace.catalog.store import insert_or_skip
from headrace.clock import now
from headrace.endpoints import decision
from headrace.endpoints.errors import EndpointNotFoundError
from headrace.endpoints.records import (
    Deployment,
    EndpointRecord,
    hold_endpoint,
    model_directory,
    read_endpoint,
)
from headrace.endpoints.rollout import set_state, set_traffic, touch
from headrace.endpoints.routing import other
from headrace.endpoints.store import deployments, endpoints, rollouts
from headrace.evidence import check, check_alias, protected_alias
from headrace.freshness import Freshness
from headrace.ids import new_id
from headrace.payloads.errors import ModelNotServableError

if TYPE_CHECKING:
    from headrace.endpoints.spec import EndpointSpec
    from headrace.registry import ModelVersion
    from headrace.workspace import Workspace


def deploy(workspace: Workspace, spec: EndpointSpec, version: ModelVersion) -> Deployment:
    """Put a model version behind the endpoint's idle colour.

    The deployment is recorded as ``loading``; the scoring plane loads it, sends it a smoke
    request and gives it traffic as the rollout says. What answers now goes on answering until
    then. Deploying the version that already takes over changes nothing, and deploying the one
    that is being replaced stops the rollout and gives it all the traffic back.

    Raises:
        ModelNotServableError: the version has no logged model.
        EvidenceError: the endpoint names a protected alias, and the version did not earn it.
    """
    if not version.model_id:
        raise ModelNotServableError(
            f"{version.name}/{version.version}",
            "it was registered without a logged model",
            "train it again: headrace run",
        )
    _prove(workspace, spec, version)
    with workspace.store.begin() as connection:
        record = _declare(connection, spec)
        target = record.target
        if target is not None and target.model_id == version.model_id:
            return target
        live = record.serving(record.live_colour) if record.live_colour else None
        if live is not None and live.model_id == version.model_id:
            _supersede(connection, record, other(live.colour), "the rollout was taken back")
            touch(connection, spec.name)
            return live
        colour = other(live.colour) if live else "blue"
        model = f"{version.name} version {version.version}"
        _supersede(connection, record, colour, f"superseded by {model}")
        deployment = insert_deployment(
            connection, spec, version.name, int(version.version), version.model_id, colour
        )
        touch(connection, spec.name)
        return deployment


def _prove(workspace: Workspace, spec: EndpointSpec, version: ModelVersion) -> None:
    """Raises EvidenceError: see ``deploy``."""
    alias = protected_alias(workspace.paths, workspace.store, spec.model)
    if alias is None:
        return
    # Files on another machine are compared where the scoring plane has fetched them.
    files = model_directory(workspace.store, version.model_id)
    check(workspace.paths, workspace.store, version.name, version.version, alias, files)
    check_alias(workspace.store, version.name, version.version, alias)


def withdraw(workspace: Workspace, endpoint: str) -> None:
    """Take an endpoint out of service, in one transaction; its history and its request log stay.

    The scoring plane finishes what it is answering, and knows the name no longer.

    Raises:
        EndpointNotFoundError: there is no such endpoint.
    """
    with workspace.store.begin() as connection:
        record = hold_endpoint(connection, endpoint)
        if record is None:
            raise EndpointNotFoundError(endpoint, connection.scalars(select(endpoints.c.name)))
        for deployment in record.deployments:
            set_state(connection, deployment.id, "retired", "the endpoint was withdrawn")
        connection.execute(delete(endpoints).where(endpoints.c.name == endpoint))


def deployment_freshness(workspace: Workspace, spec: EndpointSpec) -> Freshness:
    """Whether the endpoint answers, or is about to answer, with the version its model names."""
    from headrace.registry import resolve

    with workspace.store.reading() as connection:
        record = read_endpoint(connection, spec.name)
    target = record.target if record else None
    if record is None or target is None:
        return Freshness(True, "never deployed" if record is None else "no deployment is live")
    version = resolve(workspace, spec.model)
    reason = went_back(workspace, spec.name, version)
    if target.model_id != version.model_id and reason is None:
        return Freshness(
            True, f"{spec.model} moved from version {target.model_version} to {version.version}"
        )
    changed = changed_settings(record.spec, spec)
    if changed:
        return Freshness(True, f"its settings changed: {', '.join(changed)}")
    if target.model_id != version.model_id:
        return Freshness(False, f"version {version.version} was rolled back: {reason}")
    return Freshness(False, f"{target.colour} has version {target.model_version}")


def went_back(workspace: Workspace, endpoint: str, version: ModelVersion) -> str | None:
    """Why the endpoint answers with something else than a version that it had before.

    Returns:
        The reason of the rollback, by rule or by hand; ``None`` if there was none, or nothing
        is deployed now.
    """
    with workspace.store.reading() as connection:
        record = read_endpoint(connection, endpoint)
        if record is None or record.target is None:
            return None
        return decision.rollback_of(connection, endpoint, version.model_id)


def declare(workspace: Workspace, spec: EndpointSpec) -> Deployment | None:
    """Apply an endpoint's settings without deploying anything; what it answers with."""
    with workspace.store.begin() as connection:
        return _declare(connection, spec).target


def changed_settings(before: EndpointSpec, after: EndpointSpec) -> list[str]:
    """Names of the settings of an endpoint that differ."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    return [name for name in new if old.get(name) != new[name]]


def _declare(connection: Connection, spec: EndpointSpec) -> EndpointRecord:
    """The endpoint's row as the project wants it; made if it is new."""
    values: dict[str, Any] = {
        "model": spec.model,
        "key_columns": list(spec.key),
        "spec": spec.model_dump(mode="json"),
    }
    new = {"name": spec.name, "revision": 1, "created_at": now(), **values}
    if not insert_or_skip(connection, endpoints, new):
        connection.execute(update(endpoints).where(endpoints.c.name == spec.name).values(**values))
        touch(connection, spec.name)
    declared = hold_endpoint(connection, spec.name)
    if declared is None:
        raise EndpointNotFoundError(spec.name, ())
    return declared


def _supersede(connection: Connection, record: EndpointRecord, colour: str, reason: str) -> None:
    """Take a colour out of service; what traffic it had goes to the other."""
    old = record.serving(colour)
    if old is None:
        return
    share = record.split.shares.get(colour, 0) if record.split else 0
    after = None
    if share and record.live_colour not in (None, colour):
        after = {colour: 0, other(colour): 100}
        set_traffic(connection, record, after, reason)
    progress = record.rollouts.get(old.id)
    if progress is not None and progress.under_way:
        decision.record(connection, record, old.id, "superseded", reason, by="deploy", after=after)
    # One that never was ready has no request to finish; the plane retires it all the same.
    set_state(connection, old.id, "draining", reason)


def insert_deployment(
    connection: Connection,
    spec: EndpointSpec,
    model: str,
    version: int,
    model_id: str,
    colour: str,
) -> Deployment:
    """A new deployment, to be loaded by the plane, and its rollout."""
    moment = now()
    deployment = Deployment(
        id=new_id("dep"),
        endpoint=spec.name,
        colour=colour,
        model_name=model,
        model_version=version,
        model_id=model_id,
        state="loading",
        reason=None,
        created_at=moment,
        updated_at=moment,
    )
    connection.execute(insert(deployments).values(**vars(deployment)))
    connection.execute(
        insert(rollouts).values(
            deployment=deployment.id,
            endpoint=spec.name,
            steps=list(spec.rollout.steps),
            every_seconds=spec.rollout.every.total_seconds(),
            step=0,
            next_at=None,
            state="waiting",
        )
    )
    return deployment
