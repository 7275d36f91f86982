"""Keeps tables small that get a commit every few seconds, for years.

A commit each three seconds is 28,800 a day, each with a file of its own and an entry in the
Delta log. Small files are merged, and what only older versions need is removed after a day; so
one day's commits are the most that is ever there, beside the versions that models were trained
on. Rows are never removed.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace import lakehouse, pins
from headrace.lakehouse import VersionNotFoundError, sweep

if TYPE_CHECKING:
    from headrace.catalog import Catalog, Store

EVERY_COMMITS: Final = 100
#: Files of this size are not merged again.
FILE_BYTES: Final = 32 * 1024 * 1024
VACUUM_SECONDS: Final = 3600.0
RETENTION: Final = timedelta(days=1)
PROPERTIES: Final = {
    "delta.logRetentionDuration": "interval 1 days",
    "delta.deletedFileRetentionDuration": "interval 1 days",
    "delta.enableExpiredLogCleanup": "true",
}


class Upkeep:
    """Counts the commits of tables, and tidies those that have had many.

    Args:
        store: the database, which knows what is pinned.
        catalog: the tables' names.
    """

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._store, self._catalog = store, catalog
        self._commits: Counter[str] = Counter()
        self._vacuumed: dict[str, float] = {}

    def committed(self, location: str | Path) -> None:
        """A commit was made. The first one of a process also counts what others have left."""
        at = str(location)
        if at not in self._commits:
            small = [file for file in lakehouse.files(at) if file.size < FILE_BYTES]
            self._commits[at] = len(small)
        else:
            self._commits[at] += 1

    def due(self) -> list[str]:
        """The tables to tidy."""
        return [at for at, commits in self._commits.items() if commits >= EVERY_COMMITS]

    def tidy(self, location: str) -> None:
        """Merge small files, write a checkpoint, and remove what no version of a day needs.

        Raises:
            DeltaConflictError: other writers won.
            StorageError: the table cannot be written.
            VersionNotFoundError: a version that a model needs is lost; nothing was removed.
        """
        # First: an attempt that fails is made again after as many commits, not after each one.
        self._commits[location] = 0
        lakehouse.set_properties(location, PROPERTIES)
        lakehouse.compact(location, FILE_BYTES)
        lakehouse.checkpoint(location)
        moment = time.monotonic()
        if moment - self._vacuumed.get(location, -VACUUM_SECONDS) >= VACUUM_SECONDS:
            self._vacuumed[location] = moment
            self._sweep(location)

    def _sweep(self, location: str) -> None:
        name = self._catalog.at_location(location)
        with pins.changing(self._store):
            kept = [] if name is None else pins.kept(self._store, self._catalog.resolve(name))
            planned = sweep.plan(
                location,
                RETENTION,
                log_retention=RETENTION,
                keep={pin.table_version for pin in kept},
            )
            for lost in planned.lost:
                raise VersionNotFoundError(location, lost, *lakehouse.version_range(location))
            sweep.apply(planned)
