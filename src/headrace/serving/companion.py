"""A process beside the plane as the supervisor sees it: started, started again, and ended last."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from headrace.settings import Paths

log = logging.getLogger(__name__)

FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 10.0
HEALTHY_SECONDS: Final = 30.0
#: Beyond the shipper's own bound on its last round.
END_SECONDS: Final = 30.0


@contextmanager
def opened(log_file: Path | None) -> Iterator[IO[bytes] | None]:
    """A log for a child to append to; ``None``, which is standard error, where none is given."""
    if log_file is None:
        yield None
        return
    with log_file.open("ab") as file:
        yield file


class Companion:
    """One process that is kept running beside the plane.

    None of them keeps the plane from answering: requests wait in the spool until the shipper of
    their log runs again, and of the control plane no prediction knows.

    Args:
        paths: the project.
        log_file: where the process's log goes; standard error if not given.
        name: what it is, in words.
        module: what it runs.
        listener: a listening socket to hand it.
    """

    def __init__(
        self,
        paths: Paths,
        log_file: Path | None,
        name: str = "the shipper of the request log",
        module: str = "headrace.requestlog",
        listener: socket.socket | None = None,
    ) -> None:
        self.paths = paths
        self.log_file = log_file
        self.name = name
        self.module = module
        self.listener = listener
        self._child: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._delay = FIRST_DELAY
        self._started = 0.0
        self._due = 0.0

    @property
    def pid(self) -> int | None:
        """Its process, while it runs."""
        return self._child.pid if self._child else None

    def tend(self) -> None:
        """Start the process if it does not run and its time has come. Never blocks."""
        if self._child is not None:
            status = self._child.poll()
            if status is None:
                return
            self._forget()
            healthy = time.monotonic() - self._started > HEALTHY_SECONDS
            self._delay = FIRST_DELAY if healthy else min(self._delay * 2, LONGEST_DELAY)
            self._due = time.monotonic() + self._delay
            log.warning(
                "%s ended (%s); it starts again in %.1f s",
                self.name,
                f"signal {-status}" if status < 0 else f"exit status {status}",
                self._delay,
            )
        if time.monotonic() >= self._due:
            try:
                self._start()
            except OSError as error:
                # The machine may have no process or no file to spare; the plane answers still.
                self._delay = min(self._delay * 2, LONGEST_DELAY)
                self._due = time.monotonic() + self._delay
                log.warning("%s does not start: %s", self.name, error)

    def end(self) -> None:
        """Let it finish its work, such as to ship what the plane has left behind; wait for it."""
        child, control = self._child, self._control
        if child is None or control is None:
            return
        # No signal: it would kill a process that is still starting.
        control.close()
        try:
            child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("%s did not end in time; the next start does the rest", self.name)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
            self._forget()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        handed = [theirs.fileno()]
        command = [
            # -P: files of the project must not stand in for modules of the libraries.
            *(sys.executable, "-P", "-m", self.module),
            *("--root", str(self.paths.root)),
            *("--control", str(theirs.fileno())),
        ]
        if self.listener is not None:
            handed.append(self.listener.fileno())
            command += ["--listener", str(self.listener.fileno())]
        try:
            with opened(self.log_file) as stderr:
                self._child = subprocess.Popen(  # noqa: S603
                    command,
                    cwd=self.paths.root,
                    stdin=subprocess.DEVNULL,
                    stdout=stderr,
                    stderr=stderr,
                    pass_fds=handed,
                    start_new_session=True,
                )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._control = ours
        self._started = time.monotonic()

    def _forget(self) -> None:
        self._child = None
        if self._control is not None:
            self._control.close()
            self._control = None
