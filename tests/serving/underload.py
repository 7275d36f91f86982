"""A plane under constant load: who asked what, what was answered, and what the log has of it."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench.measure import tree
from tests.load import OpenLoop, Sent, constant_rate
from tests.planes import Served, eventually, row

from headrace import lakehouse
from headrace.endpoints import read_plane
from headrace.requestlog import request_table
from headrace.settings import Paths, read_token

RATE: Final = 50.0
OFFSETS: Final = {"1": 1000.0, "2": 2000.0, "3": 3000.0, "4": 4000.0}
"""What each version of ``tests.planes`` adds to its score."""


@contextmanager
def asked(project: Served, url: str, rate: float = RATE, **options: Any) -> Iterator[OpenLoop]:
    """Request ``n`` has ``a = n`` and the key ``r-n``, so that answers and log tell its number."""

    def body(number: int) -> bytes:
        return json.dumps(
            {"dataframe_records": [row(a=number, b=0, device=f"r-{number}")]}
        ).encode()

    headers = {"authorization": f"Bearer {read_token(project.paths).reveal()}"}
    address = f"{url}/endpoints/scores/invocations"
    with constant_rate(address, rate, body, headers, **options) as load:
        yield load


def version_of(sent: Sent) -> str:
    """The version that answered."""
    return sent.headers["x-headrace-model-version"]


def assert_answers_are_right(load: OpenLoop) -> None:
    """Each answer is that of the version it names, to the request that it answers."""
    for sent in load.answered():
        score = json.loads(sent.body)["predictions"][0]["score"]
        assert score == sent.number + OFFSETS[version_of(sent)], sent


def prediction_ids(load: OpenLoop) -> dict[str, int]:
    """The request's number of each prediction that was answered."""
    return {json.loads(s.body)["prediction_ids"][0]: s.number for s in load.answered()}


def logged(project: Served) -> dict[str, int]:
    """The request's number of each prediction in the Delta table, none of them twice."""
    location = project.workspace.catalog.location_for(request_table("scores"))
    if not lakehouse.exists(location):
        return {}
    found = lakehouse.read(location, columns=["prediction_id", "key"]).to_pylist()
    twice = [
        name for name, times in Counter(r["prediction_id"] for r in found).items() if times > 1
    ]
    assert twice == []
    return {r["prediction_id"]: int(r["key"].removeprefix("r-")) for r in found}


def assert_logged_once(project: Served, load: OpenLoop, unanswered: int = 0) -> None:
    """All that was answered is in the table, once.

    Args:
        project: what is served.
        load: has ended.
        unanswered: at most so many logged requests, whose answer was cut off on its way.
    """
    answered = prediction_ids(load)
    eventually(lambda: answered.items() <= logged(project).items(), 15)
    found = logged(project)
    assert len(set(found.values())) == len(found)
    assert len(found) - len(answered) <= unanswered, load.outcomes()


def plane_pid(paths: Paths) -> int:
    """The scoring plane's process."""
    running = read_plane(paths)
    assert running is not None
    return running.pid


def workers(project: Served) -> list[int]:
    """The processes that score: started by the plane, or forked from their template."""
    started = {pid: _command(pid) for pid in tree(plane_pid(project.paths))}
    template = templates(project)
    forked = {pid for parent in template for pid in tree(parent)} - set(template)
    return [pid for pid in started if pid in forked or "process.py worker" in started[pid]]


def templates(project: Served) -> list[int]:
    """The processes that workers are forked from."""
    plane = plane_pid(project.paths)
    held = [pid for pid in tree(plane) if "process.py template" in _command(pid)]
    forked = {pid for parent in held for pid in tree(parent)[1:]}
    return [pid for pid in held if pid not in forked]


def shippers() -> list[int]:
    """The process that ships the request log of a plane whose supervisor is this process."""
    return [pid for pid in tree(os.getpid()) if "headrace.requestlog" in _command(pid)]


def kill(pid: int) -> None:
    """End a process as a crash would."""
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: _command(pid) == "")


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""
