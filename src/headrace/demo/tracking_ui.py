"""MLflow's pages, behind the control plane's guard, for as long as the demo serves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.control.address import login_link, read_control
from headrace.errors import HeadraceError

if TYPE_CHECKING:
    from headrace.settings import Paths

_START_SECONDS = 60.0
_END_SECONDS = 20.0


class UserInterfaceError(HeadraceError):
    """The control plane does not answer."""

    code = "user_interface"

    def __init__(self, log: Path, why: str) -> None:
        self.log = log
        super().__init__(
            "MLflow's user interface does not start.",
            where=str(log),
            why=why,
            next="headrace demo, without --serve; then headrace up, as its last lines say",
        )


@contextmanager
def running_ui(paths: Paths) -> Iterator[str]:
    """The control plane on a free port of 127.0.0.1; gives a link for a browser once it answers.

    Raises:
        UserInterfaceError: it ended, or did not answer in time.
    """
    log = paths.state / "control.log"
    with socket.create_server(("127.0.0.1", 0)) as listener, log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603  # our own interpreter and arguments
            [
                *(sys.executable, "-P", "-m", "headrace.control", "--root", str(paths.root)),
                *("--listener", str(listener.fileno())),
            ],
            pass_fds=(listener.fileno(),),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield _wait_until_up(process, paths, log)
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


def _wait_until_up(process: subprocess.Popen[bytes], paths: Paths, log: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        info = read_control(paths)
        if info is not None and info.pid == process.pid:
            return login_link(paths, info) or info.url
        time.sleep(0.1)
    status = process.poll()
    why = f"it did not answer within {_START_SECONDS:.0f} s"
    raise UserInterfaceError(log, why if status is None else f"it ended with status {status}")
