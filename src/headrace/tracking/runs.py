"""Which runs are alive, and the end of those whose process is not."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from headrace import clock
from headrace.tracking import store

if TYPE_CHECKING:
    from headrace.settings import Paths
    from headrace.workspace import Workspace


def _lock_path(paths: Paths, run_id: str) -> Path:
    return paths.temporary / "runs" / f"{run_id}.lock"


@contextmanager
def alive(paths: Paths, run_id: str) -> Iterator[None]:
    """Hold the lock that says this run's process lives. The system lets go of it at any death."""
    path = _lock_path(paths, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _is_alive(paths: Paths, run_id: str) -> bool:
    try:
        descriptor = os.open(_lock_path(paths, run_id), os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def settle(workspace: Workspace) -> list[str]:
    """End what killed processes left running; the ids of the runs that are now marked killed.

    A training whose record is finished lost only the last step, ending its run: it is ended as
    finished. Any other is marked ``KILLED`` in MLflow and in its record.
    """
    killed = []
    for record in store.with_status(workspace.store, "running"):
        if not _is_alive(workspace.paths, record.run_id):
            _end(workspace, record.run_id, "KILLED")
            store.finish(
                workspace.store,
                record.run_id,
                status="killed",
                error="the process was killed",
                finished_at=clock.now(),
            )
            _lock_path(workspace.paths, record.run_id).unlink(missing_ok=True)
            killed.append(record.run_id)
    return killed


def settle_finished(workspace: Workspace, run_id: str) -> None:
    """End the run of a finished training if a kill came between its record and its end."""
    if not _is_alive(workspace.paths, run_id):
        _end(workspace, run_id, "FINISHED")


def _end(workspace: Workspace, run_id: str, status: str) -> None:
    client = workspace.mlflow()
    if client.get_run(run_id).info.status == "RUNNING":
        client.set_terminated(run_id, status)
