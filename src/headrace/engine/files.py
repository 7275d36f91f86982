"""Reads of paths: where they lie, whether anything is there, and which files they cover."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlparse

from headrace.engine.errors import PathNotFoundError

FORMATS: Final = frozenset(
    {"avro", "binaryfile", "csv", "delta", "json", "orc", "parquet", "text", "xml"}
)
_WILDCARDS: Final = set("*?[{")


def is_remote(path: str) -> bool:
    """Whether the path is an address of another scheme than ``file``."""
    scheme = urlparse(path).scheme
    return len(scheme) > 1 and scheme != "file"


def absolute(path: str, root: Path) -> str:
    """The path as the engine should see it: relative ones start at the project's directory."""
    if is_remote(path):
        return path
    if path.startswith("file:"):
        path = unquote(urlparse(path).path)
    return os.path.normpath(root / Path(path).expanduser())


def check(path: str, resolved: str) -> None:
    """Make sure that a read of the path finds at least one file.

    The engine answers a missing path with an empty frame without columns.

    Raises:
        PathNotFoundError: nothing is there.
    """
    if is_remote(resolved):
        return
    if next(listing(resolved), None) is None:
        reason = "no such file or directory"
        if _WILDCARDS & set(resolved):
            reason = "no file matches the pattern"
        elif Path(resolved).is_dir():
            reason = "the directory holds no file"
        raise PathNotFoundError(path, resolved, reason)


def listing(resolved: str) -> Iterator[Path]:
    """The files that a read of an absolute path or pattern covers, sorted.

    As in Spark, directories are read with everything below them, and names that start with
    ``_`` or ``.`` are left out.
    """
    if _WILDCARDS & set(resolved) and not Path(resolved).exists():
        found = sorted(
            chain.from_iterable(
                glob.glob(each)  # noqa: PTH207  # absolute patterns
                for each in _braces(resolved)
            )
        )
    else:
        found = [resolved]
    for start in found:
        if Path(start).is_file():
            yield Path(start)
            continue
        for directory, names, files in os.walk(start):
            names[:] = sorted(name for name in names if name[0] not in "._")
            yield from (Path(directory, name) for name in sorted(files) if name[0] not in "._")


def _braces(pattern: str) -> Iterator[str]:
    """``{a,b}`` in a pattern, which ``glob`` does not know: one pattern for each alternative."""
    start = pattern.find("{")
    end = pattern.find("}", start)
    if start < 0 or end < 0:
        yield pattern
        return
    for choice in pattern[start + 1 : end].split(","):
        yield from _braces(pattern[:start] + choice + pattern[end + 1 :])
