"""Environments that uv builds, offline, from tiny wheels."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.environments import EnvironmentBuildError, Lock, build, ensure
from headrace.locks import exclusive

COMPLETE = f"# Python {platform.python_version()}\n# complete\n"


def version_of(python: Path, module: str) -> str:
    """What a module in an environment says its version is."""
    code = f"import {module}; print({module}.VERSION)"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def ensuring(text: str, **variables: str) -> subprocess.Popen[str]:
    """A process that ensures a lock and prints its interpreter."""
    code = f"from headrace.environments import *; print(ensure(Lock({text!r})).python)"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_what_does_not_differ_is_not_built(wheels: Path, tmp_path: Path) -> None:
    found = ensure(Lock(COMPLETE))
    assert found.current
    assert found.python == Path(sys.executable)
    assert not (tmp_path / "environments").exists()


def test_an_environment_is_built_once_and_private(
    make_wheel: Callable[..., Path], wheels: Path, tmp_path: Path
) -> None:
    make_wheel("tiny", "1.5", requires=["absent-library"])
    lock = Lock(COMPLETE + "tiny==1.5\n")
    first = ensure(lock)
    assert version_of(first.python, "tiny") == "1.5"
    assert not first.current
    assert first.digest == lock.digest
    root = tmp_path / "environments"
    assert root.stat().st_mode & 0o777 == 0o700
    home = first.python.parent.parent
    assert home.stat().st_mode & 0o077 == 0
    for wheel in wheels.iterdir():
        wheel.unlink()
    assert ensure(lock) == first


def test_what_is_not_resolved_is_resolved_by_uv(
    make_wheel: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "WORKER_NEEDS", ("worker-library",))
    make_wheel("tiny", "1.0", requires=["deeper>1"])
    make_wheel("deeper", "2.0")
    make_wheel("worker-library", "0.1")
    python = ensure(Lock("tiny\n")).python
    assert version_of(python, "deeper") == "2.0"
    assert version_of(python, "worker_library") == "0.1"


def test_the_requirement_that_is_missing_is_named(
    make_wheel: Callable[..., Path], tmp_path: Path
) -> None:
    make_wheel("tiny", "1.0")
    with pytest.raises(EnvironmentBuildError) as caught:
        ensure(Lock(COMPLETE + "missing-thing==9.9\ntiny==1.0\n"))
    assert caught.value.requirement == "missing-thing==9.9"
    assert "missing-thing" in str(caught.value.why)
    assert "uv pip install" in str(caught.value.next)
    left = [each.name for each in (tmp_path / "environments").iterdir()]
    assert [name for name in left if not name.endswith(".lock")] == []


def test_a_version_that_is_missing_is_named(make_wheel: Callable[..., Path]) -> None:
    make_wheel("tiny", "1.0")
    with pytest.raises(EnvironmentBuildError) as caught:
        ensure(Lock(COMPLETE + "tiny==2.0\n"))
    assert caught.value.requirement == "tiny==2.0"


def test_a_library_that_does_not_build_is_named(wheels: Path, tmp_path: Path) -> None:
    import tarfile

    source = tmp_path / "bad-1.0"
    source.mkdir()
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n")
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["."]\n'
        '[project]\nname = "bad"\nversion = "1.0"\n'
    )
    (source / "b.py").write_text("def build_wheel(*a): raise RuntimeError('no compiler here')\n")
    with tarfile.open(wheels / "bad-1.0.tar.gz", "w:gz") as archive:
        archive.add(source, "bad-1.0")
    with pytest.raises(EnvironmentBuildError) as caught:
        ensure(Lock(COMPLETE + "bad==1.0\n"))
    assert caught.value.requirement == "bad==1.0"
    assert "no compiler here" in str(caught.value.why)


def test_a_python_that_is_nowhere_is_told(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    with pytest.raises(EnvironmentBuildError, match="cannot be built"):
        ensure(Lock("# Python 3.99.1\n# complete\n"))


def test_two_processes_build_one(make_wheel: Callable[..., Path], tmp_path: Path) -> None:
    make_wheel("tiny", "1.0")
    both = [ensuring(COMPLETE + "tiny==1.0\n") for _ in range(2)]
    pythons = set()
    for process in both:
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        pythons.add(out.strip())
    (python,) = pythons
    assert version_of(Path(python), "tiny") == "1.0"
    homes = [each for each in (tmp_path / "environments").iterdir() if each.is_dir()]
    assert homes == [Path(python).parent.parent]


def test_a_build_that_was_killed_is_done_again(
    make_wheel: Callable[..., Path], tmp_path: Path
) -> None:
    make_wheel("tiny", "1.0")
    text = COMPLETE + "tiny==1.0\n"
    killed = ensuring(text, HEADRACE_CRASH_AT="environment-built")
    killed.communicate(timeout=60)
    assert killed.returncode == 137
    root = tmp_path / "environments"
    assert [each for each in root.iterdir() if ".building-" in each.name]
    assert version_of(ensure(Lock(text)).python, "tiny") == "1.0"
    assert not [each for each in root.iterdir() if ".building-" in each.name]


def test_an_environment_whose_interpreter_is_gone_is_built_again(
    make_wheel: Callable[..., Path],
) -> None:
    make_wheel("tiny", "1.0")
    lock = Lock(COMPLETE + "tiny==1.0\n")
    python = ensure(lock).python
    python.unlink()
    assert version_of(ensure(lock).python, "tiny") == "1.0"


def test_waiting_for_another_build_ends(make_wheel: Callable[..., Path], tmp_path: Path) -> None:
    make_wheel("tiny", "1.0")
    lock = Lock(COMPLETE + "tiny==1.0\n")
    home = ensure(lock).python.parent.parent
    (home / "bin" / "python").unlink()
    started = time.monotonic()
    with (
        exclusive(home.with_name(f"{home.name}.lock")),
        pytest.raises(EnvironmentBuildError, match="another process"),
    ):
        ensure(lock, seconds=0.3)
    assert time.monotonic() >= started + 0.3


def test_a_library_that_is_not_the_locked_file_is_refused(
    make_wheel: Callable[..., Path],
) -> None:
    make_wheel("tiny", "1.0")
    with pytest.raises(EnvironmentBuildError, match="cannot be built") as caught:
        ensure(Lock(f"{COMPLETE}tiny==1.0 \\\n    --hash=sha256:{'0' * 64}\n"))
    assert caught.value.requirement == "tiny==1.0"
    assert "ash mismatch" in str(caught.value.why)
