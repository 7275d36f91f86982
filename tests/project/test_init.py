"""``headrace init``: a whole project or none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from headrace.environments import (
    PROJECT_LOCK,
    Lock,
    NotInstalledError,
    check_lock,
    locked_versions,
)
from headrace.project import init
from headrace.project.init import DirectoryNotEmptyError
from headrace.settings import PathNotSupportedError


def test_an_interrupted_init_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(sys.modules["headrace.project.init"], "write_schema", full)
        with pytest.raises(OSError, match="No space left"):
            init(tmp_path / "mine", "device-health")
    assert list(tmp_path.iterdir()) == []
    init(tmp_path / "mine", "device-health")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_empty_directory_is_taken_and_another_is_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert Path("headrace.yaml") in init(tmp_path / "empty", "device-health")
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    for name in ("file", "full"):
        with pytest.raises(DirectoryNotEmptyError):
            init(tmp_path / name, "device-health")


def test_a_project_is_not_begun_where_no_tables_can_be_kept(tmp_path: Path) -> None:
    with pytest.raises(PathNotSupportedError):
        init(tmp_path / "my project", "device-health")
    assert list(tmp_path.iterdir()) == []


def test_a_new_project_is_locked_to_what_is_installed(tmp_path: Path) -> None:
    written = init(tmp_path / "mine", "device-health")
    assert Path(PROJECT_LOCK) in written
    check = check_lock(tmp_path / "mine")
    assert check is not None
    assert check.lines == ()
    assert "scikit-learn" in locked_versions(check.lock)


def test_a_template_that_asks_for_what_is_not_installed_gets_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(root: Path) -> Lock:
        raise NotInstalledError(root / "requirements.txt", ["absent==1 is wanted"])

    monkeypatch.setattr("headrace.environments.from_environment", absent)
    assert Path(PROJECT_LOCK) not in init(tmp_path / "mine", "device-health")
