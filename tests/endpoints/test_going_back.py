"""A rollback under load, with a real plane and the real command."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from tests.planes import Served, eventually, has_state, row

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
