"""Flows between columns in the database: each distinct set of them once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from headrace.catalog.operation import ColumnFlow
from headrace.catalog.store import insert_or_skip
from headrace.catalog.tables import column_flows, flow_sets

if TYPE_CHECKING:
    from sqlalchemy import Connection

_AT_A_TIME = 500  # below the number of bound values that any SQLite accepts


def keep(connection: Connection, flows: Sequence[ColumnFlow]) -> int | None:
    """Id of the set of these flows, which is made if it is new; ``None`` for no flows."""
    if not flows:
        return None
    rows = [(each.column, each.source, each.source_column, each.how) for each in flows]
    digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    find = select(flow_sets.c.id).where(flow_sets.c.digest == digest)
    known = connection.scalar(find)
    if known is not None:
        return int(known)
    new = insert_or_skip(connection, flow_sets, {"digest": digest})
    made = int(connection.execute(find).scalar_one())
    if new:
        connection.execute(
            insert(column_flows),
            [
                {
                    "flow_set": made,
                    "position": position,
                    "column": column,
                    "source": source,
                    "source_column": source_column,
                    "how": how,
                }
                for position, (column, source, source_column, how) in enumerate(rows)
            ],
        )
    return made


def of_sets(
    connection: Connection, ids: Iterable[int | None]
) -> dict[int | None, tuple[ColumnFlow, ...]]:
    """The flows of each set; those of one set are one object, however many operations have it."""
    wanted = sorted({each for each in ids if each is not None})
    found: dict[int | None, list[ColumnFlow]] = {}
    for start in range(0, len(wanted), _AT_A_TIME):
        query = (
            select(column_flows)
            .where(column_flows.c.flow_set.in_(wanted[start : start + _AT_A_TIME]))
            .order_by(column_flows.c.flow_set, column_flows.c.position)
        )
        for row in connection.execute(query):
            flow = ColumnFlow(row.column, row.source, row.source_column, row.how)
            found.setdefault(row.flow_set, []).append(flow)
    return {each: tuple(flows) for each, flows in found.items()}
