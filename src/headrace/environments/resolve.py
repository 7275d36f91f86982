"""Making a project's lock: resolved by uv for every platform, or read off this environment."""

from __future__ import annotations

import platform
import re
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Final

from headrace.environments import uvtool
from headrace.environments.compare import differences
from headrace.environments.errors import (
    LockResolutionError,
    NotInstalledError,
    RequirementsNotFoundError,
)
from headrace.environments.lock import Lock, closure, name_of
from headrace.environments.project_lock import belonging, project_lock
from headrace.environments.requirements import REQUIREMENTS, read_requirements

_SECONDS: Final = 300.0
_MADE: Final = "# Made by `headrace lock`"


def resolve(root: Path, *, upgrade: bool = False, offline: bool = False) -> Lock:
    """Resolve the requirements of a project into one lock for every platform.

    Each line carries the hashes of its files, and a marker where it is for some platforms only;
    no line carries an address of an index. Versions that the lock has stay unless the
    requirements forbid them; without a lock, those that are installed are preferred. What
    Headrace itself needs constrains the versions, because training runs beside it.

    Args:
        root: the project.
        upgrade: take the newest versions instead.
        offline: use uv's cache, and no network.

    Raises:
        RequirementsNotFoundError: there is no requirements.txt.
        LockResolutionError: uv finds no answer, or no index.
    """
    asked = _asked(root)
    with tempfile.TemporaryDirectory(prefix="headrace-lock-") as scratch:
        target, beside = Path(scratch, "lock"), Path(scratch, "headrace.txt")
        beside.write_text("\n".join(_headrace()) + "\n")
        before = project_lock(root)
        # uv prefers the versions in the file that it writes to.
        target.write_text((before or closure(asked)).text)
        words: list[str | Path] = [
            "pip", "compile", "--quiet", "--universal", "--generate-hashes",
            "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links",
            "--python-version", _minor(), "--constraint", beside, "--output-file", target,
        ]  # fmt: skip
        words += ["--upgrade"] if upgrade else []
        words += uvtool.sources(offline=offline)
        try:
            uvtool.run([*words, REQUIREMENTS], root, _SECONDS)
        except uvtool.UvFailedError as error:
            told = uvtool.failure(str(error), asked)
            raise LockResolutionError(
                root / REQUIREMENTS,
                told.requirement,
                told.reason,
                beside=_needed(told.requirement),
                offline=offline,
                unreachable=told.unreachable,
            ) from error
        return _headed(root, _plain(target.read_text(), root), "for every platform")


def from_environment(root: Path) -> Lock:
    """A lock of what is installed here: no network, this platform only, and no hashes.

    Raises:
        RequirementsNotFoundError: there is no requirements.txt.
        NotInstalledError: the environment is not what requirements.txt asks for.
    """
    asked = _asked(root)
    missing = differences(Lock("\n".join(asked)))
    if missing:
        raise NotInstalledError(root / REQUIREMENTS, missing)
    found = closure(asked)
    kept = [line for line in found.text.splitlines() if not line.startswith(("# Py", "# comp"))]
    where = f"from what was installed on {sys.platform} {platform.machine()}"
    return _headed(root, "\n".join(kept), where)


def _asked(root: Path) -> list[str]:
    if not (root / REQUIREMENTS).is_file():
        raise RequirementsNotFoundError(root / REQUIREMENTS)
    return read_requirements(root)


def _headed(root: Path, text: str, how: str) -> Lock:
    lines = [f"{_MADE} {how}.", belonging(root), f"# Python {_minor()}", "# complete"]
    return Lock("\n".join([*lines, *text.strip().splitlines()]) + "\n")


def _plain(text: str, root: Path) -> str:
    """Without what no other machine has: editable installs, and files of this one."""
    lines = []
    for line in text.splitlines():
        if re.match(r"-e |--editable|\.{0,2}/|file:|[\w.-]+ @ (?:file:|\.{0,2}/)", line):
            name = line.removeprefix("-e ").replace(str(root), ".")
            lines.append(f"# not here: {name}, installed from this machine")
        else:
            lines.append(line)
    return "\n".join(lines)


def _headrace() -> list[str]:
    """What Headrace needs, without its extras."""
    from packaging.requirements import Requirement

    lines = [Requirement(line) for line in metadata.requires("headrace") or ()]
    plain = [each for each in lines if each.marker is None or each.marker.evaluate({"extra": ""})]
    # As constraints, which take no extras.
    return [f"{each.name}{each.specifier}" for each in plain]


def _needed(requirement: str | None) -> str | None:
    """What Headrace asks of the same distribution."""
    name = name_of(requirement or "")
    return next((line for line in _headrace() if name_of(line) == name), None)


def _minor() -> str:
    return ".".join(platform.python_version_tuple()[:2])
