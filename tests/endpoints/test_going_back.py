"""A rollback under load, with a real plane and the real command."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from tests.planes import Served, eventually, has_state, row

from headrace.endpoints import EndpointSpec, decisions
from headrace.serving import running_plane


@pytest.mark.slow
def test_one_command_goes_back_to_the_version_before_and_loses_nothing(project: Served) -> None:
    with running_plane(project.paths) as url:
        first = project.deploy("first")
        eventually(lambda: has_state(project.workspace, first, "ready"), 120)
        second = project.deploy("second")
        eventually(lambda: has_state(project.workspace, first, "standby"), 120)
        client = project.client(url)
        eventually(lambda: client.score("scores", [row()]).json["predictions"][0]["score"] > 2000)
        answers: list[tuple[int, str]] = []
        stop = threading.Event()

        def ask() -> None:
            while not stop.wait(0.01):
                reply = client.score("scores", [row()])
                version = reply.headers.get("x-headrace-model-version", "")
                answers.append((reply.status, version))

        asking = threading.Thread(target=ask)
        asking.start()
        subprocess.run(
            [sys.executable, "-m", "headrace", "endpoints", "rollback", "scores"],
            cwd=project.paths.root,
            check=True,
            timeout=60,
        )
        eventually(lambda: answers[-1][1] == "1")
        stop.set()
        asking.join(30)
    assert {status for status, _ in answers} == {200}
    versions = [version for _, version in answers]
    assert versions == sorted(versions, reverse=True), "never forth again"
    assert has_state(project.workspace, second, "retired")


@pytest.mark.slow
def test_a_version_that_answers_differently_never_answers_anybody(project: Served) -> None:
    careful = EndpointSpec.model_validate(
        {
            "name": "scores",
            "model": "model@production",
            "rollout": {
                "steps": [50, 100],
                "every": "1h",
                "mirror": "100%",
                "rollback": {"distance": 1.5, "latency_p99": "20s"},
            },
        }
    )
    with running_plane(project.paths) as url:
        first = project.deploy("first", careful)
        eventually(lambda: has_state(project.workspace, first, "ready"), 120)
        second = project.deploy("second", careful)
        eventually(lambda: has_state(project.workspace, second, "ready"), 120)
        client = project.client(url)
        answered: set[tuple[int, str]] = set()

        def went_back() -> bool:
            reply = client.score("scores", [row()])
            answered.add((reply.status, reply.headers["x-headrace-model-version"]))
            return has_state(project.workspace, second, "failed")

        eventually(went_back, 120)
    assert answered == {(200, "1")}
    newest = decisions(project.workspace, "scores")[0]
    assert newest.action == "rollback"
    assert newest.reason.startswith("distance is ")
    checks = {check["rule"]: check for check in newest.evidence["checks"]}
    assert checks["distance"]["violated"]
    assert checks["distance"]["count"] == checks["latency_p99"]["count"]
    assert not checks["latency_p99"]["violated"]
