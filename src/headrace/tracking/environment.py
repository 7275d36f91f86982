"""What is installed: the environment that a model was trained in, and what it needs to load.

Where a project has a lock, that is what training must run in.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from headrace.environments import (
    NO_LOCK,
    PROJECT_LOCK,
    LockCheck,
    check_lock,
    locked_versions,
    project_lock,
    read_requirements,
)
from headrace.environments.lock import normal
from headrace.settings import flag_setting
from headrace.tracking.errors import EnvironmentDriftError

_ALWAYS: Final = ("mlflow", "numpy", "pandas", "scikit-learn", "cloudpickle")
_FLAVORS: Final = {"lightgbm": ("lightgbm",), "xgboost": ("xgboost", "xgboost-cpu")}


#: MLflow keeps 8,000 characters of a run's tag.
_TAG: Final = 4000


@dataclass(frozen=True)
class Installed:
    """The environment of a training.

    Attributes:
        text: one ``name==version`` a line, sorted, after a comment with the Python version: all
            distributions that are installed.
        digest: sha256 of the text; of a project with a lock, of the lock's versions and of those
            that are installed of its distributions, so that a tool beside them changes nothing.
        check: the project's lock against it; ``None`` where there is no lock.
    """

    text: str
    digest: str
    check: LockCheck | None

    @property
    def lock(self) -> str:
        """The digest of the project's lock, or ``none``."""
        return NO_LOCK if self.check is None else self.check.lock.digest

    @property
    def drift(self) -> str | None:
        """What differs from the lock, a line each; bounded, for a tag."""
        if self.check is None or self.check.ok:
            return None
        kept: list[str] = []
        for line in self.check.lines:
            if sum(map(len, kept)) + len(line) > _TAG:
                kept.append(f"and {len(self.check.lines) - len(kept)} more")
                break
            kept.append(line)
        return "\n".join(kept)


def installed(root: Path) -> Installed:
    """The distributions of this process's environment, against the project's lock."""
    text = _listing()
    check = check_lock(root)
    return Installed(text, _digest(text, root), check)


def installed_digest(root: Path) -> str:
    """``installed(root).digest``, without the comparison."""
    return _digest(_listing(), root)


def allowed(root: Path, model: str, allow_drift: bool | None) -> Installed:
    """The environment, if a model may be trained in it.

    Args:
        root: the project.
        model: for the message.
        allow_drift: train in another one than the lock; ``HEADRACE_ALLOW_DRIFT`` if not given.

    Raises:
        EnvironmentDriftError: the project has a lock, and this environment is not it.
    """
    found = installed(root)
    if allow_drift is None:
        allow_drift = flag_setting("HEADRACE_ALLOW_DRIFT")
    if found.check is not None and not found.check.ok and not allow_drift:
        raise EnvironmentDriftError(
            model, str(root / PROJECT_LOCK), found.check.changed, found.check.drift
        )
    return found


def _listing() -> str:
    # A distribution parses its file again for each of its attributes: a tenth of a second in all.
    read = (distribution.metadata for distribution in metadata.distributions())
    lines = {f"{normal(each['Name'])}=={each['Version']}" for each in read if each["Name"]}
    return "\n".join([f"# Python {platform.python_version()}", *sorted(lines)]) + "\n"


def _digest(listing: str, root: Path) -> str:
    lock = project_lock(root)
    if lock is not None:
        python, *lines = listing.splitlines()
        wanted = locked_versions(lock)
        here = [line for line in lines if line.partition("==")[0] in wanted]
        pinned = [f"{name}=={version}" for name, version in sorted(wanted.items())]
        listing = "\n".join([python, *here, "# the lock", *pinned])
    return hashlib.sha256(listing.encode()).hexdigest()


def libraries(model: object) -> list[str]:
    """Packages of a model, of a pipeline's steps, and of the format of scikit-learn's models."""
    parts = [model, *(step for _, step in getattr(model, "steps", []))]
    own, *steps = (type(part).__module__.partition(".")[0] for part in parts)
    return [own, "skops", *(name for name in steps if name != "sklearn")]


def requirements(root: Path, libraries: Iterable[str]) -> list[str]:
    """What a model needs to load: the project's requirements, completed by what it was made with.

    Given to MLflow so that it does not infer them, which starts a process and takes half a
    minute.

    Args:
        root: the project; its ``requirements.txt`` counts if there is one.
        libraries: packages of the model's flavour, such as ``lightgbm``.
    """
    lines = read_requirements(root)
    named = {normal(match[0]) for line in lines if (match := re.match(r"[A-Za-z0-9._-]+", line))}
    wanted = [*_ALWAYS, *(name for key in libraries for name in _FLAVORS.get(key, (key,)))]
    for name in wanted:
        version = _version(name)
        if version is not None and normal(name) not in named:
            lines.append(f"{name}=={version}")
    return lines


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
