"""One system at work: started, timed to its first right answer, weighed, stopped."""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bench.measure import proportional, started_at, tree
from bench.peers_serving import JSON

if TYPE_CHECKING:
    from bench.peers_serving import Launch, System
    from bench.serving_models import Trained

START_SECONDS: Final = 120.0
TOLERANCE: Final = 1e-6


class UnusableSystemError(Exception):
    """A system that does not come up, or that answers wrongly."""


class Served:
    """A running system that serves one model.

    Attributes:
        start_seconds: from the start of its process to its first right answer.
    """

    def __init__(self, system: System, model: Trained, launch: Launch, log: Path) -> None:
        self.system, self.model, self.launch, self.log = system, model, launch, log
        began = time.perf_counter()
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                launch.argv,
                cwd=launch.cwd,
                env={**os.environ, "OMP_NUM_THREADS": "1", **launch.env},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        try:
            self._await(began)
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.perf_counter() - began

    def headers(self, kind: str) -> dict[str, str]:
        """Headers of a request in a format."""
        return {"Content-Type": kind, **self.launch.headers}

    def bodies(self, kind: str, rows: int, count: int) -> list[bytes]:
        """``count`` different requests of so many rows each."""
        return [
            self.system.body(self.model, self.model.rows[at : at + rows], kind)
            for at in range(count)
        ]

    def check(self, kind: str, rows: int) -> None:
        """Compare an answer with what the model itself says.

        Raises:
            UnusableSystemError: they differ.
        """
        status, answer = self._ask(self.bodies(kind, rows, 1)[0], kind)
        if status != 200:
            raise UnusableSystemError(f"it answers {status}: {answer[:200]!r}")
        found, expected = self.system.scores(answer, kind), self.model.expected[:rows]
        apart = max(abs(a - b) for a, b in zip(found, expected, strict=True))
        if apart > TOLERANCE:
            raise UnusableSystemError(f"its scores are up to {apart:.2g} from the model's")

    def memory(self) -> int:
        """Proportional set size of the process tree, in bytes: shared pages are counted once."""
        return sum(map(proportional, tree(self._process.pid)))

    def stop(self) -> None:
        """End it, and whatever it leaves behind."""
        known = {pid: started_at(pid) for pid in tree(self._process.pid)}
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid, began in known.items():
            if began is not None and started_at(pid) == began:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _await(self, began: float) -> None:
        body = self.bodies(JSON, 1, 1)[0]
        while True:
            if self._process.poll() is not None:
                raise UnusableSystemError(
                    f"it ended with {self._process.returncode}: {self._tail()}"
                )
            try:
                if self._ask(body, JSON)[0] == 200:
                    break
            except (OSError, http.client.HTTPException) as error:
                last = repr(error)
            else:
                last = "another status than 200"
            if time.perf_counter() - began > START_SECONDS:
                raise UnusableSystemError(
                    f"no answer in {START_SECONDS:.0f} s ({last}): {self._tail()}"
                )
            time.sleep(0.02)
        self.check(JSON, 1)

    def _ask(self, body: bytes, kind: str) -> tuple[int, bytes]:
        address = urlsplit(self.launch.url)
        assert address.hostname is not None
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
        try:
            connection.request("POST", address.path, body, self.headers(kind))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _tail(self) -> str:
        return self.log.read_text(errors="replace").strip()[-600:]


@contextmanager
def served(system: System, model: Trained, home: Path) -> Iterator[Served]:
    """Serve a model for the length of a ``with`` block.

    Raises:
        UnusableSystemError: it does not answer, or not as the model does.
    """
    folder = home / "serving" / "run" / f"{system.name}-{model.name}".replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    launch = system.launch(home, model, folder, free_ports(3))
    running = Served(system, model, launch, folder / "log")
    try:
        yield running
    finally:
        running.stop()


def free_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    while True:
        first = random.randrange(20_000, 30_000)
        try:
            for port in range(first, first + count):
                with socket.create_server(("127.0.0.1", port)):
                    pass
        except OSError:
            continue
        return first
