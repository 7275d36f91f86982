"""One process at a time on a table, where the Delta protocol alone leaves a gap.

Two writers that both find no table can both succeed in delta-rs: the slower one appends to the
table of the faster one, and its transaction is not compared with those already there.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from headrace.lakehouse.errors import DeltaConflictError

LONGEST_WAIT_SECONDS: Final = 300.0


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the table's directory, which is made if need be; freed when the process ends.

    Readers, and writers that append to a table without a transaction, do not wait for it.

    Raises:
        DeltaConflictError: another process has held it for five minutes.
    """
    path.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _wait_for(path, descriptor)
        yield
    finally:
        os.close(descriptor)


def _wait_for(path: Path, descriptor: int) -> None:
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                reason = f"another writer has held the table for {LONGEST_WAIT_SECONDS:g} seconds"
                raise DeltaConflictError(str(path), "commit", 1, reason) from error
        time.sleep(0.01)
