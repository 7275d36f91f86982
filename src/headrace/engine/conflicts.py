"""Trying a write again after another writer got in between."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Final, TypeVar

from headrace.lakehouse import DeltaConflictError

Result = TypeVar("Result")

ATTEMPTS: Final = 8
_FIRST_WAIT: Final = 0.05
_LONGEST_WAIT: Final = 2.0
# Sail reports a lost race as text: https://github.com/lakehq/sail, crates/sail-delta-lake.
_MARKS: Final = ("failed to commit transaction", "conflict", "concurrent")


def retried(
    action: Callable[[], Result], table: str, operation: str, *, attempts: int = ATTEMPTS
) -> Result:
    """The result of a write, tried again with growing waits while it conflicts.

    Only what does not depend on the rows that are there may be tried again: an append.

    Raises:
        DeltaConflictError: the last attempt conflicted too.
    """
    from pyspark.errors import PySparkException

    for attempt in range(1, attempts + 1):
        try:
            return action()
        except PySparkException as error:
            reason = str(error)
            if not any(mark in reason.lower() for mark in _MARKS):
                raise
            if attempt == attempts:
                raise DeltaConflictError(table, operation, attempt, reason) from error
        longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (attempt - 1))
        time.sleep(longest * secrets.randbelow(1000) / 1000)
    raise AssertionError("unreachable: the last attempt returns or raises")
