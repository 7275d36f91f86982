"""MLflow's own user interface on the project's store, for as long as the demo serves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import HeadraceError

if TYPE_CHECKING:
    from headrace.settings import Paths

_START_SECONDS = 60.0
_END_SECONDS = 20.0


class UserInterfaceError(HeadraceError):
    """``mlflow ui`` does not answer."""

    code = "user_interface"

    def __init__(self, log: Path, why: str) -> None:
        self.log = log
        super().__init__(
            "MLflow's user interface does not start.",
            where=str(log),
            why=why,
            next="headrace demo, without --serve; then mlflow ui as its last lines say",
        )


@contextmanager
def running_ui(paths: Paths) -> Iterator[str]:
    """``mlflow ui`` on a free port of 127.0.0.1; gives its address once it answers.

    It has no login: it is for the person at this machine.

    Raises:
        UserInterfaceError: it ended, or did not answer in time.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    log = paths.state / "mlflow-ui.log"
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603  # our own interpreter and arguments
            [
                sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port),
                "--workers", "1",
            ],
            # Not an argument: it may hold a password, and everybody sees arguments.
            env={**os.environ, "MLFLOW_BACKEND_STORE_URI": paths.database_url},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )  # fmt: skip
    try:
        _wait_until_up(process, address, log)
        yield address
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it and its workers, which are in its process group."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_up(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):  # noqa: S310  # http only
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    status = process.poll()
    why = f"it did not answer within {_START_SECONDS:.0f} s"
    raise UserInterfaceError(log, why if status is None else f"it ended with status {status}")
