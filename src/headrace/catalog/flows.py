"""Flows between columns in the database: each distinct set of them once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select

from headrace.catalog.operation import ColumnFlow
from headrace.catalog.store import insert_or_skip
from headrace.catalog.tables import flow_sets

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from headrace.catalog.operation import How

#: A flow as it is stored: written column, position of the read, its column, how.
Row = tuple["str | None", int, "str | None", "How"]

_AT_A_TIME = 500  # below the number of bound values that any SQLite accepts


def keep(connection: Connection, flows: Sequence[ColumnFlow]) -> int | None:
    """Id of the set of these flows, which is made if it is new; ``None`` for no flows."""
    if not flows:
        return None
    rows = [(each.column, each.source, each.source_column, each.how) for each in flows]
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    find = select(flow_sets.c.id).where(flow_sets.c.digest == digest)
    known = connection.scalar(find)
    if known is None:
        insert_or_skip(connection, flow_sets, {"digest": digest, "flows": text})
        known = connection.execute(find).scalar_one()
    return int(known)


def of_sets(
    connection: Connection, ids: Iterable[int | None]
) -> dict[int | None, tuple[ColumnFlow, ...]]:
    """The flows of each set; those of one set are one object, however many operations have it."""
    return {each: tuple(ColumnFlow(*row) for row in found) for each, found in rows(connection, ids)}


def rows(connection: Connection, ids: Iterable[int | None]) -> Iterator[tuple[int, list[Row]]]:
    """The flows of each set, as they are stored."""
    wanted = sorted({each for each in ids if each is not None})
    for start in range(0, len(wanted), _AT_A_TIME):
        some = wanted[start : start + _AT_A_TIME]
        query = select(flow_sets.c.id, flow_sets.c.flows).where(flow_sets.c.id.in_(some))
        for row in connection.execute(query):
            yield row.id, json.loads(row.flows)
