"""Where the columns of a table of predictions come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from headrace.catalog import ColumnFlow
from headrace.scoring.spec import RECORD_COLUMNS

if TYPE_CHECKING:
    from headrace.catalog.operation import How

#: Positions of the input and of the model among the reads.
INPUT, MODEL = 0, 1

_OF_MODEL: Final = frozenset({"model_name", "model_version", "model_id", "run_id"})


def flows(
    table: Iterable[str], read: Sequence[str], inputs: Sequence[str] | None
) -> tuple[ColumnFlow, ...]:
    """The flows of a scoring that reads its input first and its model second.

    Args:
        table: columns of the table of predictions.
        read: columns of the input that the scoring read.
        inputs: those that the model takes; ``None`` where they are not known any more.
    """
    found = [ColumnFlow(None, INPUT, None, "direct")]
    how: How = "unknown" if inputs is None else "direct"
    for column in table:
        if column == "row_digest":
            found += [ColumnFlow(column, INPUT, each, "direct") for each in read]
        elif column in _OF_MODEL:
            found.append(ColumnFlow(column, MODEL, None, "direct"))
        elif column in read:
            found.append(ColumnFlow(column, INPUT, column, "direct"))
        elif column not in RECORD_COLUMNS:
            sources = read if inputs is None else inputs
            found += [ColumnFlow(column, INPUT, each, how) for each in sources]
            found.append(ColumnFlow(column, MODEL, None, "direct"))
    return tuple(found)
