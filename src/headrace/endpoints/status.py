"""What a person wants to know of an endpoint: versions, shares, requests served and failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

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

#: How often the requests are counted again where the shipper comes in between.
_LOOKS: Final = 5


@dataclass(frozen=True)
class DeploymentStatus:
    """One deployment and the requests it has answered.

    Attributes:
        failed: requests that it should have answered and did not.
        rejected: requests whose input it refused.
        logged: requests of those served that are in the request log, or on their way there.
        observed: what the running plane has seen of it since its rollout began: ``requests``,
            ``failed``, ``compared``, ``distance``, ``latency_ms`` (``p50``, ``p95``, ``p99``) and
            what the rules say; and its ``scorer``, ``kernel`` or ``worker``. ``None`` where it is
            not loaded.
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
    record, latest, counts = _read(workspace, name, history)
    shares = dict(record.split.shares) if record.split else {}
    observed = read_observed(workspace.paths).get(name, {})
    statuses = tuple(
        _status(each, shares, counts.get(each.id, Counter()), observed) for each in latest
    )
    total: Counter[str] = sum(counts.values(), Counter())
    running = read_plane(workspace.paths)
    return EndpointStatus(
        name=name,
        model=record.model,
        state=_state(statuses, running is not None),
        url=f"{running.url}/endpoints/{name}/invocations" if running else None,
        shares=shares,
        rollout=_rollout(record),
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


def _read(
    workspace: Workspace, name: str, history: int, looks: int = _LOOKS
) -> tuple[EndpointRecord, list[Deployment], dict[str, Counter[str]]]:
    """The endpoint, its latest deployments, and the requests of each deployment."""
    # First the spool, then the counts in the database: what is shipped in between is in both,
    # and is left out of the first by its number.
    spooled = _spooled(workspace.paths.spool, name)
    with workspace.store.reading() as connection:
        record = read_endpoint(connection, name)
        if record is None:
            raise EndpointNotFoundError(name, connection.scalars(select(endpoints.c.name)))
        latest = _latest(connection, record, history)
        counts, done = _counted(connection, name)
    waiting = [found for found in spooled if found[0].sequence > done.get(found[0].writer, 0)]
    if looks > 1 and not all(segment.path.exists() for segment, _ in waiting):
        # Shipped meanwhile; the number is forgotten with the last segment of a writer.
        return _read(workspace, name, history, looks - 1)
    for _, of_segment in waiting:
        for (_, deployment), counter in of_segment.items():
            counts.setdefault(deployment, Counter()).update(counter)
    return record, latest, counts


def _counted(connection: Connection, name: str) -> tuple[dict[str, Counter[str]], dict[str, int]]:
    """Requests in Delta by deployment, and the last shipped segment of each writer."""
    counted = connection.execute(select(request_counts).where(request_counts.c.endpoint == name))
    counts = {
        row.deployment: Counter({key: getattr(row, key) for key in COUNTED}) for row in counted
    }
    moved = connection.execute(select(shipments).where(shipments.c.endpoint == name))
    return counts, {row.writer: row.sequence for row in moved}


def _rollout(record: EndpointRecord) -> dict[str, Any] | None:
    """The rollout that is under way, as plain values."""
    found = next((r for r in record.rollouts.values() if r.under_way), None)
    if found is None:
        return None
    return {
        "deployment": found.deployment,
        "state": found.state,
        "steps": list(found.steps),
        "step": found.step,
        "next_at": iso(found.next_at) if found.next_at else None,
    }


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
