from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from headrace import lakehouse
from headrace.cli import cli
from headrace.pins import NoPinsError
from headrace.project.lock import run_lock

if TYPE_CHECKING:
    from headrace.workspace import Workspace

    from .conftest import Later, MakeTable, PinIt


@pytest.fixture(autouse=True)
def inside(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.paths.root)


def headrace(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


def printed(*words: str) -> dict[str, Any]:
    done = headrace(*words, "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.output))


def test_maintain(make_table: MakeTable, pin_it: PinIt, later: Later) -> None:
    make_table(versions=4)
    make_table("gold.other", versions=2)
    pin_it(1)
    later(timedelta(days=40))
    (planned,) = printed("maintain", "gold.features", "--dry-run")["tables"]
    assert (planned["state"], planned["files_after"]) == ("planned", 2)
    assert planned["pins"][0]["exclusive"] == planned["pinned_bytes"] > 0
    done = headrace("maintain")
    assert done.exit_code == 0
    assert "4 -> 2" in done.output
    assert "failure/1" in done.output
    assert "did you mean" in str(headrace("maintain", "gold.othr").exception)


def test_small_files_stay_while_the_project_runs(
    workspace: Workspace, make_table: MakeTable
) -> None:
    import pyarrow as pa

    location = make_table(versions=1)
    for number in range(1, 10):
        lakehouse.write(location, pa.table({"id": [number]}))
    with run_lock(workspace.paths):
        (report,) = printed("maintain")["tables"]
    assert report["reason"] == "small files stay: the project runs"
    (report,) = printed("maintain")["tables"]
    assert report["compacted"] == 10


def test_pins(workspace: Workspace, make_table: MakeTable, pin_it: PinIt) -> None:
    location = make_table(versions=3)
    pin_it(0, 1)
    pin_it(2, of="failure/2")
    (gone,) = lakehouse.files(location, 1)
    Path(gone.path).unlink()
    first, second, third = printed("pins")["pins"]
    assert first["expires"] == {"at": None, "kept_by": [], "version_deleted": True}
    assert [first["broken"], third["broken"]] == [None, None]
    assert second["broken"]["files"] == [Path(gone.path).name]
    shown = headrace("pins").output
    assert "failure/1 cannot be reproduced: 1 file of main.gold.features at version 1" in shown
    assert Path(gone.path).name in shown
    assert printed("status")["broken_pins"] == [second["broken"]]
    assert "failure/1 cannot be reproduced" in headrace("status").output


def test_release(workspace: Workspace, make_table: MakeTable, pin_it: PinIt) -> None:
    from headrace.catalog import Audit

    make_table()
    pin_it(0, 1)
    assert "--reason" in headrace("pins", "release", "failure/1").output
    assert "MODEL/VERSION" in headrace("pins", "release", "failure", "--reason", "x").output
    assert len(printed("pins", "release", "failure/1", "--reason", "old")["released"]) == 2
    (entry,) = Audit(workspace.store).entries(action="pins.release")
    assert (entry.object, entry.details) == ("failure/1", {"reason": "old"})
    again = headrace("pins", "release", "failure/1", "--reason", "old").exception
    assert isinstance(again, NoPinsError)
    assert printed("pins")["pins"] == []
