"""A project's ``requirements.txt``: what it asks for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

REQUIREMENTS: Final = "requirements.txt"
_INCLUDED: Final = re.compile(r"(?:-r|--requirement)(?:\s+|=)(\S+)")
_CONSTRAINED: Final = re.compile(r"(?:-c|--constraint)(?:\s+|=)(\S+)")


def read_requirements(root: Path) -> list[str]:
    """The requirements of a project, with those of files that it includes by ``-r``.

    Options such as ``--index-url`` concern one machine, and editable installs no other has:
    both are left out. Empty without the file.
    """
    return [line for line in _lines(root / REQUIREMENTS, set()) if not line.startswith("-")]


def requirements_digest(root: Path) -> str:
    """sha256, hexadecimal, of what decides a resolution: requirements and constraints.

    Layout, comments and the order of lines do not count.
    """
    found = sorted(set(_lines(root / REQUIREMENTS, set())))
    return hashlib.sha256("\n".join(found).encode()).hexdigest()


def _lines(path: Path, seen: set[Path]) -> Iterator[str]:
    """Each line but options of this machine; constraints as ``-c REQUIREMENT``."""
    if path in seen or not path.is_file():
        return
    seen.add(path)
    for raw in path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        line = re.split(r"(?:^|\s)#", raw)[0].split(" --hash=")[0].strip()
        if match := _INCLUDED.match(line):
            yield from _lines((path.parent / match[1]).resolve(), seen)
        elif match := _CONSTRAINED.match(line):
            inner = _lines((path.parent / match[1]).resolve(), seen)
            yield from (text if text.startswith("-c ") else f"-c {text}" for text in inner)
        elif line and not line.startswith("-"):
            yield line
