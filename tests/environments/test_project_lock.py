"""A project's lock: resolved from wheels, read off the environment, and checked."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from headrace.environments import (
    PROJECT_LOCK,
    Lock,
    LockResolutionError,
    NotInstalledError,
    RequirementsNotFoundError,
    check_lock,
    closure,
    ensure,
    from_environment,
    project_lock,
    resolve,
    write_lock,
)

MINOR = ".".join(platform.python_version_tuple()[:2])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    home = tmp_path / "project"
    home.mkdir()
    (home / "headrace.yaml").write_text("name: mine\n")
    return home


def ask(root: Path, *lines: str) -> None:
    (root / "requirements.txt").write_text("\n".join(lines) + "\n")


def test_what_is_resolved_has_hashes_and_no_addresses(
    make_wheel: Callable[..., Path], root: Path, wheels: Path
) -> None:
    make_wheel("tiny", "1.0", requires=["deeper>1", "elsewhere; sys_platform == 'win32'"])
    for version in ("1.5", "2.0"):
        make_wheel("deeper", version)
    make_wheel("elsewhere", "3.0")
    ask(root, "tiny  # ours", "--find-links .")
    lock = resolve(root)
    assert lock.requirements == (
        "deeper==2.0",
        "elsewhere==3.0 ; sys_platform == 'win32'",
        "tiny==1.0",
    )
    assert all(" --hash=sha256:" in line for line in lock.lines)
    assert lock.complete
    assert lock.python == MINOR
    assert str(wheels) not in lock.text
    assert "://" not in lock.text


def test_versions_stay_until_they_are_upgraded_or_forbidden(
    make_wheel: Callable[..., Path], root: Path
) -> None:
    make_wheel("tiny", "1.0")
    ask(root, "tiny")
    write_lock(root, resolve(root))
    make_wheel("tiny", "2.0")
    assert resolve(root).requirements == ("tiny==1.0",)
    assert resolve(root, upgrade=True).requirements == ("tiny==2.0",)
    ask(root, "tiny>1")
    assert resolve(root).requirements == ("tiny==2.0",)


def test_without_a_lock_the_installed_versions_are_preferred(
    make_wheel: Callable[..., Path], root: Path
) -> None:
    installed = metadata.version("iniconfig")
    for version in (installed, "999.0"):
        make_wheel("iniconfig", version)
    ask(root, "iniconfig")
    assert resolve(root).requirements == (f"iniconfig=={installed}",)


def test_the_environment_s_libraries_beside_it_are_heeded(
    make_wheel: Callable[..., Path], root: Path
) -> None:
    for version in ("0.1", metadata.version("deltalake")):
        make_wheel("deltalake", version)
    ask(root, "deltalake==0.1")
    with pytest.raises(LockResolutionError, match="Headrace, beside which training runs") as told:
        resolve(root)
    assert told.value.requirement == "deltalake==0.1"
    assert told.value.beside is not None


def test_what_cannot_be_resolved_is_named_with_the_next_step(
    make_wheel: Callable[..., Path], root: Path
) -> None:
    make_wheel("tiny", "1.0")
    ask(root, "tiny==2")
    with pytest.raises(LockResolutionError) as caught:
        resolve(root, offline=True)
    assert caught.value.requirement == "tiny==2"
    assert "headrace lock --from-environment" in str(caught.value.next)
    assert not (root / PROJECT_LOCK).exists()


def test_a_library_of_this_machine_is_named_and_not_locked(
    make_wheel: Callable[..., Path], root: Path
) -> None:
    make_wheel("tiny", "1.0")
    source = root / "ours"
    source.mkdir()
    (source / "pyproject.toml").write_text('[project]\nname = "ours"\nversion = "1"\n')
    ask(root, "tiny", "-e ./ours")
    lock = resolve(root)
    assert lock.requirements == ("tiny==1.0",)
    assert "# not here: ./ours, installed from this machine" in lock.text


def test_what_is_installed_is_locked_without_an_index(root: Path) -> None:
    ask(root, "scikit-learn>=1", "colorama; sys_platform == 'win32'")
    lock = from_environment(root)
    assert lock.requirements == closure(["scikit-learn"]).requirements
    write_lock(root, lock)
    check = check_lock(root)
    assert check is not None
    assert (check.ok, check.lines) == (True, ())


def test_an_environment_without_what_is_asked_for_is_no_lock(root: Path) -> None:
    ask(root, "numpy<1", "absent-thing")
    with pytest.raises(NotInstalledError) as caught:
        from_environment(root)
    assert len(caught.value.differences) == 2
    with pytest.raises(RequirementsNotFoundError):
        from_environment(root.parent)


def test_each_line_that_differs_is_told(root: Path) -> None:
    assert check_lock(root) is None
    numpy, six = metadata.version("numpy"), metadata.version("six")
    text = f"# Python {MINOR}\n# complete\nnumpy==1.0 \\\n    --hash=sha256:00\nabsent==1\n"
    text += f"python-dateutil=={metadata.version('python-dateutil')}\n"
    write_lock(root, Lock(text))
    check = check_lock(root)
    assert check is not None
    assert check.drift == (
        f"numpy==1.0 is wanted, {numpy} is installed",
        "absent==1 is wanted, and is not installed",
        f"six=={six} is installed and needed, and not in the lock",
    )


def test_tools_beside_the_lock_are_no_drift(root: Path) -> None:
    write_lock(root, Lock(f"# Python {MINOR}\n# complete\nsix=={metadata.version('six')}\n"))
    ask(root, "six")
    check = check_lock(root)
    assert check is not None
    assert metadata.version("pytest")
    assert check.drift == ()


def test_requirements_that_were_edited_are_told(root: Path) -> None:
    ask(root, "six>=1", "# a comment")
    write_lock(root, from_environment(root))
    ask(root, "", "six>=1  # for old code")
    assert_changed(root, [])
    ask(root, "six>=99", "iniconfig")
    held = metadata.version("six")
    assert_changed(
        root,
        [
            f"requirements.txt asks for six>=99, the lock has {held}",
            "requirements.txt asks for iniconfig, which the lock does not have",
        ],
    )
    ask(root, "six")
    assert_changed(root, ["requirements.txt was edited after the lock was made"])


def test_a_password_in_an_address_is_not_told(root: Path) -> None:
    asked = "thing @ https://me:secret@example.org/thing.whl"
    (root / "requirements.txt").write_text(f"{asked}\n")
    write_lock(root, Lock(f"# complete\n{asked}\nother @ https://me:secret@example.org/o.whl\n"))
    check = check_lock(root)
    assert check is not None
    assert len(check.lines) >= 2
    assert not any("secret" in line for line in check.lines)


def test_requirements_of_other_files_count(root: Path) -> None:
    (root / "more").mkdir()
    (root / "more" / "base.txt").write_text("six\n")
    (root / "limits.txt").write_text("iniconfig<9\n")
    ask(root, "-r more/base.txt", "-c limits.txt")
    write_lock(root, from_environment(root))
    (root / "limits.txt").write_text("iniconfig<8\n")
    assert_changed(root, ["requirements.txt was edited after the lock was made"])
    (root / "more" / "base.txt").write_text("six\niniconfig\n")
    assert_changed(root, ["requirements.txt asks for iniconfig, which the lock does not have"])


def assert_changed(root: Path, lines: list[str]) -> None:
    check = check_lock(root)
    assert check is not None
    assert list(check.changed) == lines


def test_a_write_is_whole_or_not_at_all(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lock(root, Lock("six==1\n"))

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="No space"):
            write_lock(root, Lock("six==2\n"))
    assert project_lock(root) == Lock("six==1\n")
    assert {path.name for path in root.iterdir()} == {"headrace.yaml", PROJECT_LOCK}


def run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headrace", "lock", *words]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)


def test_the_command_writes_checks_and_tells(make_wheel: Callable[..., Path], root: Path) -> None:
    make_wheel("tiny", "1.0")
    ask(root, "tiny")
    missing = run(root, "--check")
    assert missing.returncode == 1
    assert "next:  headrace lock" in missing.stderr
    made = run(root)
    assert made.returncode == 0, made.stderr
    assert re.search(r"requirements\.lock: 1 distribution, Python 3\.\d+, sha256", made.stdout)
    told = run(root, "--check", "--json")
    assert told.returncode == 1
    facts = json.loads(told.stdout)
    assert facts["drift"] == ["tiny==1.0 is wanted, and is not installed"]
    assert (facts["changed"], facts["ok"], facts["moved"]) == ([], False, [])
    assert facts["distributions"] == {"tiny": "1.0"}
    make_wheel("tiny", "2.0")
    moved = json.loads(run(root, "--upgrade", "--json").stdout)["moved"]
    assert moved == [{"name": "tiny", "from": "1.0", "to": "2.0"}]


def test_an_index_that_does_not_answer_is_told_with_what_works_without(
    root: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UV_NO_INDEX")
    monkeypatch.delenv("UV_OFFLINE")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://user:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    ask(root, "mlflow==3.17.2")
    with pytest.raises(LockResolutionError, match="no index answers") as caught:
        resolve(root)
    assert caught.value.unreachable
    assert "secret" not in str(caught.value)
    assert "--from-environment" in str(caught.value.next)


def test_wheels_of_a_directory_are_found(
    make_wheel: Callable[..., Path], root: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel("tiny", "1.0")
    monkeypatch.delenv("UV_FIND_LINKS")
    ask(root, "tiny")
    with pytest.raises(LockResolutionError):
        resolve(root)
    monkeypatch.setenv("HEADRACE_WHEELS", str(wheels))
    lock = resolve(root)
    assert lock.requirements == ("tiny==1.0",)
    built = ensure(lock, offline=True)
    assert not built.current
    built_of_named = ensure(Lock(lock.text + "# another\n"), wheels=wheels)
    assert built_of_named.python != built.python
