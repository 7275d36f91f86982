"""Endpoints that answered with a model that recalled data reached, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from headrace import lakehouse
from headrace.endpoints import endpoint_names, endpoint_status
from headrace.endpoints.store import deployments as deployed
from headrace.endpoints.store import traffic
from headrace.recall.found import ReachedDeployment
from headrace.recall.marks import Certainty
from headrace.recall.nodes import ModelOf
from headrace.requestlog import request_table
from headrace.requestlog.spool import readable_records, segments
from headrace.requestlog.store import request_counts

if TYPE_CHECKING:
    from headrace.recall.closure import Closure
    from headrace.workspace import Workspace

_ALL = 1_000_000  # more deployments than an endpoint has


@dataclass
class _Log:
    """What is kept of the answers of one deployment."""

    logged: int = 0
    waiting: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def saw(self, first: datetime, last: datetime) -> None:
        """Answers of that time."""
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)


def deployments(workspace: Workspace, closure: Closure) -> list[ReachedDeployment]:
    """Deployments of reached model versions, those that answer now first."""
    certainty = {
        node.model_id: closure.certainty(node)
        for node in closure.marks
        if isinstance(node, ModelOf)
    }
    if not certainty:
        return []
    with workspace.store.reading() as connection:
        rows = connection.execute(
            select(deployed).order_by(deployed.c.created_at, deployed.c.id)
        ).all()
        moves = connection.execute(select(traffic).order_by(traffic.c.revision)).all()
    reached = [row for row in rows if row.model_id in certainty]
    found = []
    for endpoint in dict.fromkeys(row.endpoint for row in reached):
        mine = [row for row in reached if row.endpoint == endpoint]
        counts, shares = _counts(workspace, endpoint)
        kept = _kept(workspace, endpoint, [row.id for row in mine])
        changes = [move for move in moves if move.endpoint == endpoint]
        for row in mine:
            since, until = _traffic(row, rows, changes)
            log = kept.get(row.id, _Log())
            sure = certainty[row.model_id] is Certainty.CERTAIN
            found.append(
                ReachedDeployment(
                    endpoint=endpoint,
                    deployment=row.id,
                    colour=row.colour,
                    model=f"{row.model_name}/{row.model_version}",
                    certainty="certain" if sure else "possible",
                    state=row.state,
                    share=shares.get(row.id, 0),
                    since=since,
                    until=until,
                    requests=counts.get(row.id, Counter())["served"],
                    rows=counts.get(row.id, Counter())["scored_rows"],
                    logged=log.logged,
                    waiting=log.waiting,
                    first=log.first,
                    last=log.last,
                    log=request_table(endpoint),
                )
            )
    return sorted(found, key=lambda each: (-each.share, each.endpoint, each.deployment))


def _counts(workspace: Workspace, endpoint: str) -> tuple[dict[str, Counter[str]], dict[str, int]]:
    """Requests and rows answered, and percent of the traffic, by deployment."""
    if endpoint in endpoint_names(workspace):
        status = endpoint_status(workspace, endpoint, history=_ALL)
        return (
            {
                each.id: Counter(served=each.served, scored_rows=each.scored_rows)
                for each in status.deployments
            },
            {each.id: each.share for each in status.deployments},
        )
    # Withdrawn: what it answered stays counted.
    query = select(request_counts).where(request_counts.c.endpoint == endpoint)
    with workspace.store.reading() as connection:
        return {
            row.deployment: Counter(served=row.served, scored_rows=row.scored_rows)
            for row in connection.execute(query)
        }, {}


def _traffic(
    row: Any, every: Sequence[Any], changes: Sequence[Any]
) -> tuple[datetime | None, datetime | None]:
    """When a deployment took traffic first, and when it took none any more."""
    later = [
        other.created_at
        for other in every
        if other.endpoint == row.endpoint
        and other.colour == row.colour
        and (other.created_at, other.id) > (row.created_at, row.id)
    ]
    end = min(later, default=None)
    since: datetime | None = None
    until: datetime | None = None
    for change in changes:
        if change.changed_at < row.created_at or (end is not None and change.changed_at >= end):
            continue
        if change.shares.get(row.colour, 0) > 0:
            since = since or change.changed_at
            until = None
        elif since is not None and until is None:
            until = change.changed_at
    if since is not None and until is None and row.state in ("retired", "failed"):
        until = row.updated_at
    return since, until


def _kept(workspace: Workspace, endpoint: str, ids: Sequence[str]) -> dict[str, _Log]:
    """Rows of answers in the request log and in the spool, by deployment."""
    found: dict[str, _Log] = {}
    spooled = _spooled(workspace, endpoint, ids)
    entry = workspace.catalog.find(request_table(endpoint))
    if entry is not None and entry.location is not None and lakehouse.exists(entry.location):
        import pyarrow.compute as pc

        listed = ", ".join(f"'{each}'" for each in ids)
        rows = lakehouse.read(
            entry.location,
            columns=["deployment", "prediction_id", "requested_at"],
            filter=f"deployment IN ({listed})",
        )
        for group in (
            rows.group_by("deployment")
            .aggregate(
                [("requested_at", "min"), ("requested_at", "max"), ("requested_at", "count")]
            )
            .to_pylist()
        ):
            log = found.setdefault(group["deployment"], _Log())
            log.logged = group["requested_at_count"]
            log.saw(group["requested_at_min"], group["requested_at_max"])
        if spooled:
            # Shipped between the two looks: in both.
            known = set(
                rows.filter(pc.field("deployment").isin(list(spooled)))
                .column("prediction_id")
                .to_pylist()
            )
            for answers in spooled.values():
                for prediction in known & answers.keys():
                    del answers[prediction]
    for deployment, answers in spooled.items():
        if answers:
            log = found.setdefault(deployment, _Log())
            log.waiting = len(answers)
            log.saw(min(answers.values()), max(answers.values()))
    return found


def _spooled(
    workspace: Workspace, endpoint: str, ids: Sequence[str]
) -> dict[str, dict[str, datetime]]:
    """Answers that wait in the spool: time by prediction, by deployment."""
    found: dict[str, dict[str, datetime]] = {}
    for segment in segments(workspace.paths.spool):
        for record in readable_records(segment):
            if record["kind"] == "served" and record["endpoint"] == endpoint:
                deployment = record["deployment"]
                if deployment in ids:
                    at = datetime.fromisoformat(record["at"])
                    at = at if at.tzinfo else at.replace(tzinfo=UTC)
                    answers = found.setdefault(deployment, {})
                    answers.update({row["id"]: at for row in record["rows"]})
    return found
