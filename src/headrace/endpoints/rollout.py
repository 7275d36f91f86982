"""Changes of an endpoint's deployments and traffic: each is one transaction.

``connection`` is always one of ``Store.begin()``, so that what is read holds until the commit.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection, insert, select, update

from headrace.clock import now
from headrace.endpoints.records import EndpointRecord, State, read_endpoint
from headrace.endpoints.routing import COLOURS, other
from headrace.endpoints.store import deployments, endpoints, rollouts, traffic

if TYPE_CHECKING:
    from headrace.catalog import Store


def touch(connection: Connection, endpoint: str) -> None:
    """Raise the endpoint's revision: the plane reads it again."""
    connection.execute(
        update(endpoints)
        .where(endpoints.c.name == endpoint)
        .values(revision=endpoints.c.revision + 1)
    )


def set_state(
    connection: Connection, deployment: str, state: State, reason: str | None = None
) -> None:
    """Move a deployment to another state; its reason is kept unless a new one is given."""
    values: dict[str, object] = {"state": state, "updated_at": now()}
    if reason is not None:
        values["reason"] = reason
    connection.execute(update(deployments).where(deployments.c.id == deployment).values(**values))
    if state in ("failed", "draining", "retired"):
        connection.execute(
            update(rollouts)
            .where(rollouts.c.deployment == deployment, rollouts.c.state != "done")
            .values(state="stopped", next_at=None)
        )


def set_traffic(
    connection: Connection,
    record: EndpointRecord,
    shares: Mapping[str, int],
    by: str,
    *,
    new_seed: bool = False,
) -> None:
    """Add a revision of the traffic split. The seed stays unless a new one is asked for."""
    revision = record.split.revision + 1 if record.split else 1
    seed = secrets.randbits(62) if new_seed or record.split is None else record.split.seed
    connection.execute(
        insert(traffic).values(
            endpoint=record.name,
            revision=revision,
            shares={colour: shares.get(colour, 0) for colour in COLOURS},
            seed=seed,
            changed_at=now(),
            changed_by=by,
        )
    )


def mark_ready(store: Store, endpoint: str, deployment: str) -> None:
    """The deployment answered its smoke request: it takes its first share of the traffic.

    All of it if nothing else is live, else that of the rollout's first step.
    """
    with store.begin() as connection:
        record = _still(connection, endpoint, deployment, "loading")
        if record is None:
            return
        set_state(connection, deployment, "ready")
        _take_step(connection, record, deployment, now())
        touch(connection, endpoint)


def mark_failed(store: Store, endpoint: str, deployment: str, reason: str) -> None:
    """The deployment did not load or did not answer; it never takes traffic."""
    with store.begin() as connection:
        if _still(connection, endpoint, deployment, "loading") is not None:
            set_state(connection, deployment, "failed", reason)
            touch(connection, endpoint)


def advance(store: Store, endpoint: str, deployment: str) -> None:
    """Make the next step of a rollout if it is due. Two planes at once make it once."""
    moment = now()
    with store.begin() as connection:
        record = _still(connection, endpoint, deployment, "ready")
        rollout = record.rollouts.get(deployment) if record else None
        if record is None or rollout is None or rollout.state != "running":
            return
        if rollout.next_at is not None and rollout.next_at <= moment:
            _take_step(connection, record, deployment, moment)
            touch(connection, endpoint)


def retire(store: Store, endpoint: str, deployment: str) -> None:
    """The last request of a draining deployment was answered."""
    with store.begin() as connection:
        if _still(connection, endpoint, deployment, "draining") is not None:
            set_state(connection, deployment, "retired")
            touch(connection, endpoint)


def _still(
    connection: Connection, endpoint: str, deployment: str, state: State
) -> EndpointRecord | None:
    """The endpoint if the deployment is still in that state, read in this transaction."""
    held = connection.scalar(select(deployments.c.state).where(deployments.c.id == deployment))
    return read_endpoint(connection, endpoint) if held == state else None


def _take_step(
    connection: Connection, record: EndpointRecord, deployment: str, moment: datetime
) -> None:
    rollout = record.rollouts[deployment]
    colour = next(d.colour for d in record.deployments if d.id == deployment)
    live = record.live_colour
    share = rollout.steps[rollout.step] if live not in (None, colour) or rollout.step else 100
    set_traffic(
        connection,
        record,
        {colour: share, other(colour): 100 - share},
        f"rollout of {deployment}",
        new_seed=rollout.step == 0,
    )
    step = rollout.step + 1
    finished = share == 100
    connection.execute(
        update(rollouts)
        .where(rollouts.c.deployment == deployment)
        .values(
            step=len(rollout.steps) if finished else step,
            state="done" if finished else "running",
            next_at=None if finished else moment + timedelta(seconds=rollout.every_seconds),
        )
    )
    if finished:
        for old in record.deployments:
            if old.id != deployment and old.state == "ready":
                set_state(connection, old.id, "draining", f"replaced by {deployment}")
