"""What is installed: the environment that a model was trained in, and what it needs to load."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from headrace.environments.lock import normal

_ALWAYS: Final = ("mlflow", "numpy", "pandas", "scikit-learn", "cloudpickle")
_FLAVORS: Final = {"lightgbm": ("lightgbm",), "xgboost": ("xgboost", "xgboost-cpu")}


@dataclass(frozen=True)
class Lock:
    """The installed distributions.

    Attributes:
        text: one ``name==version`` a line, sorted, after a comment with the Python version.
        digest: sha256 of the text.
    """

    text: str
    digest: str


def lock() -> Lock:
    """The distributions of this process's environment."""
    # A distribution parses its file again for each of its attributes: a tenth of a second in all.
    read = (distribution.metadata for distribution in metadata.distributions())
    lines = {f"{normal(each['Name'])}=={each['Version']}" for each in read if each["Name"]}
    text = "\n".join([f"# Python {platform.python_version()}", *sorted(lines)]) + "\n"
    return Lock(text, hashlib.sha256(text.encode()).hexdigest())


def requirements(root: Path, libraries: Iterable[str]) -> list[str]:
    """What a model needs to load: the project's requirements, completed by what it was made with.

    Given to MLflow so that it does not infer them, which starts a process and takes half a
    minute.

    Args:
        root: the project; its ``requirements.txt`` counts if there is one.
        libraries: packages of the model's flavour, such as ``lightgbm``.
    """
    lines = _lines(root / "requirements.txt")
    named = {normal(match[0]) for line in lines if (match := re.match(r"[A-Za-z0-9._-]+", line))}
    wanted = [*_ALWAYS, *(name for key in libraries for name in _FLAVORS.get(key, (key,)))]
    for name in wanted:
        version = _version(name)
        if version is not None and normal(name) not in named:
            lines.append(f"{name}=={version}")
    return lines


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    stripped = (line.split(" #")[0].strip() for line in path.read_text().splitlines())
    # Options such as --index-url concern one machine; editable installs no other has.
    return [line for line in stripped if line and not line.startswith(("#", "-"))]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
