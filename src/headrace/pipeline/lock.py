"""One refresh of a table at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headrace.locks import exclusive
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
    with exclusive(directory / f"{dataset}.lock") as held:
        if not held:
            raise ConcurrentRefreshError(dataset)
        yield
