"""The spool: answered requests, on disk before the answer leaves, until they are in Delta.

Each plane process is a *writer* with a directory of its own and numbered segments in it. It holds
a lock on the directory for as long as it lives, so that a successor knows whose segments are
abandoned. A record is one line, ``CRC-32 JSON``: what a killed process left half written does not
match its checksum and is dropped; its request was never answered.

A record is in the file after ``write()``, which a kill cannot undo. ``sync()`` protects it from
a power failure too; it is called from time to time, off the path of the requests.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from headrace.ids import new_id

log = logging.getLogger(__name__)

SEGMENT_BYTES: Final = 8 * 1024 * 1024
_LOCK: Final = "lock"


@dataclass(frozen=True)
class Segment:
    """A file of the spool: ``SPOOL/WRITER/00000001.log``."""

    path: Path
    writer: str
    sequence: int

    def records(self) -> Iterator[dict[str, Any]]:
        """The complete records, in order."""
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                checksum, _, body = line.rstrip(b"\n").partition(b" ")
                if not line.endswith(b"\n") or checksum != _checksum(body):
                    log.warning(
                        "%s:%d: dropped a record that was not written out", self.path, number
                    )
                    continue
                yield json.loads(body)


class SpoolWriter:
    """Appends records of this process. Threads may share it.

    Args:
        spool: the directory of all writers.
        segment_bytes: a segment that has grown beyond this is followed by a new one.
    """

    def __init__(self, spool: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.id = new_id("spool")
        self.directory = spool / self.id
        self.directory.mkdir(parents=True, mode=0o700)
        self._lock_file = _try_lock(self.directory / _LOCK)
        if self._lock_file is None:
            raise OSError(f"{self.directory} was adopted by another process while it was made")
        self._limit = segment_bytes
        self._mutex = threading.Lock()
        self._sequence = 0
        self._descriptor: int | None = None
        self._size = 0

    def append(self, record: dict[str, Any]) -> None:
        """Write one record; it survives a kill of this process once the call returns.

        Raises:
            OSError: the disk is full or the file cannot be written; no part of the record stays.
        """
        body = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
        line = _checksum(body) + b" " + body + b"\n"
        with self._mutex:
            descriptor = self._open()
            try:
                written = os.write(descriptor, line)
                if written != len(line):
                    raise OSError(f"wrote {written} of {len(line)} bytes")
            except OSError:
                os.ftruncate(descriptor, self._size)
                raise
            self._size += len(line)
            if self._size >= self._limit:
                self._finish()

    def rotate(self) -> None:
        """Finish the segment in use, if it holds anything, so that it can be shipped."""
        with self._mutex:
            self._finish()

    def sync(self) -> None:
        """Force what was written to the disk."""
        with self._mutex:
            if self._descriptor is None:
                return
            duplicate = os.dup(self._descriptor)
        # Outside the lock: appends go on while the disk works.
        try:
            os.fsync(duplicate)
        finally:
            os.close(duplicate)

    @property
    def current(self) -> int:
        """The number of the segment in use; lower ones are finished."""
        with self._mutex:
            return self._sequence if self._descriptor is not None else self._sequence + 1

    def close(self) -> None:
        """Finish the last segment and let a successor adopt the directory."""
        with self._mutex:
            self._finish()
            if self._lock_file is not None:
                os.close(self._lock_file)
                self._lock_file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> int:
        if self._descriptor is None:
            if self._lock_file is None:
                raise OSError("the spool is closed")
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            path = _segment_path(self.directory, self._sequence + 1)
            self._descriptor = os.open(path, flags, 0o600)
            self._sequence += 1
            self._size = 0
        return self._descriptor

    def _finish(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def segments(spool: Path) -> list[Segment]:
    """Every segment of every writer, each writer's in order."""
    return [
        Segment(path, path.parent.name, int(path.stem))
        for path in sorted(spool.glob("spool_*/*.log"))
        if path.stem.isdigit()
    ]


def writers(spool: Path) -> list[Path]:
    """The directories of all writers, oldest first."""
    return sorted(path for path in spool.glob("spool_*") if path.is_dir())


def adopt(directory: Path) -> int | None:
    """The lock of a writer whose process is gone, to be closed by the caller; else ``None``."""
    return _try_lock(directory / _LOCK)


def discard(directory: Path) -> None:
    """Remove an adopted writer's directory once nothing is left in it."""
    (directory / _LOCK).unlink(missing_ok=True)
    directory.rmdir()


def find_spooled(spool: Path, prediction_id: str) -> dict[str, Any] | None:
    """The spool's record of a request that holds the prediction, if it is not yet in Delta."""
    for segment in segments(spool):
        for record in readable_records(segment):
            if any(row["id"] == prediction_id for row in record.get("rows", ())):
                return record
    return None


def readable_records(segment: Segment) -> list[dict[str, Any]]:
    """The records of a segment; none where it has been shipped since it was listed."""
    try:
        return list(segment.records())
    except FileNotFoundError:
        # Shipped since it was listed; its counts are in the database.
        return []


def _segment_path(directory: Path, sequence: int) -> Path:
    return directory / f"{sequence:08d}.log"


def _checksum(body: bytes) -> bytes:
    return b"%08x" % zlib.crc32(body)


def _try_lock(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
