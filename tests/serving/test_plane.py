"""The plane as its users see it: real processes, real models, real HTTP, real signals."""

from __future__ import annotations

import http.client
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.planes import Client, Served, eventually, has_state, make_root, row, spec

from headrace import lakehouse
from headrace.endpoints import endpoint_status, read_plane, shift, traffic_history
from headrace.endpoints.errors import PlaneRunningError, PortInUseError
from headrace.requestlog import find_spooled
from headrace.requestlog.spool import writers
from headrace.serving import running_plane
from headrace.serving.errors import PlaneFailedError
from headrace.settings import Paths

UP = """
import sys
from pathlib import Path
from headrace.serving import supervise
from headrace.settings import Paths
supervise(Paths(Path(sys.argv[1])), "127.0.0.1", 0, lambda url: print(url, flush=True))
print("ended", flush=True)
"""


class Load:
    """Clients that ask without pause; keeps what they were answered."""

    def __init__(self, client: Client, clients: int = 4) -> None:
        address = urlsplit(client.url)
        self.host, self.port = address.hostname or "", address.port or 0
        self.headers = {
            "authorization": f"Bearer {client.token}",
            "content-type": "application/json",
        }
        self.answers: list[tuple[str, str, float, str]] = []  # id, version, score, key
        self.refused: list[tuple[int, bytes]] = []
        self.broken = 0
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(number,)) for number in range(clients)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int) -> None:
        """Wait for so many further answers."""
        wanted = len(self.answers) + count
        eventually(lambda: len(self.answers) >= wanted, 60)

    def _ask(self, number: int) -> None:
        connection: http.client.HTTPConnection | None = None
        count = 0
        while not self._stop.is_set():
            count += 1
            key = f"device-{number}-{count}"
            body = json.dumps({"dataframe_records": [row(a=number, b=0, device=key)]})
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
                connection.request(
                    "POST", "/endpoints/scores/invocations", body=body, headers=self.headers
                )
                reply = connection.getresponse()
                text = reply.read()
            except (OSError, http.client.HTTPException):
                # Killed under our hands. Whether this one was answered, nobody can know.
                self.broken += 1
                if connection is not None:
                    connection.close()
                connection = None
                continue
            if reply.status == 200:
                answer = json.loads(text)
                self.answers.append(
                    (
                        answer["prediction_ids"][0],
                        reply.headers["x-headrace-model-version"],
                        answer["predictions"][0]["score"] - number,
                        key,
                    )
                )
            else:
                self.refused.append((reply.status, text))
        if connection is not None:
            connection.close()


def logged(project: Served) -> list[dict[str, Any]]:
    location = project.workspace.catalog.location_for("ops.scores_requests")
    if not lakehouse.exists(location):
        return []
    rows: list[dict[str, Any]] = lakehouse.read(location).to_pylist()
    return rows


def wait_until_logged(project: Served, ids: list[str], seconds: float = 10) -> None:
    """Each answered request is in Delta within the promised time, and no row is there twice."""
    eventually(lambda: set(ids) <= {r["prediction_id"] for r in logged(project)}, seconds)
    counted = Counter(r["prediction_id"] for r in logged(project))
    assert max(counted.values()) == 1


@contextmanager
def up(project: Served) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``headrace up`` as a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", UP, str(project.paths.root)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def kill_plane(project: Served) -> None:
    """End the scoring plane as a crash would."""
    running = read_plane(project.paths)
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    eventually(lambda: not is_running(running.pid))


def wait_for_share(client: Client, green: int) -> None:
    """Until the plane has taken in a shift."""
    eventually(lambda: client.request("/endpoints/scores").json["traffic"]["green"] == green)


def shippers(project: Served) -> list[int]:
    """The processes that ship this project's log."""
    root = f"headrace.requestlog\0--root\0{project.paths.root}\0"
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if root.encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_a_deployed_model_answers_and_its_request_is_in_delta(project: Served) -> None:
    project.deploy("first")
    with running_plane(project.paths) as url:
        client = project.client(url)
        reply = client.score("scores", [row(a=1, b=2, device="d-1"), row(a=3, b=4, device="d-2")])
        assert reply.status == 200, reply.body
        assert reply.json["predictions"] == [
            {"score": 1021.0},
            {"score": 1043.0},
        ]
        assert reply.headers["x-headrace-model-version"] == "1"
        assert reply.headers["x-headrace-deployment"] == "blue"
        ids = reply.json["prediction_ids"]
        assert find_spooled(project.paths.spool, ids[1]) or logged(project)
        status = endpoint_status(project.workspace, "scores")
        assert (status.state, status.served) == ("live", 1)
        assert status.url == f"{url}/endpoints/scores/invocations"
        wait_until_logged(project, ids)
    table = logged(project)
    assert [r["prediction_id"] for r in table] == ids
    assert [r["key"] for r in table] == ["d-1", "d-2"]
    assert [r["score"] for r in table] == [1021.0, 1043.0]
    assert json.loads(table[0]["request"]) == row(a=1, b=2, device="d-1")
    assert json.loads(table[0]["prediction"]) == {"score": 1021.0}
    status = endpoint_status(project.workspace, "scores")
    assert (status.state, status.served, status.failed) == ("down", 1, 0)
    assert status.deployments[0].scored_rows == 2
    assert writers(project.paths.spool) == []
    assert read_plane(project.paths) is None


