"""Changes of an endpoint's deployments and traffic: each is one transaction.

``connection`` is always one of ``Store.begin()``, and the endpoint is held before it is read, so
that what is read holds until the commit.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection, insert, update

from headrace.clock import now
from headrace.endpoints import decision
from headrace.endpoints.records import (
    Deployment,
    EndpointRecord,
    RolloutState,
    State,
    hold_endpoint,
)
from headrace.endpoints.routing import COLOURS, other
from headrace.endpoints.store import deployments, endpoints, rollouts, traffic

if TYPE_CHECKING:
    from headrace.catalog import Store
    from headrace.endpoints.rules import Judgement


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
    if state in ("failed", "draining", "retired", "standby"):
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

    All of it if nothing else is live, else that of the rollout's first step; nothing yet where
    the rollout begins with mirrored requests, or is paused.
    """
    with store.begin() as connection:
        record = _still(connection, endpoint, deployment, "loading")
        if record is None:
            return
        set_state(connection, deployment, "ready")
        progress = record.rollouts[deployment]
        if _alone(record, deployment):
            take_step(connection, record, deployment, reason="nothing else is live")
        elif progress.state == "waiting" and record.spec.rollout.mirror is None:
            take_step(connection, record, deployment, reason="it answered its smoke request")
        elif progress.state == "waiting":
            _run_until(connection, progress, 0)
        touch(connection, endpoint)


def mark_failed(store: Store, endpoint: str, deployment: str, reason: str) -> None:
    """The deployment did not load or did not answer; it never takes traffic."""
    with store.begin() as connection:
        record = _still(connection, endpoint, deployment, "loading")
        if record is not None:
            set_state(connection, deployment, "failed", reason)
            decision.record(connection, record, deployment, "failed", reason)
            touch(connection, endpoint)


def advance(
    store: Store, endpoint: str, deployment: str, judgement: Judgement | None = None
) -> None:
    """Make the next step of a rollout if it is due. Two planes at once make it once."""
    moment = now()
    with store.begin() as connection:
        record = _running(connection, endpoint, deployment)
        if record is None:
            return
        next_at = record.rollouts[deployment].next_at
        if next_at is not None and next_at <= moment:
            reason = judgement.reason if judgement else "no rules"
            take_step(connection, record, deployment, reason=reason, judgement=judgement)
            touch(connection, endpoint)


def note_wait(store: Store, endpoint: str, deployment: str, judgement: Judgement) -> None:
    """Record that a step is due and is not made; once for each cause in a row."""
    with store.begin() as connection:
        record = _running(connection, endpoint, deployment)
        if record is None:
            return
        last = decision.latest(connection, deployment)
        known = (
            last is not None
            and last.action == "wait"
            and last.evidence.get("kind") == judgement.kind
            and last.step == record.rollouts[deployment].step
        )
        if not known:
            decision.record(
                connection, record, deployment, "wait", judgement.reason, judgement=judgement
            )


def go_back(store: Store, endpoint: str, deployment: str, judgement: Judgement) -> None:
    """The rules have proven the deployment bad: all traffic goes back to the other one.

    Nothing happens where there is no other that is ready, or the rollout is over.
    """
    with store.begin() as connection:
        record = _running(connection, endpoint, deployment, paused=True)
        if record is None:
            return
        bad = record.by_id(deployment)
        good = record.serving(other(bad.colour))
        if good is not None and good.state == "ready":
            send_back(
                connection, record, bad, good, judgement.reason, state="failed", judgement=judgement
            )


def send_back(
    connection: Connection,
    record: EndpointRecord,
    bad: Deployment,
    good: Deployment,
    reason: str,
    *,
    state: State,
    by: str = decision.ROLLOUT,
    judgement: Judgement | None = None,
) -> None:
    """Give all traffic to ``good`` and take ``bad`` out of service, recorded as a rollback."""
    shares = {good.colour: 100, bad.colour: 0}
    decision.record(
        connection, record, bad.id, "rollback", reason, by=by, after=shares, judgement=judgement
    )
    set_state(connection, good.id, "ready")
    if record.split is None or record.split.shares.get(good.colour) != 100:
        set_traffic(connection, record, shares, f"rollback by {by}")
    set_state(connection, bad.id, state, f"rolled back: {reason}")
    touch(connection, record.name)


def retire(store: Store, endpoint: str, deployment: str) -> None:
    """The last request of a draining deployment was answered."""
    with store.begin() as connection:
        if _still(connection, endpoint, deployment, "draining") is not None:
            set_state(connection, deployment, "retired")
            touch(connection, endpoint)


def take_step(
    connection: Connection,
    record: EndpointRecord,
    deployment: str,
    *,
    reason: str,
    by: str = decision.ROLLOUT,
    judgement: Judgement | None = None,
) -> None:
    """Give a deployment the share of its rollout's next step.

    With all of the traffic the rollout is over, and what was replaced stands by.
    """
    progress = record.rollouts[deployment]
    colour = record.by_id(deployment).colour
    share = 100 if _alone(record, deployment) else progress.steps[progress.step]
    shares = {colour: share, other(colour): 100 - share}
    set_traffic(connection, record, shares, f"rollout of {deployment}", new_seed=progress.step == 0)
    decision.record(
        connection,
        record,
        deployment,
        "forward",
        reason,
        by=by,
        after=shares,
        judgement=judgement,
    )
    if share == 100:
        finish(connection, record, deployment)
    else:
        _run_until(connection, progress, progress.step + 1)


def finish(connection: Connection, record: EndpointRecord, deployment: str) -> None:
    """The deployment has all the traffic; what it replaced is kept loaded, to go back to."""
    connection.execute(
        update(rollouts)
        .where(rollouts.c.deployment == deployment)
        .values(step=len(record.rollouts[deployment].steps), state="done", next_at=None)
    )
    for old in record.deployments:
        if old.id != deployment and old.state == "ready":
            model = record.by_id(deployment).model
            set_state(connection, old.id, "standby", f"replaced by {model}")


def _run_until(connection: Connection, progress: RolloutState, step: int) -> None:
    """The rollout has made so many steps, and its next one is due after its dwell."""
    connection.execute(
        update(rollouts)
        .where(rollouts.c.deployment == progress.deployment)
        .values(
            step=step,
            state="running",
            next_at=now() + timedelta(seconds=progress.every_seconds),
        )
    )


def _still(
    connection: Connection, endpoint: str, deployment: str, state: State
) -> EndpointRecord | None:
    """The endpoint if the deployment is still in that state, read in this transaction."""
    record = hold_endpoint(connection, endpoint)
    if record is None:
        return None
    found = any(d.id == deployment and d.state == state for d in record.deployments)
    return record if found else None


def _running(
    connection: Connection, endpoint: str, deployment: str, *, paused: bool = False
) -> EndpointRecord | None:
    """The endpoint if the deployment's rollout is still under way."""
    record = _still(connection, endpoint, deployment, "ready")
    progress = record.rollouts.get(deployment) if record else None
    allowed = ("running", "paused") if paused else ("running",)
    return record if progress is not None and progress.state in allowed else None


def _alone(record: EndpointRecord, deployment: str) -> bool:
    """Whether no other deployment answers requests."""
    return not any(d.id != deployment and d.state == "ready" for d in record.deployments)
