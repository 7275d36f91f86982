"""Starting worker processes, fresh or forked from a template, and ending them."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from headrace.workers.framing import Messages, head

T = TypeVar("T")

SCRIPT: Final = Path(__file__).with_name("process.py")
_ENDING: Final = 10.0
_ONE_THREAD: Final = {
    # Workers share the cores among themselves; and only one thread can be forked.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
_QUIET: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Arrow's own allocator reserves a gigabyte, which would count against the memory limit.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "PYTHONSAFEPATH": "1",
}


@dataclass
class Child:
    """A running worker process and the two ends that this process holds.

    Attributes:
        pid: it leads a process group of its own.
        connection: the socket of requests and answers.
        errors: descriptor of a pipe with what it writes to standard error, where that is kept.
        reap: waits for its end and gives the exit status, negative for a signal.
        forked: from a template.
    """

    pid: int
    connection: socket.socket
    errors: int | None
    reap: Callable[[], int]
    forked: bool = False

    def kill(self) -> None:
        """End it at once, with the processes that it started. Until reaped it keeps its id."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def discard(self) -> None:
        """End it, and close both ends: for one that nobody talked to."""
        self.kill()
        self.connection.close()
        if self.errors is not None:
            os.close(self.errors)
        self.reap()


def variables_of(*, current: bool) -> tuple[frozenset[str], dict[str, str], dict[str, str]]:
    """What a worker does not inherit, the defaults of what it does, and what is always set.

    Args:
        current: whether it runs with this process's own Python and may use its paths.
    """
    if current:
        return frozenset(), _ONE_THREAD, _QUIET
    paths = {"PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "VIRTUAL_ENV"}
    return frozenset(paths), _ONE_THREAD, {**_QUIET, "PYTHONNOUSERSITE": "1"}


def environment_of(inherited: Mapping[str, str], *, current: bool) -> dict[str, str]:
    """The environment variables of a worker, of those of this process."""
    dropped, first, last = variables_of(current=current)
    kept = {name: value for name, value in inherited.items() if name not in dropped}
    return {**first, **kept, **last}


def in_spawner(work: Callable[[], T]) -> T:
    """Run work on the one thread that starts processes.

    A child that asks to end with its parent ends with the thread that started it, so that
    thread must last as long as this process.
    """
    return _spawner(os.getpid()).submit(work).result()


@functools.cache
def _spawner(process: int) -> ThreadPoolExecutor:
    # One a process: a fork has none of its parent's threads.
    return ThreadPoolExecutor(1, thread_name_prefix=f"spawn-{process}")


def start(python: Path, role: str, home: Path, variables: Mapping[str, str]) -> Child:
    """Start ``process.py`` in a process of its own.

    Raises:
        OSError: it cannot be started.
    """
    return in_spawner(lambda: _start(python, role, home, variables))


def _start(python: Path, role: str, home: Path, variables: Mapping[str, str]) -> Child:
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe() if role == "worker" else (None, subprocess.DEVNULL)
    try:
        process = subprocess.Popen(  # noqa: S603  # the environment's own Python
            [python, SCRIPT, role, str(theirs.fileno()), str(os.getpid())],
            cwd=home,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
    except OSError:
        ours.close()
        if reading is not None:
            os.close(reading)
        raise
    finally:
        theirs.close()
        if reading is not None:
            os.close(writing)
    return Child(process.pid, ours, reading, lambda: process.wait(_ENDING))


class NoForkError(Exception):
    """The template cannot fork a worker; a fresh process can be started instead."""


class Template:
    """A process with libraries imported, which forks workers.

    Its methods block for a moment; threads may share it.

    Attributes:
        ready: it can fork now.
        broken: it never will again.
    """

    def __init__(self, python: Path, home: Path, variables: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._messages = Messages()
        self.ready = self.broken = self._closed = False
        self.child = start(python, "template", home, variables)

    def warm(self, modules: list[str], seconds: float) -> None:
        """Import libraries, in so many seconds at most.

        Raises:
            NoForkError: it ended, or has more than one thread, which a fork would lose.
        """
        self.child.connection.settimeout(seconds)
        told = self._ask({"modules": modules})
        if not told.get("ready"):
            raise NoForkError(f"{told.get('threads')} threads once the libraries are imported")
        self.child.connection.settimeout(_ENDING)
        self.ready = True

    def fork(self, config: Mapping[str, Any]) -> Child:
        """A worker that has read ``config``.

        Raises:
            NoForkError: there is more than one thread by now, or the template is gone.
        """
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        try:
            told = self._ask(dict(config), [theirs.fileno(), writing])
            if "child" not in told:
                raise NoForkError(f"{told.get('threads')} threads")
        except NoForkError:
            ours.close()
            os.close(reading)
            raise
        finally:
            theirs.close()
            os.close(writing)
        pid = int(told["child"])
        return Child(pid, ours, reading, lambda: self._reap(pid), forked=True)

    def _reap(self, pid: int) -> int:
        try:
            return os.waitstatus_to_exitcode(int(self._ask({"reap": pid})["status"]))
        except NoForkError:
            return -signal.SIGKILL  # the template took it along

    def _ask(self, order: dict[str, Any], descriptors: list[int] | None = None) -> dict[str, Any]:
        try:
            with self._lock:
                data = head(order)
                sent = socket.send_fds(self.child.connection, [data], descriptors or [])
                self.child.connection.sendall(data[sent:])
                while True:
                    received = self.child.connection.recv(1 << 16)
                    if not received:
                        raise ConnectionResetError("it ended")
                    for told, _ in self._messages.feed(received):
                        return told
        except (OSError, ValueError) as error:
            # An answer that comes later would be taken for the next one's.
            self.ready, self.broken = False, True
            raise NoForkError(f"the template does not answer: {error}") from error

    def close(self) -> None:
        """End the template, and with it the workers that it forked. Once is enough."""
        if self._closed:
            return
        self._closed, self.ready = True, False
        self.child.kill()
        # Wakes a thread that waits for an answer.
        with contextlib.suppress(OSError):
            self.child.connection.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self.child.connection.close()
        self.child.reap()


def exit_text(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"it exited with status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