@pytest.mark.slow
def test_a_model_without_a_kernel_answers_from_its_worker(project: Served) -> None:
    project.deploy("third")
    with running_plane(project.paths) as url:
        client = project.client(url)
        reply = client.score("scores", [row(a=1, b=2, device="d-1")])
        assert reply.json["predictions"] == [{"score": 3021.0, "label": "north"}]
        [deployment] = client.request("/endpoints/scores").json["deployments"]
        assert deployment["scorer"] == "worker"
        failed = client.score("scores", [row(a=-666)])
        assert (failed.status, failed.json["error_code"]) == (400, "prediction_failed")
        assert failed.json["why"] == "ValueError: the model does not like this"
        metrics = client.request("/metrics").body.decode()
        assert re.search(r"headrace_worker_workers\{.*\} 1\.0", metrics)
        wait_until_logged(project, reply.json["prediction_ids"])


@pytest.mark.slow
def test_a_shift_under_load_fails_no_request_and_keeps_the_shares(project: Served) -> None:
    project.deploy("first")
    with running_plane(project.paths) as url, Load(project.client(url), clients=16) as load:
        load.more(100)
        green = project.deploy("second", spec(steps=[1, 100], every="1h"))
        eventually(lambda: has_state(project.workspace, green, "ready"))
        marks: list[tuple[int, int, int]] = []
        for share in (0, 10, 50, 100):
            shift(project.workspace, "scores", {"blue": 100 - share, "green": share})
            wait_for_share(project.client(url), share)
            load.more(32)  # those that were under way when the split changed
            start = len(load.answers)
            load.more(500)
            marks.append((share, start, len(load.answers)))
    assert load.refused == []
    assert load.broken == 0
    for share, start, end in marks:
        versions = Counter(version for _, version, _, _ in load.answers[start:end])
        count = versions.total()
        # Each client is in one request of another split at most when the shift comes.
        spread = 6 * math.sqrt(count * share / 100 * (1 - share / 100)) + 16
        assert abs(versions["2"] - count * share / 100) <= spread, (share, versions)
    offsets = {"1": 1000.0, "2": 2000.0}
    assert all(score == offsets[version] for _, version, score, _ in load.answers)
    wait_until_logged(project, [identifier for identifier, *_ in load.answers])
    by_id = {r["prediction_id"]: r for r in logged(project)}
    for identifier, version, _, key in load.answers:
        assert by_id[identifier]["model_version"] == int(version)
        assert by_id[identifier]["key"] == key
    status = endpoint_status(project.workspace, "scores")
    assert (status.served, status.failed) == (len(by_id), 0)


@pytest.mark.slow
def test_a_rollout_in_steps_resumes_after_a_kill(project: Served) -> None:
    project.deploy("first")
    with running_plane(project.paths) as url:
        green = project.deploy("second", spec(steps=[10, 50, 100], every="1s"))
        eventually(lambda: has_state(project.workspace, green, "ready"))
        kill_plane(project)
        first = project.workspace
        old = endpoint_status(first, "scores").deployments[-1].id
        eventually(lambda: has_state(first, old, "standby"), 60)
        # The plane reads in its next round what it has just written.
        eventually(
            lambda: (
                project.client(url).score("scores", [row()]).headers["x-headrace-model-version"]
                == "2"
            )
        )
    greens = [s.shares["green"] for s in traffic_history(project.workspace, "scores")]
    assert greens == [0, 10, 50, 100]


def test_sigterm_drains(project: Served) -> None:
    project.deploy("slow")
    with up(project) as (process, url), Load(project.client(url), clients=4) as load:
        load.more(8)
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.read() == "ended\n"
        assert process.wait(30) == 0
        eventually(lambda: load.broken > 8)
    assert load.refused == []
    ids = {identifier for identifier, *_ in load.answers}
    assert {r["prediction_id"] for r in logged(project)} == ids, "all that was begun was answered"
    assert writers(project.paths.spool) == []


