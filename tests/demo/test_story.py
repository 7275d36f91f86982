"""The demo's directory, and what it says when something does not come."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from headrace.demo import tracking_ui
from headrace.demo.story import DemoDirectoryError, DemoStalledError, prepare, wait_for
from headrace.endpoints.address import hold, release
from headrace.endpoints.errors import PlaneRunningError
from headrace.settings import Paths


def test_an_earlier_demo_makes_way_and_nothing_else_does(tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    prepare(demo).close()
    (demo / "raw").mkdir()
    prepare(demo).close()
    assert not (demo / "raw").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(DemoDirectoryError):
        prepare(tmp_path / "mine")


def test_a_demo_that_is_being_served_is_left_alone(tmp_path: Path) -> None:
    prepare(tmp_path / "demo").close()
    held = hold(Paths(tmp_path / "demo"))
    with pytest.raises(PlaneRunningError):
        prepare(tmp_path / "demo")
    release(Paths(tmp_path / "demo"), held)
    assert (tmp_path / "demo/headrace.yaml").exists()


def test_what_does_not_come_is_told_with_the_latest_hint() -> None:
    looks: list[str] = []

    def looked() -> bool:
        looks.append("status 500")
        return False

    with pytest.raises(DemoStalledError, match="the first answers") as stalled:
        wait_for("the first answers", looked, lambda: looks[-1], patience=0)
    assert stalled.value.why == "status 500"


def test_a_user_interface_that_does_not_start_names_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = Paths(tmp_path)
    paths.make()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(tracking_ui.UserInterfaceError) as raised, tracking_ui.running_ui(paths):
        pass
    assert raised.value.where == str(paths.state / "control.log")
    assert "status 1" in str(raised.value)
