"""What a table must keep beside its recent past and its pins."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from headrace import clock
from headrace.endpoints.store import deployments
from headrace.pipeline import store as refreshes
from headrace.requestlog.store import request_counts
from headrace.requestlog.tables import request_table, truth_table

if TYPE_CHECKING:
    from headrace.catalog import Entry
    from headrace.workspace import Workspace

#: Deployments in these states may answer again.
_PRESENT: Final = ("loading", "ready", "standby", "draining")


def unread(workspace: Workspace, patience: timedelta) -> dict[str, int]:
    """By table, the first version that a streaming table has not read yet.

    Args:
        workspace: the project.
        patience: a streaming table that was not refreshed for so long is not waited for.
    """
    first: dict[str, int] = {}
    for entry in workspace.catalog.list():
        last = refreshes.last_done(workspace.store, str(entry.name))
        if last is None or last.started_at < clock.now() - patience:
            continue
        for key, until in last.inputs.get("positions", {}).items():
            source = key.rpartition("|")[2]
            first[source] = min(int(until) + 1, first.get(source, int(until) + 1))
    return first


def served(workspace: Workspace) -> Collection[tuple[str, int]]:
    """The model versions that endpoints hold ready, by model and number."""
    query = select(deployments.c.model_name, deployments.c.model_version).where(
        deployments.c.state.in_(_PRESENT)
    )
    with workspace.store.reading() as connection:
        return {(row.model_name, int(row.model_version)) for row in connection.execute(query)}


def is_request_log(workspace: Workspace, entry: Entry) -> bool:
    """Whether the shipper keeps a table small itself, as it does with those that it writes."""
    with workspace.store.reading() as connection:
        names = set(connection.scalars(select(request_counts.c.endpoint).distinct()))
    tables = {f"main.{of(name)}" for name in names for of in (request_table, truth_table)}
    return str(entry.name) in tables
