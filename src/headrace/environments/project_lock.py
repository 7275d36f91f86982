"""The lock of a project: ``requirements.lock`` beside ``requirements.txt``, and what is installed.

check = check_lock(root)
check.changed      # requirements.txt asks for what the lock does not have
check.drift        # this environment is not the lock
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from headrace.environments.compare import differences, shown
from headrace.environments.lock import Lock, closure, name_of, normal
from headrace.environments.requirements import (
    REQUIREMENTS,
    read_requirements,
    requirements_digest,
)

PROJECT_LOCK: Final = "requirements.lock"
NO_LOCK: Final = "none"
"""What a version's tags say where its project had no lock."""

_OF: Final = re.compile(r"^# requirements\.txt sha256:([0-9a-f]{64})$", re.MULTILINE)


@dataclass(frozen=True)
class LockCheck:
    """A project's lock against its requirements and this process's environment.

    Attributes:
        lock: of the project.
        changed: why requirements.txt and the lock do not belong together, a line each.
        drift: how this environment differs from the lock, a line each: a distribution that is
            missing, at another version, or needed by those of the lock and not named in it.
    """

    lock: Lock
    changed: tuple[str, ...]
    drift: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """This environment is the lock, and the lock is what requirements.txt asks for."""
        return not self.changed and not self.drift

    @property
    def lines(self) -> tuple[str, ...]:
        """All that differs."""
        return self.changed + self.drift


def project_lock(root: Path) -> Lock | None:
    """The lock of the project; ``None`` where it has none."""
    path = root / PROJECT_LOCK
    return Lock(path.read_text(encoding="utf-8")) if path.is_file() else None


def check_lock(root: Path) -> LockCheck | None:
    """Compare the project's lock with its requirements and with what is installed here.

    Only what the lock names counts, and what that needs: other distributions may be installed
    beside it. ``None`` where the project has no lock.
    """
    lock = project_lock(root)
    if lock is None:
        return None
    return LockCheck(lock, tuple(_changed(root, lock)), (*differences(lock), *_extra(lock)))


def write_lock(root: Path, lock: Lock) -> Path:
    """Put a lock in place of the project's, at once."""
    path = root / PROJECT_LOCK
    partial = path.with_name(f".{PROJECT_LOCK}.{secrets.token_hex(4)}")
    try:
        partial.write_text(lock.text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def belonging(root: Path) -> str:
    """The comment by which a lock says which requirements it was made of."""
    return f"# {REQUIREMENTS} sha256:{requirements_digest(root)}"


def locked_versions(lock: Lock) -> dict[str, str]:
    """Name and version of each distribution that the lock has for this platform and Python."""
    from packaging.requirements import InvalidRequirement, Requirement

    found = {}
    for line in lock.requirements:
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            continue  # ``differences`` tells that it cannot be compared
        if wanted.marker is None or wanted.marker.evaluate():
            found[normal(wanted.name)] = str(wanted.specifier).removeprefix("==") or line
    return found


def _changed(root: Path, lock: Lock) -> list[str]:
    """The requirements that the lock does not satisfy, or that it was made of others."""
    from packaging.requirements import InvalidRequirement, Requirement

    named = _OF.search(lock.text)
    if named is not None and named[1] == requirements_digest(root):
        return []
    held, found = locked_versions(lock), []
    for line in read_requirements(root):
        try:
            asked = Requirement(line)
        except InvalidRequirement:
            found.append(f"{REQUIREMENTS} asks for {shown(line)}, which cannot be compared")
            continue
        if asked.marker is not None and not asked.marker.evaluate():
            continue
        version = held.get(normal(asked.name))
        if version is None:
            found.append(f"{REQUIREMENTS} asks for {shown(line)}, which the lock does not have")
        elif asked.url is None and not asked.specifier.contains(version, prereleases=True):
            found.append(f"{REQUIREMENTS} asks for {shown(line)}, the lock has {shown(version)}")
    return found or [f"{REQUIREMENTS} was edited after the lock was made"]


def _extra(lock: Lock) -> list[str]:
    """What the lock's distributions need here, and the lock does not name."""
    named = {name_of(line) for line in lock.requirements}
    if not lock.complete or not named:
        return []
    needed = closure(line for line in named if _installed(line))
    return [
        f"{shown(line)} is installed and needed, and not in the lock"
        for line in needed.requirements
        if name_of(line) not in named
    ]


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
