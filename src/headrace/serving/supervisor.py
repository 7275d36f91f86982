"""``headrace up``: keeps the planes and the shipper of the log running, and ends with them.

The supervisor owns the listening socket, so that the port stays taken and new connections wait
in its queue while the plane restarts.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from headrace.endpoints.address import bind, hold, release, url_of
from headrace.endpoints.errors import AddressUnavailableError, PortInUseError
from headrace.serving.companion import Companion, opened
from headrace.serving.errors import PlaneFailedError
from headrace.serving.plane import DRAIN_SECONDS, FATAL

if TYPE_CHECKING:
    from headrace.settings import Paths

log = logging.getLogger(__name__)

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 10.0
HEALTHY_SECONDS: Final = 30.0
ATTEMPTS: Final = 4
START_SECONDS: Final = 120.0


class Supervisor:
    """Starts the plane, restarts it with growing delays, and drains it.

    Args:
        paths: the project.
        host: address to listen on.
        port: 0 takes any free one.
        log_file: where the plane's log goes; standard error if not given.
        on_ready: called with the URL each time that a plane has become ready.
        control_port: of the control plane, which starts once the scoring plane is ready; there is
            none if not given.

    Raises:
        PortInUseError: another process listens there.
        PlaneRunningError: the project is being served already.
    """

    def __init__(
        self,
        paths: Paths,
        host: str,
        port: int,
        *,
        log_file: Path | None = None,
        on_ready: Callable[[str], None] | None = None,
        control_port: int | None = None,
    ) -> None:
        self.paths = paths
        self.log_file = log_file
        self.pid: int | None = None
        self.ready = threading.Event()
        self.shipper = Companion(paths, log_file)
        self._on_ready = on_ready
        self._stop = threading.Event()
        self._held = hold(paths)
        try:
            self._listener = bind(host, port)
        except BaseException:
            release(paths, self._held)
            raise
        self.url = url_of(self._listener)
        self.control = _control(paths, host, control_port, log_file)

    def run(self) -> None:
        """Keep a plane running until ``stop()``.

        Raises:
            PlaneFailedError: it never became ready, or says that a restart cannot help.
        """
        delay, failures = FIRST_DELAY, 0
        try:
            while not self._stop.is_set():
                started = time.monotonic()
                reason = self._run_child()
                if self._stop.is_set():
                    return
                failures += 1
                if time.monotonic() - started > HEALTHY_SECONDS:
                    delay, failures = FIRST_DELAY, 1
                if not self.ready.is_set() and failures >= ATTEMPTS:
                    raise PlaneFailedError(reason, self.log_file)
                log.warning(
                    "the scoring plane ended (%s); it starts again in %.1f s", reason, delay
                )
                self._pause(delay)
                delay = min(delay * 2, LONGEST_DELAY)
        finally:
            self._listener.close()
            if self.control is not None:
                self.control.end()
                if self.control.listener is not None:
                    self.control.listener.close()
            # After the plane: what it answered last is shipped too.
            self.shipper.end()
            release(self.paths, self._held)

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Let the plane answer what it has begun, and end. Safe in a signal handler."""
        self._stop.set()

    def kill(self) -> None:
        """End all processes at once. What the plane has logged is shipped by the next start."""
        control = None if self.control is None else self.control.pid
        for pid in (self.pid, self.shipper.pid, control):
            if pid is not None:
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(pid, signal.SIGKILL)

    def _tend(self) -> None:
        self.shipper.tend()
        if self.control is not None and self.ready.is_set():
            # Not before: its slow start would take the time that the endpoints need for theirs.
            self.control.tend()

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._stop.wait(0.1):
            self._tend()

    def _run_child(self) -> str:
        """Run one plane to its end; why it ended."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            try:
                child = self._spawn(theirs)
            except OSError as error:
                return f"it cannot be started: {error}"
            theirs.close()
            self.pid = child.pid
            try:
                said = self._attend(child, ours)
                if self._stop.is_set():
                    # New connections are refused at once instead of waiting in the queue.
                    self._listener.close()
                    self._drain(child)
                return self._verdict(child.wait(), said)
            finally:
                if child.poll() is None:
                    child.kill()
                    child.wait()
                self.pid = None

    def _spawn(self, control: socket.socket) -> subprocess.Popen[bytes]:
        command = [
            # -P: files of the project must not stand in for modules of the libraries.
            *(sys.executable, "-P", "-m", "headrace.serving"),
            *("--root", str(self.paths.root)),
            *("--listener", str(self._listener.fileno())),
            *("--control", str(control.fileno())),
        ]
        with opened(self.log_file) as stderr:
            # A session of its own: Ctrl-C reaches the supervisor, which drains the plane once.
            return subprocess.Popen(  # noqa: S603
                command,
                cwd=self.paths.root,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                pass_fds=(self._listener.fileno(), control.fileno()),
                start_new_session=True,
            )

    def _attend(self, child: subprocess.Popen[bytes], control: socket.socket) -> str:
        """Listen to the plane until it ends or is to end; the last thing that it complained of."""
        buffer, complaint = b"", ""
        while not self._stop.is_set():
            self._tend()
            readable, _, _ = select.select([control], [], [], 0.1)
            if not readable:
                if child.poll() is not None:
                    break
                continue
            chunk = control.recv(4096)
            if not chunk:
                break
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                word, _, rest = line.decode(errors="replace").partition(" ")
                if word == "failed":
                    complaint = rest
                elif word == "ready":
                    self.ready.set()
                    if self._on_ready is not None:
                        self._on_ready(self.url)
        return complaint

    def _drain(self, child: subprocess.Popen[bytes]) -> None:
        if child.poll() is None:
            child.terminate()
        try:
            child.wait(DRAIN_SECONDS + 5)
        except subprocess.TimeoutExpired:
            log.warning("the scoring plane did not drain in time; it is killed")
            child.kill()

    def _verdict(self, status: int, complaint: str) -> str:
        if status == FATAL:
            raise PlaneFailedError(complaint or "it gave no reason", self.log_file)
        if complaint:
            return complaint
        return f"signal {-status}" if status < 0 else f"exit status {status}"


def _control(paths: Paths, host: str, port: int | None, log_file: Path | None) -> Companion | None:
    """The control plane's process, if there is to be one and its port is free."""
    if port is None:
        return None
    try:
        listener = bind(host, port)
    except (PortInUseError, AddressUnavailableError) as error:
        # Predictions are answered all the same.
        log.warning("there is no control plane: %s  next: %s", error.what, error.next)
        return None
    return Companion(paths, log_file, "the control plane", "headrace.control", listener)


