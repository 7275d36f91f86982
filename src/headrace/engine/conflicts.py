"""Trying a write of the server again after another writer got in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from headrace import lakehouse

Result = TypeVar("Result")

ATTEMPTS: Final = 12
# Sail reports a lost race as text: https://github.com/lakehq/sail, crates/sail-delta-lake.
_MARKS: Final = ("failed to commit transaction", "conflict", "concurrent")


def retried(action: Callable[[], Result], table: str, operation: str, *, attempts: int) -> Result:
    """The result of a write, tried again while it conflicts.

    Only what does not depend on the rows that are there may be tried again: an append.

    Raises:
        DeltaConflictError: the last attempt conflicted too.
    """
    return lakehouse.retry(
        action, location=table, operation=operation, attempts=attempts, lost=_is_lost
    )


def _is_lost(error: Exception) -> bool:
    from pyspark.errors import PySparkException

    reason = str(error).lower()
    return isinstance(error, PySparkException) and any(mark in reason for mark in _MARKS)
