"""What a person wants to know of an endpoint: versions, shares, requests served and failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from headrace.clock import iso
from headrace.endpoints.address import read_plane
from headrace.endpoints.errors import EndpointNotFoundError
from headrace.endpoints.observed import read_observed
from headrace.endpoints.records import Deployment, EndpointRecord, read_endpoint
from headrace.endpoints.store import deployments, endpoints, traffic
from headrace.requestlog.counts import COUNTED, Counts, counts_of
from headrace.requestlog.spool import Segment, readable_records, segments
from headrace.requestlog.store import request_counts, shipments
from headrace.requestlog.tables import request_table

if TYPE_CHECKING:
    from headrace.workspace import Workspace


@dataclass(frozen=True)
class DeploymentStatus:
    """One deployment and the requests it has answered.

    Attributes:
        failed: requests that it should have answered and did not.
        rejected: requests whose input it refused.
        logged: requests of those served that are in the request log, or on their way there.
        observed: what the running plane has seen of it since its rollout began: ``requests``,
            ``failed``, ``compared``, ``distance``, ``latency_ms`` (``p50``, ``p95``, ``p99``) and
            what the rules say. ``None`` where it is not loaded.
    """

    id: str
    colour: str
    model: str
    version: int
    model_id: str
    state: str
    reason: str | None
    share: int
    served: int
    scored_rows: int
    failed: int
    rejected: int
    logged: int
    observed: dict[str, Any] | None = None


@dataclass(frozen=True)
class EndpointStatus:
    """An endpoint, its active deployments and the latest ones before them, newest first.

    Attributes:
        state: ``live``, ``loading``, ``failed`` (nothing answers and the last deployment
            failed), or ``down`` (no scoring plane runs).
        url: where it answers, while a plane runs.
        rollout: the one under way, or waiting for its deployment to become ready.
        unrouted: requests refused before a deployment was chosen, such as malformed ones.
        mirror: copies of requests to the deployment that takes over, since the plane started:
            ``offered``, ``compared``, ``failed``, ``dropped``.
    """

    name: str
    model: str
    state: str
    url: str | None
    shares: dict[str, int]
    rollout: dict[str, Any] | None
    deployments: tuple[DeploymentStatus, ...]
    served: int
    failed: int
    rejected: int
    unrouted: int
    table: str
    mirror: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The status as plain values."""
        return asdict(self)


def endpoint_status(workspace: Workspace, name: str, history: int = 5) -> EndpointStatus:
    """The endpoint as of now; counts include requests that are still in the spool.

    Args:
        workspace: the project.
        name: the endpoint.
        history: at most so many deployments.

    Raises:
        EndpointNotFoundError: there is no such endpoint.
    """
    # First the spool, then the counts in the database: what is shipped in between is in both,
    # and is left out of the first by its number.
    spooled = _spooled(workspace.paths.spool, name)
    with workspace.store.reading() as connection:
        record = read_endpoint(connection, name)
        if record is None:
            raise EndpointNotFoundError(name, connection.scalars(select(endpoints.c.name)))
        latest = _latest(connection, record, history)
        counted = connection.execute(
            select(request_counts).where(request_counts.c.endpoint == name)
        ).all()
        done = {
            row.writer: row.sequence
            for row in connection.execute(select(shipments).where(shipments.c.endpoint == name))
        }
    counts: dict[str, Counter[str]] = {
        row.deployment: Counter({key: getattr(row, key) for key in COUNTED}) for row in counted
    }
    for segment, of_segment in spooled:
        if segment.sequence > done.get(segment.writer, 0):
            for (_, deployment), counter in of_segment.items():
                counts.setdefault(deployment, Counter()).update(counter)
    shares = dict(record.split.shares) if record.split else {}
    observed = read_observed(workspace.paths).get(name, {})
    statuses = tuple(
        _status(each, shares, counts.get(each.id, Counter()), observed) for each in latest
    )
    total: Counter[str] = sum(counts.values(), Counter())
    running = read_plane(workspace.paths)
    rollout = next((r for r in record.rollouts.values() if r.under_way), None)
    return EndpointStatus(
        name=name,
        model=record.model,
        state=_state(statuses, running is not None),
        url=f"{running.url}/endpoints/{name}/invocations" if running else None,
        shares=shares,
        rollout=None
        if rollout is None
        else {
            "deployment": rollout.deployment,
            "state": rollout.state,
            "steps": list(rollout.steps),
            "step": rollout.step,
            "next_at": iso(rollout.next_at) if rollout.next_at else None,
        },
        deployments=statuses,
        served=total["served"],
        failed=total["failed"],
        rejected=total["rejected"],
        unrouted=sum(counts.get("", Counter()).values()),
        table=request_table(name),
        mirror=observed.get("mirror", {}),
    )


def endpoint_names(workspace: Workspace) -> list[str]:
    """Every endpoint that has been deployed."""
    with workspace.store.reading() as connection:
        return list(connection.scalars(select(endpoints.c.name).order_by(endpoints.c.name)))


@dataclass(frozen=True)
class Shift:
    """One revision of the traffic split."""

    revision: int
    shares: dict[str, int]
    at: str
    by: str


def traffic_history(workspace: Workspace, name: str) -> list[Shift]:
    """Every shift of an endpoint, oldest first."""
    with workspace.store.reading() as connection:
        rows = connection.execute(
            select(traffic).where(traffic.c.endpoint == name).order_by(traffic.c.revision)
        )
        return [
            Shift(row.revision, dict(row.shares), iso(row.changed_at), row.changed_by)
            for row in rows
        ]


def _spooled(spool: Path, endpoint: str) -> list[tuple[Segment, Counts]]:
    found = []
    for segment in segments(spool):
        records = [r for r in readable_records(segment) if r["endpoint"] == endpoint]
        if records:
            found.append((segment, counts_of(records)))
    return found


def _latest(connection: Connection, record: EndpointRecord, history: int) -> list[Deployment]:
    """The newest deployments and every active one, newest first."""
    rows = connection.execute(
        select(deployments)
        .where(deployments.c.endpoint == record.name)
        .order_by(deployments.c.created_at.desc(), deployments.c.id.desc())
        .limit(history)
    )
    latest = [Deployment(**row._mapping) for row in rows]
    known = {deployment.id for deployment in latest}
    return latest + [d for d in reversed(record.deployments) if d.id not in known]


def _status(
    deployment: Deployment,
    shares: dict[str, int],
    counts: Counter[str],
    observed: dict[str, Any],
) -> DeploymentStatus:
    return DeploymentStatus(
        id=deployment.id,
        colour=deployment.colour,
        model=deployment.model_name,
        version=deployment.model_version,
        model_id=deployment.model_id,
        state=deployment.state,
        reason=deployment.reason,
        share=shares.get(deployment.colour, 0) if deployment.state == "ready" else 0,
        served=counts["served"],
        scored_rows=counts["scored_rows"],
        failed=counts["failed"],
        rejected=counts["rejected"],
        logged=counts["logged"],
        observed=observed.get("deployments", {}).get(deployment.id),
    )


def _state(statuses: tuple[DeploymentStatus, ...], running: bool) -> str:
    states = {status.state for status in statuses}
    if not running:
        return "down"
    if "ready" in states:
        return "live"
    return "loading" if "loading" in states else "failed"
