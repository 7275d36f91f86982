"""Trying a commit again after another writer got in between."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from headrace.lakehouse.errors import DeltaConflictError

Result = TypeVar("Result")

ATTEMPTS: Final = 12
_FIRST_WAIT = 0.02
_LONGEST_WAIT = 1.0


def retry(
    action: Callable[[], Result],
    *,
    location: str | Path = "",
    operation: str = "commit",
    attempts: int = ATTEMPTS,
    lost: Callable[[Exception], bool] | None = None,
) -> Result:
    """The result of an action, tried again with growing, jittered waits while it conflicts.

    The action must read the table anew each time: what it does then holds for the new state.

    Args:
        action: opens the table, and commits.
        location: the table, for the error.
        operation: such as ``append``, for the error.
        attempts: how often to try; about five seconds in all by default.
        lost: whether an exception means that another writer was faster; those of the Delta
            library if not given.

    Raises:
        DeltaConflictError: the last attempt conflicted too.
    """
    for attempt in range(1, attempts + 1):
        try:
            return action()
        except Exception as error:
            if not (lost or is_conflict)(error):
                raise
            if attempt == attempts:
                reason = str(error).strip().splitlines()[0]
                raise DeltaConflictError(str(location), operation, attempt, reason) from error
            longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (attempt - 1))
            time.sleep(longest * secrets.randbelow(1000) / 1000)
    raise AssertionError("unreachable: the last attempt returns or raises")


class LostRaceError(Exception):
    """Another writer was faster, in a way that the Delta library does not tell."""


def is_conflict(error: Exception) -> bool:
    """Whether another writer was faster, so that trying again can help."""
    from deltalake.exceptions import CommitFailedError

    return isinstance(error, CommitFailedError | LostRaceError)
