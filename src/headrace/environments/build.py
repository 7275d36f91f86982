"""Building an environment from a lock, once a machine, in a cache."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Final

from headrace.crash import crash_point
from headrace.environments import uvtool
from headrace.environments.compare import differences, minor
from headrace.environments.environment import Environment
from headrace.environments.errors import EnvironmentBuildError
from headrace.environments.lock import LOCK_FILE, WORKER_NEEDS, Lock, name_of
from headrace.locks import exclusive
from headrace.settings import setting

_LONGEST: Final = 900.0
_POLL: Final = 0.2


def ensure(
    lock: Lock, *, seconds: float = _LONGEST, offline: bool = False, wheels: Path | None = None
) -> Environment:
    """The environment of a lock: this process's own if it does not differ, else a built one.

    A built one is kept and shared by all processes of this user. Takes minutes where libraries
    must be downloaded, and blocks.

    Args:
        lock: what it holds.
        seconds: how long it may take.
        offline: build it from wheels and uv's cache, without a network.
        wheels: directory of wheels; that of ``HEADRACE_WHEELS`` if not given.

    Raises:
        EnvironmentBuildError: it cannot be built, or not within so many seconds.
    """
    found = built(lock)
    if found is not None:
        return found
    home = _home(lock)
    root, until = home.parent, time.monotonic() + seconds
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        _build_once(lock, home, until, uvtool.sources(offline=offline, wheels=wheels))
    except OSError as error:
        raise EnvironmentBuildError(
            str(root), None, str(error), f"make room in {root}, or set HEADRACE_ENVIRONMENTS"
        ) from error
    return Environment(home / "bin" / "python", lock.digest)


def built(lock: Lock) -> Environment | None:
    """The environment of a lock where there is one; ``None`` where it must be built."""
    if not differences(lock):
        return Environment.running(lock.digest)
    home = _home(lock)
    return Environment(home / "bin" / "python", lock.digest) if _usable(home) else None


def _home(lock: Lock) -> Path:
    root = Path(setting("HEADRACE_ENVIRONMENTS")).expanduser()
    # Of one lock, machines that share a home directory build what fits each.
    return root / f"{sysconfig.get_platform()}-{lock.digest[:32]}"


def _usable(home: Path) -> bool:
    # The interpreter that it was made of may be gone.
    return (home / "bin" / "python").exists()


def _build_once(lock: Lock, home: Path, until: float, sources: list[str]) -> None:
    """Build it, or wait for the process that does."""
    while True:
        with exclusive(home.with_name(f"{home.name}.lock")) as held:
            if held:
                if not _usable(home):
                    _build(lock, home, until, sources)
                return
        if time.monotonic() > until:
            raise EnvironmentBuildError(
                str(home), None, "another process is building it, and does not finish",
                f"end that process; the lock is {home.name}.lock",
            )  # fmt: skip
        time.sleep(_POLL)


def _build(lock: Lock, home: Path, until: float, sources: list[str]) -> None:
    for left in home.parent.glob(f"{home.name}.building-*"):
        shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
    work = Path(tempfile.mkdtemp(prefix=f"{home.name}.building-", dir=home.parent))
    try:
        _install(lock, work, until, sources)
        (work / LOCK_FILE).write_text(lock.text)
        crash_point("environment-built")
        if home.exists():
            shutil.rmtree(home)
        work.rename(home)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _install(lock: Lock, work: Path, until: float, sources: list[str]) -> None:
    python = _python(lock)
    where = f"lock {lock.digest[:12]}, Python {python}"
    words: list[str | Path] = ["venv", "--no-project", "--relocatable", "--allow-existing"]
    try:
        uvtool.run([*words, "--python", python, work], work, until - time.monotonic())
    except uvtool.UvFailedError as error:
        told = uvtool.failure(str(error), ())
        next = f"uv python install {minor(lock.python)}" if lock.python else "uv python install"
        raise EnvironmentBuildError(where, None, told.reason, next) from error
    wanted = _requirements(lock)
    listed = work / "requirements.txt"
    listed.write_text("\n".join(wanted) + "\n")
    words = ["pip", "install", "--python", work / "bin" / "python", "-r", listed, *sources]
    try:
        uvtool.run(
            [*words, "--no-deps"] if lock.complete else words, work, until - time.monotonic()
        )
    except uvtool.UvFailedError as error:
        told = uvtool.failure(str(error), lock.requirements)
        raise EnvironmentBuildError(
            where,
            told.requirement,
            told.reason,
            "check the index that uv uses: uv pip install --dry-run "
            f"'{told.requirement or 'REQUIREMENT'}'",
        ) from error


def _python(lock: Lock) -> str:
    here = ".".join(map(str, sys.version_info[:2]))
    if lock.python is None or minor(lock.python) == here:
        # The interpreter below a virtual environment, which is there for certain.
        return os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    return minor(lock.python)


def _requirements(lock: Lock) -> list[str]:
    if lock.complete:
        return list(lock.lines)
    named = {name_of(line) for line in lock.requirements}
    if "mlflow-skinny" in named:
        named.add("mlflow")
    return [*lock.lines, *(name for name in WORKER_NEEDS if name not in named)]
