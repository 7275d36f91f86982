"""The edge of the control plane: routes, the way in for browsers, bounds."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headrace.control.errors import OutsideArtifactsError, TooSlowError
from headrace.control.graphql import only_reads
from headrace.control.judge import refusal
from headrace.control.login import SESSION_SECONDS, Login
from headrace.control.routes import ROUTES, route_of
from headrace.control.wire import bounded, whole_body
from headrace.settings import Paths, Secret

if TYPE_CHECKING:
    from .conftest import Running

#: What MLflow answers and we do not, by the beginning of the path below its API.
REFUSED = [
    "gateway",
    "gateway-proxy",
    "jobs",
    "assistant",
    "mcp-servers",
    "webhooks",
    "workspaces",
    "prompt-optimization",
    "genai/evaluate",
    "scorer/invoke",
    "scorers",
    "issues",
    "label-schemas",
    "review-queues",
    "demo",
    "unified-traces",
    "get-online-trace-details",
    "upload-artifact",
    "artifacts/presigned",
    "runs/create-promptlab-run",
    "mpu",
    "presigned",
    "ui-telemetry",
    "traces/",
]

LIST = """
import json, warnings
warnings.simplefilter("ignore")
import mlflow.server
from mlflow.server.fastapi_app import app
found = [
    [method, rule.rule] for rule in mlflow.server.app.url_map.iter_rules()
    for method in rule.methods - {"HEAD", "OPTIONS"}
]
for included in app.routes:
    router = getattr(included, "original_router", None)
    if router is not None:
        prefix = included.include_context.prefix
        found += [[method, prefix + each.path] for each in router.routes for method in each.methods]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def real_routes() -> list[tuple[str, str]]:
    """Each method and path of MLflow's own tables of routes."""
    done = subprocess.run(
        [sys.executable, "-c", LIST], capture_output=True, text=True, timeout=120, check=True
    )
    return [(method, path) for method, path in json.loads(done.stdout.splitlines()[-1])]


def _filled(path: str) -> str:
    path = re.sub(r"<path:\w+>|\{\w+:path\}", "one/two", path)
    return re.sub(r"<\w+>|\{\w+\}", "x1", path)


def _known_to_be_refused(path: str) -> bool:
    if path.startswith(("/gateway/", "/build/", "/ajax-api/3.0/jobs", "/api/2.0mlflow")):
        return True
    if path.startswith("/ajax-api/2.0mlflow"):
        return True
    below = re.sub(r"^/(ajax-)?api/\d\.0/mlflow(-artifacts)?/", "", path)
    return below != path and below.startswith(tuple(REFUSED))


def test_each_route_of_mlflow_is_on_the_list_or_known_to_be_refused(
    real_routes: list[tuple[str, str]],
) -> None:
    assert len(real_routes) > 300
    unknown = [
        (method, path)
        for method, path in real_routes
        if route_of(method, _filled(path)) is None and not _known_to_be_refused(path)
    ]
    assert unknown == [], "decide about new routes: control/routes.py, or REFUSED here"


def test_the_list_names_no_route_that_mlflow_lacks(real_routes: list[tuple[str, str]]) -> None:
    real = {(method, _filled(path)) for method, path in real_routes}
    listed = {
        (method, _filled(route.path.replace("<id>", "x1").replace("<path>", "one/two")))
        for route in ROUTES
        for method in route.methods
    }
    # The same paths below /api and /ajax-api; MLflow has some below one of them alone.
    either = {(method, path.replace("/ajax-api/", "/api/")) for method, path in real}
    wrong = {
        each for each in listed if (each[0], each[1].replace("/ajax-api/", "/api/")) not in either
    }
    assert wrong == set()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("POST", "/"),
        ("TRACE", "/health"),
        ("OPTIONS", "/api/2.0/mlflow/runs/create"),
        ("POST", "/api/2.0/mlflow/registered-models/alias/"),
        ("POST", "/api/2.0/mlflow//registered-models/alias"),
        ("POST", "/api/2.0/mlflow/x/../registered-models/alias"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts/../../etc/passwd"),
        ("GET", "/static-files/../../secret"),
        ("POST", "/API/2.0/mlflow/runs/create"),
        ("POST", "/ajax-api/3.0/mlflow/gateway/secrets/create"),
        ("POST", "/ajax-api/3.0/jobs/"),
        ("PUT", "/ajax-api/3.0/mlflow/assistant/config"),
        ("POST", "/api/3.0/mlflow/mcp-servers"),
        ("POST", "/api/2.0/mlflow/webhooks"),
        ("POST", "/signup"),
        ("POST", "/api/2.0/mlflow/users/create"),
    ],
)
def test_what_is_not_listed_is_refused(plane: Running, method: str, path: str) -> None:
    found = plane.ask(method, path, b"{}" if method not in ("GET", "TRACE") else None)
    assert found.status == 403
    assert found.json["error_code"] == "PERMISSION_DENIED"


