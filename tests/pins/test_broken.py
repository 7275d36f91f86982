from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace import lakehouse, pins

if TYPE_CHECKING:
    import pytest

    from headrace.workspace import Workspace

    from .conftest import MakeTable, PinIt


def found(workspace: Workspace) -> list[tuple[int, str, int]]:
    """Version, reason and number of lost files of each broken pin."""
    lost = pins.broken(workspace.store, workspace.catalog)
    return [(each.pin.table_version, each.why, len(each.files)) for each in lost]


def test_whole_pins_are_not_broken(
    workspace: Workspace, make_table: MakeTable, pin_it: PinIt
) -> None:
    make_table()
    pin_it(0, 2)
    assert found(workspace) == []


def test_a_file_that_another_writer_removed(
    workspace: Workspace, make_table: MakeTable, pin_it: PinIt
) -> None:
    location = make_table()
    pin_it(0, 1)
    assert found(workspace) == []
    (gone,) = lakehouse.files(location, 0)
    Path(gone.path).unlink()
    (lost,) = pins.broken(workspace.store, workspace.catalog)
    assert lost.files == (Path(gone.path).name,)
    assert lost.why == "1 file of main.gold.features at version 0 gone or damaged"
    assert lost.as_json()["model"] == "failure"


def test_commits_that_another_writer_removed(
    workspace: Workspace, make_table: MakeTable, pin_it: PinIt
) -> None:
    location = make_table()
    pin_it(1, 2)
    lakehouse.checkpoint(location)
    for version in range(2):
        (Path(location) / "_delta_log" / f"{version:020}.json").unlink()
    newest = lakehouse.latest_version(location)
    why = "the log of main.gold.features no longer leads to version"
    assert newest is not None
    assert found(workspace) == [(1, f"{why} 1", 0), (2, f"{why} 2", 0)]


def test_a_table_that_was_made_again(
    workspace: Workspace, make_table: MakeTable, pin_it: PinIt
) -> None:
    location = make_table()
    pin_it(0)
    shutil.rmtree(location)
    make_table(versions=4)
    assert found(workspace) == [(0, "main.gold.features was dropped and made again", 0)]


def test_a_table_that_was_dropped(
    workspace: Workspace, make_table: MakeTable, pin_it: PinIt
) -> None:
    make_table()
    pin_it(0)
    workspace.catalog.drop("gold.features")
    assert found(workspace) == [(0, "main.gold.features was dropped", 0)]


def test_a_table_whose_log_is_gone(
    workspace: Workspace, make_table: MakeTable, pin_it: PinIt
) -> None:
    location = make_table()
    pin_it(0)
    shutil.rmtree(location)
    assert found(workspace) == [(0, "no Delta log is behind main.gold.features", 0)]


def test_a_log_that_is_damaged(workspace: Workspace, make_table: MakeTable, pin_it: PinIt) -> None:
    location = make_table()
    pin_it(0)
    (Path(location) / "_delta_log" / f"{2:020}.json").write_text("{")
    ((_, why, _),) = found(workspace)
    assert "damaged" in why


def test_the_log_is_read_again_only_when_the_directory_changed(
    workspace: Workspace, make_table: MakeTable, pin_it: PinIt, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = make_table()
    pin_it(0)
    looked: list[str] = []
    real = lakehouse.missing

    def look(at: str, versions: list[int]) -> dict[int, list[str] | None]:
        looked.append(at)
        return real(at, versions)

    monkeypatch.setattr(lakehouse, "missing", look)
    for _ in range(3):
        assert found(workspace) == []
    assert len(looked) == 1
    lakehouse.write(location, pa.table({"id": [9]}))
    assert found(workspace) == []
    pin_it(1, of="failure/2")
    assert found(workspace) == []
    assert len(looked) == 3
