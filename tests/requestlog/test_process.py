"""The shipper's process beside a writer that lives: real processes, real kills."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.planes import eventually, make_root
from tests.requestlog.records import served

from headrace import lakehouse
from headrace.catalog import Store
from headrace.requestlog.spool import SpoolWriter, writers
from headrace.serving.companion import Companion

if TYPE_CHECKING:
    from headrace.settings import Paths

#: A plane that does nothing but append, to the end of its process.
APPEND = """
import sys, threading
from pathlib import Path
from tests.requestlog.records import served
from headrace.requestlog.spool import SpoolWriter, keep_rotating
writer = SpoolWriter(Path(sys.argv[1]))
threading.Thread(target=keep_rotating, args=(writer, threading.Event(), 0.05), daemon=True).start()
pause = threading.Event()
for number in range(10**9):
    writer.append(served(f"{sys.argv[2]}_{number}"))
    print(number, flush=True)
    pause.wait(0.002)
"""


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = make_root(tmp_path / "project")
    Store.open(paths.database_url).close()
    return paths


@contextmanager
def shipping(paths: Paths) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """The process, and the supervisor's end of its control socket."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "headrace.requestlog", "--root", str(paths.root)]
    process = subprocess.Popen(
        [*command, "--control", str(theirs.fileno())],
        pass_fds=(theirs.fileno(),),
        stderr=subprocess.PIPE,
    )
    theirs.close()
    assert process.stderr is not None
    with ours, process.stderr:
        try:
            yield process, ours
        finally:
            process.kill()
            process.wait()


def logged(paths: Paths) -> list[str]:
    location = paths.warehouse / "main" / "ops" / "scores_requests"
    if not lakehouse.exists(location):
        return []
    ids: list[str] = lakehouse.read(location, columns=["request_id"])["request_id"].to_pylist()
    return ids


def has(paths: Paths, *numbers: int) -> Callable[[], bool]:
    return lambda: sorted(logged(paths)) == sorted(f"req_{n}" for n in numbers)


def append(writer: SpoolWriter, *numbers: int) -> None:
    for number in numbers:
        writer.append(served(number))


def test_what_a_living_writer_has_finished_is_shipped(paths: Paths) -> None:
    with SpoolWriter(paths.spool) as writer, shipping(paths):
        append(writer, 1)
        writer.rotate()
        append(writer, 2)
        eventually(has(paths, 1), 10)
        assert not has(paths, 1, 2)()
        writer.rotate()
        eventually(has(paths, 1, 2), 10)


def test_sigterm_ends_it_after_a_last_round(paths: Paths) -> None:
    with shipping(paths) as (process, _), SpoolWriter(paths.spool) as writer:
        append(writer, 1)
        writer.rotate()
        eventually(has(paths, 1), 10)
        append(writer, 2)
        writer.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert has(paths, 1, 2)()
        assert writers(paths.spool) == []


def test_without_its_supervisor_it_waits_for_the_plane_and_ends(paths: Paths) -> None:
    with shipping(paths) as (process, control):
        with SpoolWriter(paths.spool) as writer:
            append(writer, 1)
            writer.rotate()
            eventually(has(paths, 1), 10)
            control.close()
            append(writer, 2)
            writer.rotate()
            eventually(has(paths, 1, 2), 10)
            assert process.poll() is None
            append(writer, 3)
        assert process.wait(30) == 0
    assert has(paths, 1, 2, 3)()
    assert writers(paths.spool) == []


def test_it_waits_for_a_database_that_is_away(paths: Paths) -> None:
    file = paths.state / "headrace.db"
    aside = file.with_suffix(".aside")
    file.rename(aside)
    with SpoolWriter(paths.spool) as writer:
        append(writer, 1)
    with shipping(paths) as (process, _):
        assert process.stderr is not None
        assert b"is not there" in process.stderr.readline()
        assert not file.exists()
        aside.rename(file)
        eventually(has(paths, 1), 10)


def test_an_idle_project_makes_no_commits(paths: Paths) -> None:
    with SpoolWriter(paths.spool) as writer, shipping(paths):
        append(writer, 1)
        writer.rotate()
        eventually(has(paths, 1), 10)
        location = paths.warehouse / "main" / "ops" / "scores_requests"
        version = lakehouse.latest_version(location)
        for _ in range(3):
            writer.rotate()
        other = SpoolWriter(paths.spool)
        other.append(served(1, endpoint="another"))
        other.close()
        eventually(lambda: lakehouse.exists(location.with_name("another_requests")), 10)
        assert lakehouse.latest_version(location) == version


@contextmanager
def writing(paths: Paths, name: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", APPEND, str(paths.spool), name],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    with process.stdout:
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@contextmanager
def tended(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Iterator[Companion]:
    """A companion that is looked after as the supervisor does, and ended."""
    monkeypatch.setattr("headrace.serving.companion.FIRST_DELAY", 0.05)
    monkeypatch.setattr("headrace.serving.companion.LONGEST_DELAY", 0.1)
    companion = Companion(paths, paths.state / "shipper.log")
    stop = threading.Event()

    def tend() -> None:
        while not stop.wait(0.05):
            companion.tend()

    thread = threading.Thread(target=tend)
    thread.start()
    try:
        yield companion
    finally:
        stop.set()
        thread.join()
        companion.end()


def kill(companion: Companion) -> None:
    """Kill the process, and wait for the next one."""
    first = eventually(lambda: companion.pid)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: companion.pid not in (None, first))


@pytest.mark.slow
def test_kills_of_writers_and_shippers_lose_and_double_nothing(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record counts as answered once its writer has said so."""
    answered: set[str] = set()
    with tended(paths, monkeypatch) as companion:
        for round_ in range(3):
            with writing(paths, str(round_)) as process:
                for pause in (0.0, 0.02, 0.05):
                    before = len(logged(paths))
                    eventually(partial(_has_more, paths, before))
                    time.sleep(pause)  # to meet another moment of a round, not to wait for one
                    kill(companion)
                process.kill()
                assert process.stdout is not None
                said = process.stdout.read().splitlines(keepends=True)
            answered |= {f"req_{round_}_{line.strip()}" for line in said if line.endswith("\n")}
    counted = Counter(logged(paths))
    assert answered <= set(counted)
    assert max(counted.values()) == 1
    # What was written when the kill came, and was not said, may be there as well.
    assert len(counted) - len(answered) <= 3
    assert writers(paths.spool) == []


def _has_more(paths: Paths, than: int) -> bool:
    return len(logged(paths)) > than


def test_a_companion_is_started_again_and_ends_with_a_last_round(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tended(paths, monkeypatch) as companion:
        kill(companion)
        # Its handlers are there once it ships.
        with SpoolWriter(paths.spool) as writer:
            append(writer, 1)
            writer.rotate()
            eventually(has(paths, 1))
            append(writer, 2)
    assert companion.pid is None
    assert has(paths, 1, 2)()


def test_a_companion_that_cannot_be_started_is_tried_again(
    paths: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    companion = Companion(paths, paths.state / "logs" / "shipper.log")
    companion.tend()
    assert companion.pid is None
    assert "does not start" in caplog.text
    (paths.state / "logs").mkdir()

    def started() -> bool:
        companion.tend()
        return companion.pid is not None

    try:
        eventually(started, 10)
    finally:
        companion.end()


def test_ending_kills_what_does_not_listen(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.serving.companion.END_SECONDS", 0.2)
    companion = Companion(paths, None)
    companion.tend()
    pid = companion.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    companion.end()
    assert time.monotonic() - started < 30
    assert not Path(f"/proc/{pid}").exists()