def supervise(
    paths: Paths,
    host: str,
    port: int,
    once_ready: Callable[[str], None] | None = None,
    *,
    log_file: Path | None = None,
    control_port: int | None = None,
) -> None:
    """Serve the project until SIGTERM or SIGINT; both drain. A second SIGINT kills.

    Args:
        paths: the project.
        host: address to listen on.
        port: 0 takes any free one.
        once_ready: called once, with the URL, when the endpoints answer.
        log_file: where the plane's log goes; standard error if not given.
        control_port: of the control plane beside it; there is none if not given.

    Raises:
        PortInUseError: another process listens there.
        PlaneRunningError: the project is being served already.
        PlaneFailedError: the plane does not come up.
    """
    called = False

    def ready(url: str) -> None:
        nonlocal called
        if once_ready is not None and not called:
            called = True
            once_ready(url)

    supervisor = Supervisor(
        paths, host, port, log_file=log_file, on_ready=ready, control_port=control_port
    )

    def stop(number: int, _frame: FrameType | None) -> None:
        if supervisor.stopping and number == signal.SIGINT:
            supervisor.kill()
        supervisor.stop()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        supervisor.run()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def running_plane(
    paths: Paths, port: int = 0, host: str = "127.0.0.1", log_file: Path | None = None
) -> Iterator[str]:
    """A supervised plane for the length of a ``with`` block; gives its URL once it answers.

    Raises:
        PortInUseError: another process listens there.
        PlaneRunningError: the project is being served already.
        PlaneFailedError: the plane does not come up.
    """
    supervisor = Supervisor(paths, host, port, log_file=log_file or paths.state / "plane.log")
    problem: list[PlaneFailedError] = []

    def run() -> None:
        try:
            supervisor.run()
        except PlaneFailedError as error:
            problem.append(error)

    thread = threading.Thread(target=run, name="supervisor")
    thread.start()
    try:
        deadline = time.monotonic() + START_SECONDS
        while not supervisor.ready.wait(0.05):
            if not thread.is_alive() or time.monotonic() > deadline:
                supervisor.stop()
                thread.join()
                raise (
                    problem[0]
                    if problem
                    else PlaneFailedError(
                        f"it was not ready within {START_SECONDS:.0f} s", supervisor.log_file
                    )
                )
        yield supervisor.url
    finally:
        supervisor.stop()
        thread.join()
