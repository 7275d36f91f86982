"""The control plane's process: MLflow's application behind the guard, on a given socket."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import warnings
from typing import TYPE_CHECKING, Any, Final

from headrace.catalog import Store
from headrace.catalog.mlflow_tables import ensure_mlflow_tables
from headrace.catalog.store import driver_url
from headrace.clock import iso, now
from headrace.control.address import ControlInfo, forget_control, write_control
from headrace.control.guard import Guard
from headrace.control.login import Login
from headrace.endpoints.address import url_of
from headrace.settings import read_token, setting

if TYPE_CHECKING:
    from types import FrameType

    from headrace.control.guard import Limits
    from headrace.settings import Paths, Secret

log = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 10
_EVERYWHERE: Final = ("0.0.0.0", "::", "")  # noqa: S104  # looked for, not listened on


class ControlPlane:
    """One process.

    Args:
        paths: the project.
        listener: the listening socket.
        control: the socket to the supervisor, if there is one; the plane ends when it closes.
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
        self.limits = limits
        self.store = Store.open(paths.database_url)
        self._token = read_token(paths)

    def run(self) -> int:
        """Serve until a signal, or until the supervisor is gone; the exit status."""
        import uvicorn

        ensure_mlflow_tables(self.store)
        host, port = self.listener.getsockname()[:2]
        login = Login(self.paths, self.token, port)
        hosts = () if host in _EVERYWHERE else (host,)
        guard = Guard(mlflow_app(self.paths), self.store, self.token, login, hosts, self.limits)
        plane = self

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                plane._announce()

            def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
                # The base would raise the signal again after the drain: no clean exit status.
                self.should_exit = True

        config = uvicorn.Config(
            guard,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,  # the link's code would be in it
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            ssl_certfile=_file(self.paths, "HEADRACE_TLS_CERT"),
            ssl_keyfile=_file(self.paths, "HEADRACE_TLS_KEY"),
        )
        if self.control is not None:
            threading.Thread(target=self._await_supervisor, daemon=True).start()
        try:
            Server(config).run(sockets=[self.listener])
        finally:
            forget_control(self.paths)
            self.store.close()
        return 0

    def token(self) -> Secret:
        """The project's token as its file has it now; the last one while that is empty."""
        try:
            fresh = read_token(self.paths)
        except (OSError, UnicodeDecodeError):
            return self._token
        if fresh.reveal():
            self._token = fresh
        return self._token

    def _announce(self) -> None:
        info = ControlInfo(url_of(self.listener), os.getpid(), iso(now()))
        write_control(self.paths, info)
        if self.control is not None:
            try:
                self.control.sendall(b"ready\n")
            except OSError as error:
                log.info("the supervisor does not listen: %s", error)

    def _await_supervisor(self) -> None:
        assert self.control is not None  # noqa: S101  # the thread is started only with one
        try:
            while self.control.recv(64):
                pass
        except OSError as error:
            log.info("lost the supervisor: %s", error)
        os.kill(os.getpid(), signal.SIGTERM)


def _file(paths: Paths, name: str) -> str | None:
    """The file that a setting names; relative to the project."""
    found = setting(name)
    return str(paths.root / found) if found else None


def mlflow_app(paths: Paths) -> Any:
    """MLflow's application on the project's database and artifacts.

    It takes its settings from the environment, when it is imported: once a process.
    """
    uri = driver_url(paths.database_url)
    os.environ.update(
        {
            "_MLFLOW_SERVER_FILE_STORE": uri,
            "_MLFLOW_SERVER_REGISTRY_STORE": uri,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": paths.artifacts.as_uri(),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SGI_NAME": "uvicorn",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # The guard has looked at the host.
            "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
            "MLFLOW_ENABLE_WORKSPACES": "false",
        }
    )
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_TRACKING_TOKEN"):
        os.environ.pop(name, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's own use of other libraries
        from mlflow.server import handlers
        from mlflow.server.fastapi_app import app

        handlers.initialize_backend_stores(uri, uri, "mlflow-artifacts:/")
    return app
