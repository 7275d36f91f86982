"""Batch predictions that recalled data went into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from headrace.recall.found import ReachedPredictions
from headrace.recall.learned import held_at
from headrace.recall.marks import Certainty
from headrace.recall.nodes import ModelOf
from headrace.scoring.store import scorings

if TYPE_CHECKING:
    from headrace.recall.closure import Closure
    from headrace.recall.found import ReachedTable
    from headrace.workspace import Workspace


def predictions(
    workspace: Workspace, closure: Closure, tables: Sequence[ReachedTable]
) -> list[ReachedPredictions]:
    """Tables of predictions with the scorings that read the data or used such a model."""
    query = select(scorings).where(scorings.c.status == "done").order_by(scorings.c.number)
    with workspace.store.reading() as connection:
        rows = connection.execute(query).all()
    groups: dict[str, list[Any]] = {}
    newest: dict[str, Any] = {}
    for row in rows:
        newest[row.table] = row
        if row.id in closure.passed:
            groups.setdefault(row.table, []).append(row)
    by_name = {each.name: each for each in tables}
    found = []
    for table, mine in groups.items():
        reached = by_name.get(table)
        clean = not _reasons(closure, newest[table])
        found.append(
            ReachedPredictions(
                table=table,
                scorings=len(mine),
                rows=sum(row.scored or 0 for row in mine),
                models=tuple(
                    dict.fromkeys(f"{row.model_name}/{row.model_version}" for row in mine)
                ),
                because=tuple(sorted({why for row in mine for why in _reasons(closure, row)})),
                certainty="certain"
                if any(closure.passed[row.id] is Certainty.CERTAIN for row in mine)
                else "possible",
                first=min(row.started_at for row in mine),
                last=max(row.finished_at or row.started_at for row in mine),
                holds_now=None if clean or reached is None else reached.holds_now,
            )
        )
    return sorted(found, key=lambda each: (each.holds_now is None, each.table))


def _reasons(closure: Closure, row: Any) -> list[str]:
    """What of the data a scoring used: its input, its model, or both."""
    found = []
    if held_at(closure, row.input_table, row.input_version, row.started_at) is not None:
        found.append("input")
    if ModelOf(row.model_id) in closure.marks:
        found.append("model")
    return found
