"""Keeps tables small that get a commit every few seconds, for months."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from headrace import lakehouse

log = logging.getLogger(__name__)

EVERY_COMMITS: Final = 100
#: Files of this size are not merged again.
FILE_BYTES: Final = 32 * 1024 * 1024


def tidy(location: str | Path) -> None:
    """Merge small files, and write a checkpoint.

    Raises:
        DeltaConflictError: other writers won.
        StorageError: the table cannot be written.
    """
    lakehouse.compact(location, FILE_BYTES)
    lakehouse.checkpoint(location)
