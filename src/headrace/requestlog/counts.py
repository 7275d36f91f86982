"""How many requests a deployment has answered, failed or refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from headrace.clock import now
from headrace.requestlog.store import request_counts, shipments

Counts = dict[tuple[str, str], Counter[str]]

COUNTED: Final = ("served", "scored_rows", "failed", "rejected", "logged")


def counts_of(records: Iterable[Mapping[str, Any]]) -> Counts:
    """Requests by endpoint and deployment.

    ``failed`` are those that the plane or the model could not answer, ``rejected`` those that
    no plane could have: malformed, too large, or not fitting the signature. ``logged`` are those
    of the ``served`` whose rows are kept.
    """
    counts: Counts = {}
    for record in records:
        kind = record["kind"]
        if kind == "truth":
            continue
        counter = counts.setdefault((record["endpoint"], record["deployment"]), Counter())
        if kind == "served":
            counter["served"] += 1
            counter["logged"] += 1
            counter["scored_rows"] += len(record["rows"])
        elif kind == "unsampled":
            counter["served"] += 1
            counter["scored_rows"] += record["scored_rows"]
        elif record["status"] >= 500 or record["code"] in ("prediction_failed", "overloaded"):
            counter["failed"] += 1
        else:
            counter["rejected"] += 1
    return counts


def shipped_until(connection: Connection, writer: str, endpoint: str) -> int:
    """The last segment of a writer whose requests to an endpoint have been counted; else 0."""
    at = (shipments.c.writer == writer) & (shipments.c.endpoint == endpoint)
    return connection.scalar(select(shipments.c.sequence).where(at)) or 0


def add_counts(
    connection: Connection, writer: str, endpoint: str, sequence: int, counts: Counts
) -> None:
    """Add the counts of segments up to ``sequence``, which were not counted before."""
    at = (shipments.c.writer == writer) & (shipments.c.endpoint == endpoint)
    moved = {"sequence": sequence, "shipped_at": now()}
    if not connection.execute(update(shipments).where(at).values(moved)).rowcount:
        connection.execute(insert(shipments).values(writer=writer, endpoint=endpoint, **moved))
    for (_, deployment), counter in counts.items():
        row = (request_counts.c.endpoint == endpoint) & (request_counts.c.deployment == deployment)
        values = {name: counter[name] for name in COUNTED}
        raised = {name: request_counts.c[name] + values[name] for name in COUNTED}
        if not connection.execute(update(request_counts).where(row).values(raised)).rowcount:
            connection.execute(
                insert(request_counts).values(endpoint=endpoint, deployment=deployment, **values)
            )
