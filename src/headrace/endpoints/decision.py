"""What was decided of rollouts, and the numbers that decided it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Connection, insert, select

from headrace.clock import iso, now
from headrace.endpoints.store import decisions as table
from headrace.endpoints.store import deployments
from headrace.ids import new_id

if TYPE_CHECKING:
    from headrace.endpoints.records import EndpointRecord
    from headrace.endpoints.rules import Judgement
    from headrace.workspace import Workspace

Action = Literal["forward", "wait", "rollback", "failed", "superseded", "pause", "resume", "shift"]

#: Who decides where nobody did by hand.
ROLLOUT = "rollout"


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes:
        action: ``forward``, ``wait``, ``rollback``, ``failed`` (it never became ready),
            ``superseded`` (another version was deployed), or what was done by hand: ``pause``,
            ``resume``, ``shift``, ``rollback``.
        decided_by: ``rollout``, or the person.
        step: steps that had been made before.
        evidence: ``requests`` and for each rule a check: limit, observed value, number and mean
            of the observations, lower bound of the mean. Empty where there are no rules.
    """

    id: str
    endpoint: str
    deployment: str
    at: datetime
    action: Action
    reason: str
    decided_by: str
    step: int
    shares_before: dict[str, int]
    shares_after: dict[str, int]
    evidence: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The decision as plain values."""
        return {**asdict(self), "at": iso(self.at)}


def decisions(workspace: Workspace, name: str, limit: int | None = None) -> list[Decision]:
    """Decisions of an endpoint's rollouts, newest first."""
    with workspace.store.reading() as connection:
        rows = connection.execute(
            select(table)
            .where(table.c.endpoint == name)
            .order_by(table.c.at.desc(), table.c.id.desc())
            .limit(limit)
        )
        return [Decision(**row._mapping) for row in rows]


def record(
    connection: Connection,
    endpoint: EndpointRecord,
    deployment: str,
    action: Action,
    reason: str,
    *,
    by: str = ROLLOUT,
    after: Mapping[str, int] | None = None,
    judgement: Judgement | None = None,
) -> None:
    """Write a decision in the transaction that carries it out.

    Args:
        connection: the transaction.
        endpoint: as it was before.
        deployment: the one that takes over.
        action: what was decided.
        reason: why, for a person.
        by: who.
        after: the shares from now on, where they change.
        judgement: what the rules said.
    """
    before = dict(endpoint.split.shares) if endpoint.split else {}
    progress = endpoint.rollouts.get(deployment)
    connection.execute(
        insert(table).values(
            id=new_id("dec"),
            endpoint=endpoint.name,
            deployment=deployment,
            at=now(),
            action=action,
            reason=reason,
            decided_by=by,
            step=progress.step if progress else 0,
            shares_before=before,
            shares_after=dict(after) if after is not None else before,
            evidence=judgement.as_json() if judgement else {},
        )
    )


def latest(connection: Connection, deployment: str) -> Decision | None:
    """The newest decision about a deployment."""
    row = connection.execute(
        select(table)
        .where(table.c.deployment == deployment)
        .order_by(table.c.at.desc(), table.c.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Decision(**row._mapping)


def rollback_of(connection: Connection, endpoint: str, model_id: str) -> str | None:
    """Why the endpoint went back from a model; ``None`` if it has not since it was last deployed."""
    newest = connection.execute(
        select(deployments.c.id)
        .where(deployments.c.endpoint == endpoint, deployments.c.model_id == model_id)
        .order_by(deployments.c.created_at.desc(), deployments.c.id.desc())
        .limit(1)
    ).scalar_one_or_none()
    if newest is None:
        return None
    return connection.execute(
        select(table.c.reason)
        .where(table.c.deployment == newest, table.c.action == "rollback")
        .limit(1)
    ).scalar_one_or_none()
