"""What a lock says against what is installed in this process's environment."""

from __future__ import annotations

import platform
import re
from importlib import metadata

from headrace.environments.lock import Lock, normal, origin


def differences(lock: Lock) -> list[str]:
    """One line each for the Python version and each distribution that is another one here.

    Empty: this interpreter can load the model. Of Python the first two numbers count.
    """
    found = []
    here = platform.python_version()
    if lock.python is not None and minor(lock.python) != minor(here):
        found.append(f"Python {minor(lock.python)} is wanted, {minor(here)} is running")
    each = (_difference(line) for line in lock.requirements)
    return [*found, *(difference for difference in each if difference)]


def minor(version: str) -> str:
    """The first two numbers of a version."""
    return ".".join(version.split(".")[:2])


def shown(line: str) -> str:
    """A requirement for a message or a tag: its address can hold a password."""
    return re.sub(r"://[^/@\s]+@", "://***@", line)


def _difference(line: str) -> str | None:
    from packaging.requirements import InvalidRequirement, Requirement

    told = shown(line)
    try:
        wanted = Requirement(line)
    except InvalidRequirement:
        return f"{told} cannot be compared"
    if wanted.marker is not None and not wanted.marker.evaluate():
        return None
    try:
        distribution = metadata.distribution(normal(wanted.name))
    except metadata.PackageNotFoundError:
        return f"{told} is wanted, and is not installed"
    if wanted.url is not None:
        same = origin(distribution) == f" @ {wanted.url}"
        return None if same else f"{told} is wanted, another one is installed"
    if wanted.specifier.contains(distribution.version, prereleases=True):
        return None
    return f"{told} is wanted, {distribution.version} is installed"
