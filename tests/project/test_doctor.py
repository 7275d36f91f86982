"""Each check of ``headrace doctor`` says what it found and what to type."""

from __future__ import annotations

import shutil
import socket
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from headrace.catalog import Store
from headrace.endpoints.address import PlaneInfo, hold, release, write_plane
from headrace.environments import PROJECT_LOCK
from headrace.evidence import Decision, Keys, append
from headrace.project import doctor, init
from headrace.settings import Paths

if TYPE_CHECKING:
    from headrace.project.doctor import Check

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    init(tmp_path / "mine", "device-health")
    # An engine takes seconds, and has tests of its own.
    monkeypatch.setattr(doctor, "_engine", lambda _: doctor.Check("engine", "ok", "sail"))
    monkeypatch.setenv("HEADRACE_PORT", str(_free_port()))
    return Paths(tmp_path / "mine")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def examined(paths: Paths) -> dict[str, Check]:
    return {check.name: check for check in doctor.examine(paths.root)}


@pytest.fixture
def served(paths: Paths) -> Iterator[PlaneInfo]:
    """A plane that runs, as far as others can tell."""
    info = PlaneInfo("http://127.0.0.1:9", "127.0.0.1", 9, 1, 1, "2026-01-31T12:00:00.000Z")
    held = hold(paths)
    write_plane(paths, info)
    yield info
    release(paths, held)


def test_a_new_project_is_well(paths: Paths) -> None:
    found = examined(paths)
    assert {name: check.found for name, check in found.items() if check.state == "failed"} == {}
    assert found["project file"].found.startswith("device-health: models device_failure")


def test_without_a_project_it_checks_the_machine(tmp_path: Path) -> None:
    checks = doctor.examine(tmp_path)
    assert (checks[-1].name, checks[-1].state) == ("project", "warning")


def test_a_port_in_use_is_named_with_a_free_one(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("HEADRACE_PORT", str(port))
        check = examined(paths)["port"]
    assert check.state == "warning"
    assert f"127.0.0.1:{port} is in use" in check.found
    assert check.next.startswith("headrace up --port ")


def test_the_projects_own_plane_is_no_stranger(paths: Paths, served: PlaneInfo) -> None:
    check = examined(paths)["port"]
    assert (check.state, check.found) == ("ok", f"this project is served at {served.url}")


def test_what_is_wrong_fails_alone_and_says_what_to_type(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths.token_file.chmod(0o644)
    (paths.state / "headrace.db").write_bytes(b"this is no database" * 100)
    paths.project_file.write_text("name: [")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, 1))
    found = examined(paths)
    failed = {name for name, check in found.items() if check.state == "failed"}
    assert failed == {"token", "database", "tables", "pins", "evidence", "project file", "disk"}
    assert found["token"].next == f"chmod 600 {paths.token_file}"
    assert all(found[name].next for name in failed)
    assert found["port"].state == "ok"


def test_an_environment_that_is_not_the_lock_is_told_with_what_to_type(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = paths.root / PROJECT_LOCK
    assert examined(paths)["environment lock"].state == "ok"
    pinned = next(line for line in lock.read_text().splitlines() if line.startswith("pandas=="))
    lock.write_text(lock.read_text().replace(pinned, "pandas==2.0.0"))
    check = examined(paths)["environment lock"]
    assert check.state == "failed"
    assert check.found == f"pandas==2.0.0 is wanted, {pinned.partition('==')[2]} is installed"
    assert check.next == "python -m uv pip install -r requirements.lock"
    monkeypatch.setenv("HEADRACE_ALLOW_DRIFT", "1")
    assert examined(paths)["environment lock"].state == "warning"
    monkeypatch.delenv("HEADRACE_ALLOW_DRIFT")
    with (paths.root / "requirements.txt").open("a") as file:
        file.write("polars\n")
    check = examined(paths)["environment lock"]
    assert check.next == "headrace lock"
    assert "asks for polars" in check.found
    lock.unlink()
    check = examined(paths)["environment lock"]
    assert (check.state, check.next) == ("warning", "headrace lock")


def test_evidence_that_is_gone_and_keys_that_others_read_are_told(paths: Paths) -> None:
    assert (examined(paths)["evidence"].state, examined(paths)["evidence"].found) == (
        "ok",
        "0 statements in one chain",
    )
    store = Store.open(paths.database_url)
    with store.begin() as connection:
        append(
            connection,
            Keys(paths),
            Decision("overridden", "failure", None, {}, {"override": {"reason": "a test"}}),
        )
    private = next(Keys(paths).directory.glob("*.pem"))
    private.chmod(0o644)
    found = examined(paths)["evidence"]
    assert (found.state, found.next) == ("failed", f"chmod 600 {private}")
    private.unlink()
    found = examined(paths)["evidence"]
    assert (found.state, found.next) == ("warning", "headrace key")
    with store.begin() as connection:
        connection.execute(text("DELETE FROM headrace_evidence"))
    store.close()
    found = examined(paths)["evidence"]
    assert (found.state, found.next) == ("failed", "headrace verify --chain")
    shutil.rmtree(Keys(paths).directory)
    assert examined(paths)["evidence"].state == "warning"
