"""Maintenance beside writers and readers that know nothing of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from tests.lakehouse.test_sweep import age

from headrace import lakehouse, pins
from headrace.maintenance import MaintenanceSpec, maintain

if TYPE_CHECKING:
    from headrace.workspace import Workspace

    from .conftest import MakeTable, PinIt


def test_no_row_is_lost_and_no_read_fails(
    workspace: Workspace, make_table: MakeTable, pin_it: PinIt
) -> None:
    location = make_table(versions=12)
    pin_it(3)
    age(Path(location), days=60)
    done = threading.Event()

    def write(first: int) -> None:
        for number in range(first, first + 25):
            lakehouse.write(location, pa.table({"id": [number]}))

    def read() -> int:
        count = 0
        while not done.is_set():
            assert 11 in lakehouse.read(location).column("id").to_pylist()
            assert lakehouse.read(location, 3).column("id").to_pylist() == [3]
            count += 1
        return count

    def keep_tidy() -> set[str]:
        states: set[str] = set()
        while not done.is_set():
            states |= {report.state for report in maintain(workspace, MaintenanceSpec())}
        return states

    with ThreadPoolExecutor(5) as pool:
        writers = [pool.submit(write, first) for first in (1000, 2000)]
        reader, first, second = pool.submit(read), pool.submit(keep_tidy), pool.submit(keep_tidy)
        try:
            for writer in writers:
                writer.result()
        finally:
            done.set()
        assert reader.result() > 0
        assert first.result() | second.result() <= {"done", "busy"}
    assert maintain(workspace, MaintenanceSpec())[0].state == "done"
    rows = sorted(lakehouse.read(location).column("id").to_pylist())
    assert rows == [11, *range(1000, 1025), *range(2000, 2025)]
    assert lakehouse.read(location, 3).column("id").to_pylist() == [3]


def test_a_version_that_is_pinned_while_files_are_removed_waits(
    workspace: Workspace, make_table: MakeTable, pin_it: PinIt
) -> None:
    make_table()
    pin_it(0)
    released = threading.Event()

    def release() -> None:
        pins.release(workspace, "failure", 1, reason="test", by="ada")
        released.set()

    thread = threading.Thread(target=release)
    with pins.changing(workspace.store):
        thread.start()
        assert not released.wait(0.3)
        assert len(pins.pinned(workspace.store)) == 1
    thread.join(timeout=30)
    assert pins.pinned(workspace.store) == []