def test_without_the_token_there_is_only_the_health(plane: Running) -> None:
    assert plane.ask("GET", "/health", token="").body == b"OK"
    for path in ("/", "/version", "/api/2.0/mlflow/experiments/search?max_results=1", "/nothing"):
        found = plane.ask("GET", path, token="")
        assert (found.status, found.json["error_code"]) == (401, "UNAUTHENTICATED")
        assert found.headers["www-authenticate"] == "Bearer"


def _enter(plane: Running) -> str:
    """Open the link; the cookie."""
    code = (plane.project.workspace.paths.state / "login").read_text().strip()
    found = plane.ask("GET", f"/?token={code}", token="")
    assert found.status == 200
    cookie, *rules = found.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(rules)
    assert code not in found.body.decode()
    assert plane.ask("GET", f"/?token={code}", token="").status == 401  # it worked once
    return cookie


def test_a_browser_enters_by_a_link_that_works_once(plane: Running) -> None:
    cookie = _enter(plane)
    page = plane.ask("GET", "/", headers={"Cookie": cookie}, token="")
    assert page.status == 200
    assert b"<title>MLflow</title>" in page.body
    script = re.search(rb'src="(static-files/[^"]+\.js)"', page.body)
    assert script is not None
    asset = plane.ask("GET", "/" + script[1].decode(), headers={"Cookie": cookie}, token="")
    assert (asset.status, len(asset.body) > 1000) == (200, True)
    asked = plane.ask(
        "POST",
        "/ajax-api/2.0/mlflow/experiments/search",
        {"max_results": 5},
        {"Cookie": cookie, "Origin": plane.url, "Sec-Fetch-Site": "same-origin"},
        token="",
    )
    assert asked.status == 200


def test_pages_of_other_sites_cannot_use_the_cookie(plane: Running) -> None:
    cookie = _enter(plane)
    search = ("POST", "/ajax-api/2.0/mlflow/experiments/search", {"max_results": 5})
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {},
    ):
        found = plane.ask(*search, {"Cookie": cookie, **headers}, token="")
        assert (found.status, found.json["error_code"]) == (403, "PERMISSION_DENIED"), headers


def test_a_page_that_names_this_machine_otherwise_reads_nothing(plane: Running) -> None:
    found = plane.ask("GET", "/", headers={"Host": "rebound.example"})
    assert found.status == 403
    assert "rebound.example" in found.json["message"]
    assert plane.ask("GET", "/", headers={"Host": f"localhost:{plane.port}"}).status == 200


def test_cookies_end_and_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Paths(tmp_path)
    paths.make()
    tokens = [Secret("one")]
    login = Login(paths, lambda: tokens[-1], 8350)
    assert login.enter("guess") is None
    code = login.file.read_text().strip()
    assert login.file.stat().st_mode & 0o777 == 0o600
    cookie = (login.enter(code) or "").partition(";")[0]
    assert login.knows(f"a=b; {cookie}")
    assert not login.knows(cookie.replace("8350", "8351"))
    assert not login.knows(cookie[:-1] + ("0" if cookie[-1] != "0" else "1"))
    name, _, value = cookie.partition("=")
    until, _, mac = value.partition(".")
    assert not login.knows(f"{name}={int(until) + 1}.{mac}")
    later = time.time() + SESSION_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert not login.knows(cookie)
    monkeypatch.undo()
    tokens.append(Secret("two"))
    assert not login.knows(cookie)


def test_a_trace_does_not_say_where_its_files_are() -> None:
    path = "/api/2.0/mlflow/traces/tr-1/tags"
    found = refusal(path, {"key": "mlflow.artifactLocation", "value": "file:///etc"})
    assert isinstance(found, OutsideArtifactsError)
    assert found.location == "file:///etc"
    assert refusal(path, {"key": "who", "value": "ann"}) is None


def test_bodies_are_bounded(plane: Running) -> None:
    with socket.create_connection(("127.0.0.1", plane.port), timeout=30) as raw:
        raw.sendall(
            b"POST /api/2.0/mlflow/runs/create HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            + f"Authorization: Bearer {plane.token}\r\n".encode()
            + b"Content-Length: 99999999999\r\n\r\n"
        )
        answer = raw.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer.lower()


def test_a_part_that_does_not_come_ends_the_request() -> None:
    async def never() -> dict[str, object]:
        await asyncio.Event().wait()
        return {}

    with pytest.raises(TooSlowError):
        asyncio.run(whole_body(never, 10, 0.01))

    async def part() -> None:
        await bounded(never, 10, 0.01)()

    with pytest.raises(TooSlowError):
        asyncio.run(part())


@pytest.mark.parametrize(
    ("query", "reads"),
    [
        ('query { mlflowGetRun(input: {runId: "a"}) { run { info { runId } } } }', True),
        ("mutation { mlflowSearchRuns(input: {}) { runs { info { runId } } } }", True),
        ('mutation { testMutation(inputString: "a") { output } }', False),
        ("mutation { ...F } fragment F on Mutation { testMutation { output } }", False),
        ("query A { a } mutation B { testMutation { output } }", False),
        ("no graphql {", False),
        ("", False),
    ],
)
def test_graphql_reads_alone(query: str, reads: bool) -> None:
    assert only_reads({"query": query}) is reads
