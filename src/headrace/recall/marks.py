"""Marks: which columns of a table hold what is recalled, and how a mark passes an operation.

Which rows a table has counts as a column without a name, as in ``catalog.ColumnFlow``: what
reaches the rows reaches every column.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from headrace.catalog import Access, Operation

#: A column in lower case, as names match without regard to case; ``None`` for the rows.
Column = str | None
ROWS: Final = None


class Certainty(IntEnum):
    """Whether data reached a thing by what is recorded, or can have reached it unseen."""

    POSSIBLE = 1
    CERTAIN = 2


def through(operation: Operation, position: int, column: Column) -> dict[Column, Certainty]:
    """The columns that an operation's writes get from one marked column of one of its reads.

    Columns that are marked by the rows as surely are left out.

    An operation without flows is one of which they are not known: of rows that it read, all it
    wrote can come; a column that it did not touch reached nothing. A model that it applied counts
    for all it wrote.

    Args:
        operation: what was executed.
        position: of the read among ``operation.reads``.
        column: the marked column of what was read.
    """
    if operation.reads[position].kind == "model":
        return {ROWS: Certainty.CERTAIN}
    if not operation.flows:
        if column is ROWS:
            return {ROWS: Certainty.CERTAIN}
        return {ROWS: Certainty.POSSIBLE} if _touched(operation.reads[position], column) else {}
    flows = [flow for flow in operation.flows if flow.source == position]
    if not flows and column is ROWS:
        return {ROWS: Certainty.POSSIBLE}
    found: dict[Column, Certainty] = {}
    for flow in flows:
        source = None if flow.source_column is None else flow.source_column.lower()
        sees_all = flow.how == "unknown" and source is None
        if sees_all:
            hit = column is ROWS or _touched(operation.reads[position], column)
        else:
            hit = column is ROWS or column == source
        if not hit:
            continue
        how = Certainty.POSSIBLE if flow.how == "unknown" else Certainty.CERTAIN
        target = None if flow.column is None else flow.column.lower()
        found[target] = max(found.get(target, how), how)
    rows = found.get(ROWS, 0)
    return {name: how for name, how in found.items() if name is ROWS or how > rows}


def collected(access: Access, column: Column) -> Certainty | None:
    """Whether a column of what was read came to the program that asked for it."""
    if column is ROWS:
        return Certainty.CERTAIN
    if access.columns is None:
        return Certainty.POSSIBLE
    return Certainty.CERTAIN if _touched(access, column) else None


def _touched(access: Access, column: Column) -> bool:
    if access.columns is None or column is ROWS:
        return True
    return any(name.lower() == column for name in access.columns)
