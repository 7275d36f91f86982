"""One run at a time: a lock that the kernel releases when its process ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headrace.clock import iso, now
from headrace.errors import HeadraceError

if TYPE_CHECKING:
    from headrace.settings import Paths


class RunInProgressError(HeadraceError):
    """Another process runs this project."""

    code = "run_in_progress"
    status = 409

    def __init__(self, paths: Paths, holder: str) -> None:
        self.holder = holder
        super().__init__(
            "Another run of this project is in progress.",
            where=str(paths.root),
            why=f"the lock is held by {holder}" if holder else "the lock is held",
            next="wait for it to end, then type: headrace run",
        )


@contextmanager
def run_lock(paths: Paths) -> Iterator[None]:
    """Hold the project for one run. The kernel releases the lock when the process ends.

    Raises:
        RunInProgressError: another process holds it.
    """
    paths.make()
    descriptor = os.open(paths.run_lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace").strip()
            raise RunInProgressError(paths, holder) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} since {iso(now())}".encode())
        yield
    finally:
        os.close(descriptor)


def run_holder(paths: Paths) -> str | None:
    """Who holds the project for a run, such as ``process 17 since ...``; ``None`` if nobody."""
    try:
        descriptor = os.open(paths.run_lock, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
    else:
        return None
    finally:
        os.close(descriptor)
