"""One control plane for all tests of the package: its start costs seconds."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.modelling import ModelProject, feature_rows, make_model_project, put_alias
from tests.promotion.conftest import add_versions

from headrace.catalog import Audit, AuditEntry
from headrace.settings import read_token


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@dataclass
class Running:
    """A control plane, and the project that it serves."""

    project: ModelProject
    port: int
    process: subprocess.Popen[bytes]
    control: socket.socket

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        """The project's token."""
        return read_token(self.project.workspace.paths).reveal()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        token: str | None = None,
    ) -> Answer:
        """One request with the project's token, or another; an empty one is not sent."""
        sent = dict(headers or {})
        given = self.token if token is None else token
        if given:
            sent["Authorization"] = f"Bearer {given}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, sent)
            reply = connection.getresponse()
            return Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def audited(self) -> list[AuditEntry]:
        """What was refused, the newest first."""
        return Audit(self.project.workspace.store).entries(action="control")


def start(project: ModelProject) -> Running:
    """Start a plane and wait until it answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    ours, theirs = socket.socketpair()
    log = (project.root / ".headrace" / "control.log").open("ab")
    with listener, theirs, log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "headrace.control", "--root", str(project.root)),
                *("--listener", str(listener.fileno()), "--control", str(theirs.fileno())),
            ],
            pass_fds=(listener.fileno(), theirs.fileno()),
            stdout=log,
            stderr=log,
            env={k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "_MLFLOW"))},
        )
        port = listener.getsockname()[1]
    ours.settimeout(120)
    said = ours.recv(64)
    assert said == b"ready\n", Path(log.name).read_text()
    return Running(project, port, process, ours)


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A plane on a project whose model ``failure`` has four versions, the first in production."""
    root = tmp_path_factory.mktemp("control") / "project"
    project = make_model_project(root, feature_rows(60))
    add_versions(project.workspace, 4)
    put_alias(project.workspace, "failure", 1)
    running = start(project)
    yield running
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(30) == 0
    running.control.close()
    project.workspace.close()
