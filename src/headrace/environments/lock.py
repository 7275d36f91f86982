"""Locks: the distributions that a model needs, each at its version."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace.environments.errors import LockNotFoundError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

LOCK_FILE: Final = "environment.lock"
# What a worker uses, whatever the model asks for.
WORKER_NEEDS: Final = ("mlflow", "pandas", "pyarrow")
_COMPLETE: Final = "# complete"
_PYTHON: Final = re.compile(r"^# Python (\d+\.\d+\S*)", re.MULTILINE)


@dataclass(frozen=True)
class Lock:
    """The text of a lock: a comment with the Python version, and one requirement a line.

    A line ``# complete`` says that it names every distribution, each at one version; else uv
    finds the others when the environment is built. A requirement can go on over several lines,
    each but the last with a backslash at its end: that is how its hashes are written.
    """

    text: str

    @property
    def digest(self) -> str:
        """sha256 of the text, hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def python(self) -> str | None:
        """The version of Python, such as ``3.11.9``."""
        found = _PYTHON.search(self.text)
        return found[1] if found else None

    @property
    def complete(self) -> bool:
        """Whether nothing is left to resolve."""
        return _COMPLETE in self.text.splitlines()

    @property
    def lines(self) -> tuple[str, ...]:
        """One requirement each, with its hashes, as pip and uv read them."""
        joined = self.text.replace("\\\n", " ").splitlines()
        lines = (" ".join(line.split(" #")[0].split()) for line in joined)
        return tuple(line for line in lines if line and not line.startswith(("#", "-")))

    @property
    def requirements(self) -> tuple[str, ...]:
        """One requirement each, as PEP 508 has them."""
        return tuple(line.split(" --hash=")[0] for line in self.lines)

    def with_hashes_of(self, other: Lock) -> Lock:
        """The same lock, with the hashes that another has for the same distributions."""
        known = {line.split(" ")[0]: line for line in other.lines if " --hash=" in line}
        found = []
        for line in self.text.splitlines():
            hashes = known[line].split(" --hash=")[1:] if line in known else []
            found.append(" \\\n    --hash=".join([line, *hashes]))
        return Lock("\n".join(found) + "\n")


def closure(requirements: Iterable[str]) -> Lock:
    """What the requirements and, in turn, their requirements are here: the installed versions.

    Headrace itself, and what was installed from a directory or file of this machine, are left
    out; a comment names them. A requirement that is not installed keeps its own line, and the
    lock is not complete then.
    """
    found = _Closure()
    for line in requirements:
        found.add(line)
    header = [f"# Python {platform.python_version()}"]
    if not found.unknown:
        header.append(_COMPLETE)
    header += [f"# not here: {name}, installed from this machine" for name in sorted(found.local)]
    lines = sorted({*found.pins.values(), *found.unknown})
    return Lock("\n".join([*header, *lines]) + "\n")


def lock_of(model: Path) -> Lock:
    """The lock of a model's directory.

    ``environment.lock`` where the model was trained by Headrace; else MLflow's
    ``requirements.txt`` and the Python version of its ``python_env.yaml``.

    Raises:
        LockNotFoundError: it has neither.
    """
    file = model / LOCK_FILE
    if file.is_file():
        return Lock(file.read_text())
    listed = model / "requirements.txt"
    if not listed.is_file():
        raise LockNotFoundError(model)
    lines = [f"# Python {version}"] if (version := _python_of(model)) else []
    return Lock("\n".join([*lines, listed.read_text().strip()]) + "\n")


class _Closure:
    def __init__(self) -> None:
        self.pins: dict[str, str] = {}
        self.local: set[str] = set()
        self.unknown: set[str] = set()
        self._seen: set[tuple[str, str]] = set()

    def add(self, line: str) -> None:
        """Follow one requirement of the model's own."""
        from packaging.requirements import InvalidRequirement, Requirement

        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            self.unknown.add(line)
            return
        if requirement.marker is None or requirement.marker.evaluate():
            self._follow(requirement, line)

    def _follow(self, requirement: Requirement, line: str | None) -> None:
        from packaging.requirements import Requirement

        # Not recursive: the requirements of MLflow are deeper than some, and circles exist.
        waiting = [(requirement, line)]
        while waiting:
            wanted, own = waiting.pop()
            name = normal(wanted.name)
            extras = [x for x in ("", *sorted(wanted.extras)) if (name, x) not in self._seen]
            if not extras:
                continue
            try:
                distribution = metadata.distribution(name)
            except metadata.PackageNotFoundError:
                # One that only an installed library asks for is not needed to work as here.
                self.unknown |= {own} if own else set()
                continue
            self._pin(name, distribution)
            for extra in extras:
                self._seen.add((name, extra))
                for text in distribution.requires or ():
                    needed = Requirement(text)
                    if _applies(needed, extra):
                        waiting.append((needed, None))

    def _pin(self, name: str, distribution: metadata.Distribution) -> None:
        source = origin(distribution)
        if name == "headrace" or source == "":
            self.local.add(name)
        else:
            self.pins[name] = f"{name}{source}" if source else f"{name}=={distribution.version}"


def _applies(requirement: Requirement, extra: str) -> bool:
    """Whether a distribution with that extra needs it here; without, for those of none."""
    if requirement.marker is None:
        return not extra
    if extra and requirement.marker.evaluate({"extra": ""}):
        return False  # it is needed without the extra too
    return requirement.marker.evaluate({"extra": extra})


def origin(distribution: metadata.Distribution) -> str | None:
    """``" @ URL"`` of a distribution from elsewhere than an index; ``""`` for this machine's."""
    text = distribution.read_text("direct_url.json")
    if text is None:
        return None
    told = json.loads(text)
    url = str(told["url"])
    if url.startswith("file:") or "dir_info" in told:
        return ""
    if "vcs_info" in told:
        return f" @ {told['vcs_info']['vcs']}+{url}@{told['vcs_info']['commit_id']}"
    return f" @ {url}"


def _python_of(model: Path) -> str | None:
    file = model / "python_env.yaml"
    if not file.is_file():
        return None
    import yaml

    found = yaml.safe_load(file.read_text())
    version = found.get("python") if isinstance(found, dict) else None
    return str(version) if version else None


def normal(name: str) -> str:
    """A distribution's name as PEP 503 normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def name_of(line: str) -> str:
    """The normalised name that a requirement begins with."""
    return normal(re.split(r"[^\w.-]", line.strip(), maxsplit=1)[0])
