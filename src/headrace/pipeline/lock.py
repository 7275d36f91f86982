"""One refresh of a table at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headrace.pipeline.errors import ConcurrentRefreshError

if TYPE_CHECKING:
    from headrace.settings import Paths


@contextmanager
def table_lock(paths: Paths, dataset: str) -> Iterator[None]:
    """Hold a table for a refresh. The kernel releases the lock when the process ends.

    Without it, one process would take the files of another for those of a process that died.

    Raises:
        ConcurrentRefreshError: another process, or another thread, refreshes the table.
    """
    directory = paths.state / "locks"
    directory.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(directory / f"{dataset}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConcurrentRefreshError(dataset) from None
        yield
    finally:
        os.close(descriptor)