def test_the_plane_does_not_outlive_its_supervisor(project: Served) -> None:
    project.deploy("first")
    with up(project) as (process, url):
        running = read_plane(project.paths)
        assert running is not None
        assert (running.url, running.supervisor) == (url, process.pid)
        answered = project.client(url).score("scores", [row()]).json["prediction_ids"]
        process.kill()
        process.wait()
        eventually(lambda: not is_running(running.pid))
        assert read_plane(project.paths) is None
        wait_until_logged(project, answered)
        eventually(lambda: not shippers(project), 60)
    assert writers(project.paths.spool) == []


def test_a_port_in_use_is_named_with_its_process(project: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError) as caught, running_plane(project.paths, port):
            pass
    assert caught.value.port == port
    assert caught.value.pid == os.getpid()
    assert "headrace up --port" in str(caught.value)
    with running_plane(project.paths) as url:
        assert project.client(url).request("/readyz").status == 200


def test_a_project_is_served_once(project: Served) -> None:
    with running_plane(project.paths) as url:
        with pytest.raises(PlaneRunningError) as caught, running_plane(project.paths):
            pass
        assert caught.value.url == url
        assert project.client(url).request("/livez").status == 200


def test_a_database_that_is_too_new_ends_the_start_with_the_reason(project: Served) -> None:
    from sqlalchemy import text

    with project.workspace.store.begin() as connection:
        connection.execute(
            text("INSERT INTO headrace_migrations VALUES (9999, 'future', '2099-01-01 00:00:00')")
        )
    with pytest.raises(PlaneFailedError) as caught, running_plane(project.paths):
        pass
    assert "9999" in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda paths: paths.token_file.write_text(""), "token cannot be read"),
        (lambda paths: paths.token_file.write_bytes(b"\xff"), "it is no text"),
        (lambda paths: (paths.spool.rmdir(), paths.spool.write_text("")), "spool"),
        (lambda paths: os.environ.update(HEADRACE_LOG="warnin"), 'did you mean "warning"?'),
    ],
    ids=["token", "token of bytes", "spool", "log"],
)
def test_a_start_that_cannot_work_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any, reason: str
) -> None:
    monkeypatch.setenv("HEADRACE_LOG", "warning")
    paths = make_root(tmp_path / "project")
    paths.token_file.write_text("secret\n")
    monkeypatch.setattr(Paths, "make", lambda _: None)
    spoil(paths)
    with pytest.raises(PlaneFailedError) as caught, running_plane(paths):
        pass
    assert reason in (caught.value.why or "")


def test_the_token_is_asked_for_and_can_be_changed(project: Served) -> None:
    project.deploy("first")
    with running_plane(project.paths) as url:
        client = project.client(url)
        stranger = Client(url, None)
        assert stranger.score("scores", [row()]).status == 401
        assert stranger.request("/livez").status == 200
        fresh = project.paths.token_file.with_suffix(".new")
        fresh.write_text("another\n")
        fresh.replace(project.paths.token_file)
        eventually(lambda: client.request("/endpoints").status == 401)
        assert Client(url, "another").score("scores", [row()]).status == 200


def raw(url: str, data: bytes) -> bytes:
    """Bytes sent as they are; what came back until the server closed."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(data)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS handshake
        b"not http at all\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ],
)
def test_what_is_no_http_gets_the_same_shape(shared_url: str, data: bytes) -> None:
    head, _, body = raw(shared_url, data).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400"), head
    assert json.loads(body)["error_code"] == "malformed_request"


@pytest.fixture(scope="module")
def shared_url(template: Served) -> Iterator[str]:
    """A plane without endpoints for tests of the connection alone."""
    with running_plane(template.paths) as url:
        yield url


def test_mlflows_own_payloads_are_read(project: Served, scoring_server: Any) -> None:
    import pandas as pd
    from mlflow.models import convert_input_example_to_serving_input

    project.deploy("first")
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [2, 3], "site": ["x", "y"]})
    with running_plane(project.paths) as url:
        client = project.client(url)
        body = convert_input_example_to_serving_input(frame).encode()
        in_json = client.request("/endpoints/scores/invocations", body)
        in_csv = client.request(
            "/endpoints/scores/invocations",
            frame.to_csv(index=False).encode(),
            {"content-type": "text/csv"},
        )
    assert in_json.json["predictions"] == in_csv.json["predictions"]
    assert [p["score"] for p in in_json.json["predictions"]] == [1021.0, 1032.0]
