"""What a person does to an endpoint's traffic: shift, pause, resume, roll back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select, update

from headrace.catalog import audit
from headrace.clock import now
from headrace.endpoints import decision
from headrace.endpoints.deploy import insert_deployment
from headrace.endpoints.errors import (
    DeploymentNotReadyError,
    EndpointNotFoundError,
    NoRolloutError,
    NothingToGoBackToError,
)
from headrace.endpoints.records import Deployment, EndpointRecord, RolloutState, hold_endpoint
from headrace.endpoints.rollout import (
    finish,
    send_back,
    set_state,
    set_traffic,
    take_step,
    touch,
)
from headrace.endpoints.routing import check_shares, other
from headrace.endpoints.store import deployments, endpoints, rollouts

if TYPE_CHECKING:
    from headrace.workspace import Workspace


def shift(
    workspace: Workspace, endpoint: str, shares: Mapping[str, int], by: str = "shift"
) -> None:
    """Split the traffic by hand, in one transaction. A rollout under way stops.

    Args:
        workspace: the project.
        endpoint: its name.
        shares: percent of ``blue`` and ``green``; they add up to 100.
        by: who shifted, for the history.

    Raises:
        EndpointNotFoundError: there is no such endpoint.
        InvalidSharesError: the shares are no split of 100.
        DeploymentNotReadyError: a colour with a share is not ready.
    """
    full = check_shares(shares)
    with workspace.store.begin() as connection:
        record = _endpoint(connection, endpoint)
        for colour, share in full.items():
            deployment = record.serving(colour)
            state = deployment.state if deployment else "empty"
            if share and state not in ("ready", "standby"):
                raise DeploymentNotReadyError(endpoint, colour, state)
            if share and deployment and state == "standby":
                set_state(connection, deployment.id, "ready")
        connection.execute(
            update(rollouts)
            .where(rollouts.c.endpoint == endpoint, rollouts.c.state.in_(("running", "paused")))
            .values(state="stopped", next_at=None)
        )
        newest = record.target
        if newest is not None:
            text = ", ".join(f"{colour}={share}" for colour, share in full.items())
            decision.record(connection, record, newest.id, "shift", text, by=by, after=full)
        set_traffic(connection, record, full, by)
        touch(connection, endpoint)
        audit.record(connection, "endpoint.shift", endpoint, by=by, details={"shares": dict(full)})


def pause(workspace: Workspace, endpoint: str, by: str = "pause") -> Deployment:
    """Hold a rollout where it is. Its rules go on: a proven violation still rolls back.

    Raises:
        EndpointNotFoundError: there is no such endpoint.
        NoRolloutError: none is under way.
    """
    with workspace.store.begin() as connection:
        record = _endpoint(connection, endpoint)
        deployment, progress = _under_way(record)
        if deployment is None or progress is None or progress.state == "paused":
            state = progress.state if progress else None
            raise NoRolloutError(endpoint, "pause", state)
        _set_rollout(connection, deployment.id, state="paused", next_at=None)
        decision.record(connection, record, deployment.id, "pause", f"paused by {by}", by=by)
        touch(connection, endpoint)
        _audit(connection, "pause", deployment, by)
        return deployment


def resume(workspace: Workspace, endpoint: str, by: str = "resume") -> Deployment:
    """Go on with a rollout that was paused, stopped by a shift by hand, or rolled back.

    One that was rolled back begins again, with a new deployment of the same version. Any other
    goes on with the next step above its present share, after the time between two steps.

    Raises:
        EndpointNotFoundError: there is no such endpoint.
        NoRolloutError: none is paused, stopped or rolled back.
    """
    with workspace.store.begin() as connection:
        record = _endpoint(connection, endpoint)
        deployment, progress = _under_way(record)
        if deployment is not None and progress is not None and progress.state == "paused":
            _go_on(connection, record, deployment, progress, by)
        elif deployment is None and (stopped := _stopped(record)) is not None:
            deployment = stopped
            _go_on(connection, record, deployment, record.rollouts[deployment.id], by)
        elif deployment is None and (last := _rolled_back(connection, record)) is not None:
            deployment = _again(connection, record, last)
            decision.record(connection, record, deployment.id, "resume", f"again by {by}", by=by)
        else:
            raise NoRolloutError(endpoint, "resume", progress.state if progress else None)
        touch(connection, endpoint)
        _audit(connection, "resume", deployment, by)
        return deployment


def rollback(workspace: Workspace, endpoint: str, by: str = "rollback") -> Deployment:
    """Put all traffic back on the deployment before the newest, in one transaction.

    That is the one which a rollout under way replaces, or the one which a finished rollout has
    replaced: it is kept loaded until the next version takes its colour.

    Returns:
        The deployment that answers now.

    Raises:
        EndpointNotFoundError: there is no such endpoint.
        NothingToGoBackToError: no earlier version is kept.
    """
    with workspace.store.begin() as connection:
        record = _endpoint(connection, endpoint)
        bad = record.target
        good = record.serving(other(bad.colour)) if bad else None
        if bad is None or good is None or good.state not in ("ready", "standby"):
            raise NothingToGoBackToError(endpoint, bad.model if bad else None)
        send_back(connection, record, bad, good, f"by {by}", state="retired", by=by)
        _audit(connection, "rollback", good, by)
        return good


def _audit(connection: Connection, action: str, deployment: Deployment, by: str) -> None:
    """What a person does to the traffic is told; what the rules do is in their decisions."""
    details = {"model": deployment.model, "version": deployment.model_version}
    audit.record(connection, f"endpoint.{action}", deployment.endpoint, by=by, details=details)


def _endpoint(connection: Connection, name: str) -> EndpointRecord:
    record = hold_endpoint(connection, name)
    if record is None:
        raise EndpointNotFoundError(name, connection.scalars(select(endpoints.c.name)))
    return record


def _under_way(record: EndpointRecord) -> tuple[Deployment | None, RolloutState | None]:
    """The deployment that takes over step by step, and how far it is."""
    target = record.target
    progress = record.rollouts.get(target.id) if target else None
    if target is not None and progress is not None and progress.under_way:
        return target, progress
    return None, progress


def _stopped(record: EndpointRecord) -> Deployment | None:
    """The deployment whose rollout was stopped by a shift, beside one that is ready too."""
    target = record.target
    if target is None or target.state != "ready":
        return None
    beside = record.serving(other(target.colour))
    progress = record.rollouts.get(target.id)
    stopped = progress is not None and progress.state == "stopped"
    return target if stopped and beside is not None and beside.state == "ready" else None


def _go_on(
    connection: Connection,
    record: EndpointRecord,
    deployment: Deployment,
    progress: RolloutState,
    by: str,
) -> None:
    share = record.split.shares.get(deployment.colour, 0) if record.split else 0
    step = sum(planned <= share for planned in progress.steps)
    decision.record(connection, record, deployment.id, "resume", f"resumed by {by}", by=by)
    if deployment.state == "loading":
        _set_rollout(connection, deployment.id, state="waiting")
    elif step == len(progress.steps):
        finish(connection, record, deployment.id)
    elif step == 0 and record.spec.rollout.mirror is None:
        take_step(connection, record, deployment.id, reason=f"resumed by {by}", by=by)
    else:
        due = now() + timedelta(seconds=progress.every_seconds)
        _set_rollout(connection, deployment.id, state="running", step=step, next_at=due)


def _rolled_back(connection: Connection, record: EndpointRecord) -> Deployment | None:
    """The newest deployment, where the endpoint has gone back from it."""
    row = connection.execute(
        select(deployments)
        .where(deployments.c.endpoint == record.name)
        .order_by(deployments.c.created_at.desc(), deployments.c.id.desc())
        .limit(1)
    ).one_or_none()
    if row is None or row.state not in ("failed", "retired"):
        return None
    newest = Deployment(**row._mapping)
    gone_back = decision.rollback_of(connection, record.name, newest.model_id) is not None
    return newest if gone_back else None


def _again(connection: Connection, record: EndpointRecord, last: Deployment) -> Deployment:
    live = record.target
    colour = other(live.colour) if live else last.colour
    return insert_deployment(
        connection, record.spec, last.model_name, last.model_version, last.model_id, colour
    )


def _set_rollout(connection: Connection, deployment: str, **values: object) -> None:
    connection.execute(update(rollouts).where(rollouts.c.deployment == deployment).values(**values))
