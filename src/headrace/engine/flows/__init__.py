"""Which columns of its reads each written column of a plan came from.

Told from the resolved plan alone, before or after it runs: nothing is asked of the server.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from headrace.engine.flows.frame import Leaf as Leaf
from headrace.engine.flows.frame import Origin as Origin
from headrace.engine.flows.frame import Origins, read, written
from headrace.engine.flows.scope import last_part

if TYPE_CHECKING:
    from headrace.catalog.operation import How

__all__ = ["Flow", "Leaf", "Origin", "of_merge", "of_rows", "of_statement", "strongest"]

log = logging.getLogger(__name__)

#: A written column, or ``None`` for the rows, and an origin of it.
Flow = tuple[str | None, Origin]

_STRENGTH: Final[dict[How, int]] = {"direct": 2, "indirect": 1, "unknown": 0}


def of_rows(
    relation: Any, leaf: Callable[[Any], Leaf | None], names: Sequence[str] | None
) -> list[Flow]:
    """Where the rows of a plan come from.

    Args:
        relation: the resolved plan.
        leaf: what a read of it is; ``None`` for one of which nothing is recorded.
        names: the written columns in order; ``None`` where they are not known.

    Returns:
        Each column and origin once. Empty, which stands for "all from all", where the plan
        is of a form that cannot be read; the log says why.
    """
    from headrace.engine.flows.plan import Plan

    return _read(lambda: written(Plan(leaf).frame(relation), names))


def of_statement(relation: Any, leaf: Callable[[Any], Leaf | None], target: Leaf) -> list[Flow]:
    """Where the columns that a ``MERGE``, ``UPDATE`` or ``DELETE`` changes come from.

    Args:
        relation: the resolved SQL text.
        leaf: as for ``of_rows``.
        target: the table as the statement found it.
    """
    from headrace.engine.flows.changes import of_text
    from headrace.engine.flows.plan import Plan

    def changes() -> list[tuple[str | None, Origins]]:
        statement, scope = Plan(leaf).text(relation)
        return list(of_text(statement, read(target), scope))

    return _read(changes)


def of_merge(command: Any, leaf: Callable[[Any], Leaf | None], target: Leaf) -> list[Flow]:
    """As ``of_statement``, of the resolved message of ``DataFrame.mergeInto``."""
    from headrace.engine.flows.changes import of_actions
    from headrace.engine.flows.plan import Plan

    def changes() -> list[tuple[str | None, Origins]]:
        plan = Plan(leaf)
        source = plan.frame(command.source_table_plan)
        name = last_part(command.target_table_name)
        return list(of_actions(command, read(target), source, plan, [name]))

    return _read(changes)


def _read(find: Callable[[], Iterable[tuple[str | None, Origins]]]) -> list[Flow]:
    try:
        return strongest(find())
    except Exception:
        # The rows are written by now: a form of plan that is not foreseen must not undo that.
        log.warning("column lineage: a plan could not be read; all columns count", exc_info=True)
        return []


def strongest(columns: Iterable[tuple[str | None, Origins]]) -> list[Flow]:
    """Each column and origin once, with what is known best of how it came."""
    found: dict[tuple[str | None, int, str | None], Origin] = {}
    for column, origins in columns:
        for origin in sorted(origins, key=_place):
            key = (column, origin.leaf, origin.column)
            known = found.get(key)
            if known is None or _STRENGTH[origin.how] > _STRENGTH[known.how]:
                found[key] = origin
    # What code saw as a whole it saw column by column.
    whole = {
        (column, leaf)
        for (column, leaf, source), origin in found.items()
        if source is None and origin.how == "unknown"
    }
    return [
        (column, origin)
        for (column, leaf, source), origin in found.items()
        if origin.how != "unknown" or source is None or (column, leaf) not in whole
    ]


def _place(origin: Origin) -> tuple[int, str, str]:
    return origin.leaf, origin.column or "", origin.how
