"""``headrace up`` keeps the control plane running beside the scoring plane."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.control import read_control
from headrace.control.address import login_link
from headrace.settings import Paths


def eventually(condition: Callable[[], Any], seconds: float = 90) -> Any:
    """The condition's first true value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)
    return value


@pytest.mark.slow
def test_it_is_started_again_and_ends_with_the_rest(tmp_path: Path) -> None:
    (tmp_path / "headrace.yaml").write_text("name: small\n")
    paths = Paths(tmp_path)
    log = tmp_path / "up.log"
    with log.open("wb") as out:
        up = subprocess.Popen(
            [sys.executable, "-m", "headrace", "up", "--port", "0"],
            cwd=tmp_path,
            stdout=out,
            stderr=out,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        first = eventually(lambda: read_control(paths))
        with urllib.request.urlopen(f"{first.url}/health", timeout=30) as reply:
            assert reply.read() == b"OK"
        link = login_link(paths, first)
        eventually(lambda: str(link) in log.read_text())
        os.kill(first.pid, signal.SIGKILL)
        second = eventually(
            lambda: (info := read_control(paths)) and info.pid != first.pid and info
        )
        # The supervisor holds the socket: the address stays.
        assert second.url == first.url
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0
        assert read_control(paths) is None
        with pytest.raises(ProcessLookupError):
            os.kill(second.pid, 0)
    finally:
        if up.poll() is None:
            up.kill()
            up.wait()


@pytest.mark.slow
def test_a_taken_port_keeps_nobody_from_predictions(tmp_path: Path) -> None:
    (tmp_path / "headrace.yaml").write_text("name: small\n")
    log = tmp_path / "up.log"
    with socket.create_server(("127.0.0.1", 0)) as taken, log.open("wb") as out:
        port = taken.getsockname()[1]
        up = subprocess.Popen(
            [
                *(sys.executable, "-m", "headrace", "up", "--port", "0"),
                *("--control-port", str(port)),
            ],
            cwd=tmp_path,
            stdout=out,
            stderr=out,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            eventually(lambda: "Scoring plane at" in log.read_text())
            assert "there is no control plane" in log.read_text()
        finally:
            up.send_signal(signal.SIGINT)
            assert up.wait(60) == 0
