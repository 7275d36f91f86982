"""The scoring plane's process: the HTTP server and the reconciler.

Started by the supervisor, which hands it the listening socket and one end of a control socket:
the plane says ``ready`` on it, and drains when the other end closes, so that it never outlives
its supervisor.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from headrace.clock import iso, now
from headrace.endpoints.address import PlaneInfo, url_of, write_plane
from headrace.errors import HeadraceError
from headrace.requestlog.process import left_in
from headrace.requestlog.spool import SpoolWriter, keep_rotating
from headrace.serving.app import Limits, make_app
from headrace.serving.direct import Direct
from headrace.serving.errors import TokenUnreadableError
from headrace.serving.live import Live
from headrace.serving.loading import Loader
from headrace.serving.metrics import Metrics
from headrace.serving.mirror import Mirror
from headrace.serving.pool import ThreadPool
from headrace.serving.proof import Proof
from headrace.serving.protocol import protocol_class
from headrace.serving.reconciler import POLL_SECONDS, Reconciler
from headrace.serving.service import ScoringService
from headrace.serving.telemetry import TracedService, start_tracing
from headrace.serving.tls import Certificate
from headrace.settings import Paths, Secret, read_token

log = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 35
#: While draining, how long connections are still answered and told to close before the idle ones
#: are closed: a client that sends its next request just then is answered.
NOTICE_SECONDS: Final = 0.5
#: A new process takes its first connection once what it serves is loaded, at the latest after
#: this: until then connections wait in the queue of the listening socket, and are not refused.
ACCEPT_SECONDS: Final = 10.0
#: Exit status for a cause that a restart cannot mend.
FATAL: Final = 2


class Plane:
    """One process that answers.

    Args:
        paths: the project.
        listener: the listening socket.
        control: the socket to the supervisor, if there is one.
        limits: bounds on requests.
    """

    def __init__(
        self,
        paths: Paths,
        listener: socket.socket,
        control: socket.socket | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.paths = paths
        self.listener = listener
        self.control = control
        self.limits = limits or Limits()
        self.live = Live()
        self.spool = SpoolWriter(paths.spool)
        self.pool = ThreadPool(min(4, os.cpu_count() or 1), 256, self.limits.deadline_seconds)
        self.mirror = Mirror()
        self.metrics = Metrics(self.live, self._gauges(), self.mirror.counts)
        proof = Proof(paths, self.live, lambda: self.reconciler.store)
        self.loader = Loader(self.live, self.pool, paths.temporary, proof=proof)
        self.reconciler = Reconciler(paths, self.live, self.loader, self.mirror)
        self.status = 0
        self._stop = threading.Event()
        self._token = _token(paths)
        self._tracing = start_tracing()
        self._certificate = Certificate.from_settings(paths.root)
        self._server = self._make_server()

    def run(self) -> int:
        """Serve until a signal, or until the supervisor is gone; the exit status."""
        _raise_file_limit()
        threads = [
            self._thread("reconciler", self._reconcile),
            self._thread("spool", lambda: keep_rotating(self.spool, self._stop)),
        ]
        if self.control is not None:
            threads.append(threading.Thread(target=self._await_supervisor, daemon=True))
        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
            runner.run(self._serve(threads))
        self._stop.set()
        for thread in threads[:2]:
            thread.join(DRAIN_SECONDS)
        self.spool.close()
        if self._tracing is not None:
            self._tracing.close()
        return self.status

    async def _serve(self, threads: list[threading.Thread]) -> None:
        self.loader.loop = asyncio.get_running_loop()
        for thread in threads:
            thread.start()
        latest = self.loader.loop.time() + ACCEPT_SECONDS
        while not (self.live.ready or self._server.should_exit):
            if self.loader.loop.time() > latest:
                break
            await asyncio.sleep(0.02)
        await self._server.serve(sockets=[self.listener])
        self._stop.set()
        # Its last round may let go of workers, which end in this loop.
        await asyncio.to_thread(threads[0].join, DRAIN_SECONDS)
        await self.loader.close()

    def _gauges(self) -> dict[str, tuple[str, Callable[[], float]]]:
        return {
            "headrace_thread_queue": (
                "Large requests that wait for a thread.",
                lambda: self.pool.queued,
            ),
            "headrace_spool_bytes": (
                "Bytes of the request log that are not yet in Delta.",
                lambda: left_in(self.paths.spool),
            ),
        }

    def _make_service(self, deadline: float, mirror: Mirror) -> ScoringService:
        parts = (self.live, self.spool, self.pool, self.metrics, deadline, mirror)
        if self._tracing is not None:
            return TracedService(self._tracing, *parts)
        return ScoringService(*parts)

    def _make_server(self) -> Any:
        import uvicorn

        plane = self
        deadline = self.limits.deadline_seconds
        mirror = self.reconciler.mirror
        service = self._make_service(deadline, mirror)

        class Server(uvicorn.Server):
            def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
                # The base would raise the signal again after the drain: no clean exit status.
                plane.live.draining = True
                self.force_exit = self.should_exit and sig == signal.SIGINT
                self.should_exit = True

            async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
                plane.live.draining = True
                if not self.force_exit and self.server_state.connections:
                    await asyncio.sleep(NOTICE_SECONDS)
                await super().shutdown(sockets)

        app = make_app(self.live, service, self.metrics, lambda: self._token, self.limits)
        # What is traced is awaited, step by step.
        direct = Direct(service, app) if self._tracing is None else None
        config = uvicorn.Config(
            app,
            http=protocol_class(direct),
            ws="none",
            lifespan="off",
            loop="auto",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=math.ceil(deadline) + 2,
        )
        config.load()
        if self._certificate is not None:
            config.ssl = self._certificate.context
        return Server(config)

    def _reconcile(self) -> None:
        announced = False
        while not self._stop.wait(POLL_SECONDS if announced else POLL_SECONDS / 5):
            self._token = _token(self.paths, self._token)
            if self._certificate is not None:
                self._certificate.refresh()
            self.reconciler.tick()
            if self.live.ready and not announced:
                announced = True
                self._announce()
        self.reconciler.close()

    def _announce(self) -> None:
        # What is there now stays: the collector need not look at it again, which at the worst
        # moment would hold up a request for tens of milliseconds.
        gc.collect()
        gc.freeze()
        host, port = self.listener.getsockname()[:2]
        info = PlaneInfo(
            url=url_of(self.listener),
            host=host,
            port=port,
            pid=os.getpid(),
            supervisor=os.getppid() if self.control else os.getpid(),
            started_at=iso(now()),
        )
        write_plane(self.paths, info)
        self._tell(b"ready\n")

    def _tell(self, message: bytes) -> None:
        if self.control is not None:
            try:
                self.control.sendall(message)
            except OSError as error:
                # Its end is closed: _await_supervisor is about to drain this process.
                log.info("the supervisor does not listen: %s", error)

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except HeadraceError as error:
                self._fail(FATAL, str(error))
            except Exception as error:
                # Nothing can repair the state of a thread that died: the supervisor restarts us.
                log.exception("the %s died", name)
                self._fail(1, f"the {name} died: {error!r}")

        return threading.Thread(target=guarded, name=name, daemon=True)

    def _fail(self, status: int, message: str) -> None:
        self.status = status
        self._tell(b"failed " + message.replace("\n", "; ").encode() + b"\n")
        self._server.should_exit = True

    def _await_supervisor(self) -> None:
        assert self.control is not None  # noqa: S101  # the thread is started only with one
        try:
            while self.control.recv(64):
                pass
        except OSError as error:
            log.info("lost the supervisor: %s", error)
        os.kill(os.getpid(), signal.SIGTERM)
        if not self._stop.wait(DRAIN_SECONDS + 5):
            os._exit(1)


def _raise_file_limit() -> None:
    """Allow as many connections as the system does: each one is a descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _token(paths: Paths, current: Secret | None = None) -> Secret:
    """The token in the file; the current one while the file is empty or cannot be read."""
    try:
        token = read_token(paths)
    except (OSError, UnicodeDecodeError) as error:
        if current is None:
            why = getattr(error, "strerror", None) or "it is no text"
            raise TokenUnreadableError(paths.token_file, why) from error
        return current
    if not token.reveal():
        # Someone is writing it. An empty token would let everybody in.
        if current is None:
            raise TokenUnreadableError(paths.token_file, "it is empty")
        return current
    return token
