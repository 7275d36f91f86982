"""The spool: answered requests, on disk before the answer leaves, until they are in Delta.

Each plane process is a *writer* with a directory of its own and numbered segments in it. It holds
a lock on the directory, and one on the segment in use, for as long as it lives. A segment whose
lock is free is *finished*: nobody will write to it again. The kernel gives the locks back when a
process ends, however it ends, so that no marker can be missing or be wrong after a crash.

A record is one line, ``CRC-32 JSON``: what a killed process left half written does not match its
checksum and is dropped; its request was never answered.

A record is in the file after ``write()``, which a kill cannot undo. ``rotate()`` protects the
records from a power failure too; it is called once a second, off the path of the requests.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import orjson

from headrace.ids import new_id

log = logging.getLogger(__name__)

SEGMENT_BYTES: Final = 8 * 1024 * 1024
ROTATE_SECONDS: Final = 1.0
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
                yield _decode(body)

    @property
    def finished(self) -> bool:
        """Whether no process writes to it any more.

        Raises:
            FileNotFoundError: it has been shipped meanwhile.
        """
        descriptor = _try_lock(self.path, os.O_RDONLY)
        if descriptor is None:
            return False
        os.close(descriptor)
        return True


class SpoolWriter:
    """Appends records of this process. Threads may share it.

    Args:
        spool: the directory of all writers.
        segment_bytes: a segment that has grown beyond this is followed by a new one, and
            finished by the next ``rotate()``.
    """

    def __init__(self, spool: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.id = new_id("spool")
        self.directory = spool / self.id
        self._lock_file: int | None = _make_directory(self.directory)
        self._limit = segment_bytes
        self._mutex = threading.Lock()
        self._rotating = threading.Lock()
        self._sequence = 0
        self._descriptor: int | None = None
        self._size = 0
        self._full: list[int] = []

    def append(self, *records: Mapping[str, Any]) -> None:
        """Write records at once; they survive a kill of this process once the call returns.

        Raises:
            OSError: the disk is full or the file cannot be written; no part of them stays.
        """
        bodies = [_encode(record) for record in records]
        lines = b"".join([b"%08x %b\n" % (zlib.crc32(body), body) for body in bodies])
        with self._mutex:
            descriptor = self._descriptor
            if descriptor is None:
                descriptor = self._begin()
            try:
                written = os.write(descriptor, lines)
                if written != len(lines):
                    raise OSError(errno.ENOSPC, f"wrote {written} of {len(lines)} bytes")
            except OSError:
                os.ftruncate(descriptor, self._size)
                raise
            self._size += written
            full = self._size >= self._limit
        if full:
            self._finish(sync=False)

    def rotate(self) -> None:
        """Finish the segment in use, if it holds anything, so that it can be shipped.

        Appends go on meanwhile: making the next file and forcing this one to the disk happens
        beside them.
        """
        self._finish(sync=True)

    def close(self) -> None:
        """Finish the last segment and let a successor adopt the directory."""
        with self._rotating, self._mutex:
            while self._full:
                os.close(self._full.pop())
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
                if self._size == 0:
                    _segment_path(self.directory, self._sequence).unlink()
            if self._lock_file is not None:
                os.close(self._lock_file)
                self._lock_file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self) -> int:
        if self._lock_file is None:
            raise OSError("the spool is closed")
        self._descriptor = _make_segment(self.directory, self._sequence + 1)
        self._sequence += 1
        self._size = 0
        return self._descriptor

    def _finish(self, sync: bool) -> None:
        if not self._rotating.acquire(blocking=False):
            return  # another thread is at it
        try:
            # The descriptor changes only under _rotating once there is one.
            if self._descriptor is not None and self._size:
                fresh = _make_segment(self.directory, self._sequence + 1)
                with self._mutex:
                    self._full.append(self._descriptor)
                    self._descriptor = fresh
                    self._sequence += 1
                    self._size = 0
            while sync and self._full:
                _force(self._full.pop(0))
        except OSError as error:
            # Nothing is lost: it stays in use, or is shipped without having been forced to disk.
            log.warning("%s: a segment was not finished: %s", self.directory, error)
        finally:
            self._rotating.release()


def keep_rotating(
    writer: SpoolWriter, stop: threading.Event, seconds: float = ROTATE_SECONDS
) -> None:
    """Finish the writer's segment each so many seconds, until told to stop."""
    while not stop.wait(seconds):
        writer.rotate()


def segments(spool: Path) -> list[Segment]:
    """Every segment of every writer, each writer's in order."""
    return [segment for directory in writers(spool) for segment in segments_of(directory)]


def segments_of(directory: Path) -> list[Segment]:
    """The segments of one writer, in order."""
    return [
        Segment(path, directory.name, int(path.stem))
        for path in sorted(directory.glob("*.log"))
        if path.stem.isdigit()
    ]


def writers(spool: Path) -> list[Path]:
    """The directories of all writers, oldest first."""
    return sorted(path for path in spool.glob("spool_*") if path.is_dir())


def adopt(directory: Path) -> int | None:
    """The lock of a writer whose process is gone, to be closed by the caller; else ``None``."""
    return _try_lock(directory / _LOCK, os.O_RDWR | os.O_CREAT)


def discard(directory: Path) -> None:
    """Remove an adopted writer's directory once nothing is left in it."""
    for unborn in directory.glob("*.new"):
        unborn.unlink()
    (directory / _LOCK).unlink(missing_ok=True)
    directory.rmdir()


def find_spooled(spool: Path, prediction_id: str) -> dict[str, Any] | None:
    """The spool's record of a request that holds the prediction, if it is not yet in Delta."""
    for segment in segments(spool):
        for record in readable_records(segment):
            if record["kind"] == "served" and any(
                row["id"] == prediction_id for row in record["rows"]
            ):
                return record
    return None


def readable_records(segment: Segment) -> list[dict[str, Any]]:
    """The records of a segment; none where it has been shipped since it was listed."""
    try:
        return list(segment.records())
    except FileNotFoundError:
        # Shipped since it was listed; its counts are in the database.
        return []


def _encode(record: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        # Integers above 64 bits and lone surrogates, which JSON itself allows.
        return json.dumps(record, separators=(",", ":")).encode()


def _decode(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(body)


def _make_directory(directory: Path) -> int:
    """Make a writer's directory, which appears with its lock held; the lock."""
    unborn = directory.with_name(f".{directory.name}")
    unborn.mkdir(parents=True, mode=0o700)
    lock = _try_lock(unborn / _LOCK, os.O_RDWR | os.O_CREAT)
    if lock is None:
        raise OSError(f"{unborn} is locked by another process")
    unborn.rename(directory)
    return lock


def _make_segment(directory: Path, sequence: int) -> int:
    """Make a segment, which appears with its lock held; its descriptor."""
    path = _segment_path(directory, sequence)
    unborn = path.with_suffix(".new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(unborn, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unborn.rename(path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _force(descriptor: int) -> None:
    """Force a segment to the disk, and give back its lock: it is finished."""
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _segment_path(directory: Path, sequence: int) -> Path:
    return directory / f"{sequence:08d}.log"


def _checksum(body: bytes) -> bytes:
    return b"%08x" % zlib.crc32(body)


def _try_lock(path: Path, flags: int) -> int | None:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
