"""The embedded Spark Connect server: Sail, in this process, one for all sessions."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from typing import TYPE_CHECKING

from headrace.engine.errors import EngineUnavailableError

if TYPE_CHECKING:
    from pysail.spark import SparkConnectServer

_lock = threading.Lock()
_running: tuple[int, SparkConnectServer, str] | None = None


def address() -> str:
    """``sc://`` address of the embedded server, which starts on the first call.

    It listens on a free port of the loopback interface and ends with the process. After a fork
    the child gets a server of its own.

    Raises:
        EngineUnavailableError: it does not start.
    """
    global _running
    with _lock:
        if _running is None or _running[0] != os.getpid():
            _running = (os.getpid(), *_start())
        return _running[2]


def leave_interrupts_to_python() -> None:
    """Take SIGINT back from Sail, which would stop at it; what Ctrl-C unwinds needs the server.

    A client whose server is gone asks again for minutes, also when the process ends. To be called
    once the server has answered: it takes the signal when it begins to serve, not before.
    """
    handler = signal.getsignal(signal.SIGINT)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handler)


def _start() -> tuple[SparkConnectServer, str]:
    # Read once, when the native library loads: Sail logs each query at INFO otherwise, and each
    # commit that another writer was faster with as an error.
    os.environ.setdefault("RUST_LOG", "error,sail_delta_lake::transaction=off")
    os.environ.setdefault("RUST_BACKTRACE", "0")
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer(ip="127.0.0.1", port=0)
    try:
        server.start(background=True)
        host, port = server.listening_address
    except (RuntimeError, OSError) as error:
        raise EngineUnavailableError("sail (embedded)", str(error)) from error
    atexit.register(_stop)
    return server, f"sc://{host}:{port}"


def _stop() -> None:
    global _running
    with _lock:
        if _running is not None and _running[0] == os.getpid():
            _running[1].stop()
        _running = None
