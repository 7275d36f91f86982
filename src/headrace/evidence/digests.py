"""Digests of a model's files."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_BYTECODE: Final = "__pycache__"
#: MLflow leaves the name that a model was asked by beside it, also in the place that it has it in.
_RECEIPT: Final = "registered_model_meta"

_Stamp = tuple[int, int, int, int, int]
_known: dict[str, tuple[_Stamp, str]] = {}


def digests_of(directory: Path) -> dict[str, str]:
    """Relative path -> sha256 of each file below a directory.

    Kernel and all else that lies beside the model is included. What Python compiled from the
    model's code is not: any process that loads the model may write it, so it is removed before a
    proven model is loaded (``remove_bytecode``). Nor is the receipt that MLflow leaves in the
    directory each time somebody asks it for the model by name. A file that has not changed since this process
    read it last, by size, times and inode, is not read again.

    Raises:
        OSError: a file cannot be read.
        ValueError: a link leads out of the directory, or something is no file.
    """
    return {
        path.relative_to(directory).as_posix(): _digest(path)
        for path in sorted(_files(directory))
        if path != directory / _RECEIPT
    }


def remove_bytecode(directory: Path) -> None:
    """Remove what Python compiled from code below a directory; it would run in the code's place.

    Raises:
        OSError: it cannot be removed.
    """
    for found in sorted(directory.rglob(_BYTECODE)):
        try:
            shutil.rmtree(found)
        except FileNotFoundError:
            # Another process that loads the model was first.
            continue


def _files(directory: Path) -> Iterator[Path]:
    for home, directories, names in os.walk(directory, onerror=_raise):
        if _BYTECODE in directories and not (Path(home) / _BYTECODE).is_symlink():
            directories.remove(_BYTECODE)
        for name in [*directories, *names]:
            path = Path(home) / name
            if path.is_symlink():
                raise ValueError(f"{path.relative_to(directory)} is a link")
        for name in names:
            path = Path(home) / name
            if not path.is_file():
                raise ValueError(f"{path.relative_to(directory)} is no file")
            yield path


def _raise(error: OSError) -> None:
    raise error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        stamp = (
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )
        known = _known.get(str(path))
        if known is not None and known[0] == stamp:
            return known[1]
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _known[str(path)] = (stamp, digest)
    return digest
