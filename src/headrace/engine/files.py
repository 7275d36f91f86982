"""Reads of paths: where they lie, whether anything is there, and which files they cover."""

from __future__ import annotations

import glob
import os
import struct
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlparse

from headrace.engine.errors import PathNotFoundError, UnreadableFileError

FORMATS: Final = frozenset(
    {"avro", "binaryfile", "csv", "delta", "json", "orc", "parquet", "text", "xml"}
)
_PARQUET_MARKS: Final = {b"PAR1", b"PARE"}  # plain, and with an encrypted footer
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


def check(path: str, resolved: str, form: str) -> None:
    """Make sure that a read of the path finds at least one file, and no empty Parquet file.

    The engine answers a missing path with an empty frame without columns, leaves out a Parquet
    file of no bytes, and panics over one that is cut off.

    Raises:
        PathNotFoundError: nothing is there.
        UnreadableFileError: a Parquet file is cut off, or is none.
    """
    if is_remote(resolved):
        return
    found = list(listing(resolved))
    for file in found if form == "parquet" else ():
        reason = _broken_ends(file)
        if reason is not None:
            raise UnreadableFileError(str(file), reason)
    if not found:
        reason = "no such file or directory"
        if _WILDCARDS & set(resolved):
            reason = "no file matches the pattern"
        elif Path(resolved).is_dir():
            reason = "the directory holds no file"
        raise PathNotFoundError(path, resolved, reason)


def _broken_ends(file: Path) -> str | None:
    """Why a file cannot be Parquet, told from its first and last bytes."""
    size = file.stat().st_size
    if size < 12:
        return f"it has {size} bytes, too few for a Parquet file"
    with file.open("rb") as opened:
        first = opened.read(4)
        opened.seek(-8, os.SEEK_END)
        length, last = struct.unpack("<I4s", opened.read(8))
    if {first, last} - _PARQUET_MARKS:
        return "it does not begin and end as a Parquet file does"
    if length > size - 12:
        return f"its footer should have {length:,} bytes and the file has {size:,}"
    return None


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


def parquet_columns(resolved: Iterable[str]) -> tuple[str, ...] | None:
    """Columns of the first Parquet file below these paths; ``None`` where others can be beside.

    Directories such as ``day=2026-01-01`` hold columns of their own.
    """
    import pyarrow
    from pyarrow import parquet

    local = [path for path in resolved if not is_remote(path)]
    first = next((file for path in local for file in listing(path)), None)
    if first is None or any("=" in part for part in first.parts):
        return None
    try:
        return tuple(parquet.read_schema(first).names)
    except (OSError, pyarrow.ArrowException):
        return None  # reading its rows says what is wrong with it


def unreadable(resolved: list[str]) -> UnreadableFileError | None:
    """The first of the Parquet files below these paths that cannot be read, after a failure.

    The engine does not say which of a thousand files it was.
    """
    import pyarrow
    from pyarrow import parquet

    local = [path for path in resolved if not is_remote(path)]
    for path in dict.fromkeys(file for each in local for file in listing(each)):
        if path.suffix != ".parquet":
            continue
        try:
            with parquet.ParquetFile(path) as file:
                for _ in file.iter_batches():
                    pass
        except (OSError, pyarrow.ArrowException) as error:
            return UnreadableFileError(str(path), str(error).strip().splitlines()[0])
    return None
