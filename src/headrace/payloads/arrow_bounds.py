"""What an Arrow IPC stream would expand to, added up from its messages' headers.

A message's header is a flatbuffer (``Message.fbs`` of the Arrow format). pyarrow hands it out
unread, so the few fields that bound an allocation are read here: the length of a record batch,
and the uncompressed length that stands before each compressed buffer.
"""

from __future__ import annotations

import struct
from typing import Any, Final

_DICTIONARY: Final = 2
_RECORD_BATCH: Final = 3
#: Fields of the tables, by their number in ``Message.fbs``.
_HEADER_TYPE, _HEADER = 1, 2
_DATA = 1
_LENGTH, _BUFFERS, _COMPRESSION = 0, 2, 3


def measure(stream: bytes) -> tuple[int, int]:
    """Rows and bytes that a stream expands to; bytes that several buffers show count for each.

    Args:
        stream: the whole stream.

    Raises:
        ValueError: a header is no flatbuffer of this format.
        pyarrow.ArrowException: a message is cut off or damaged.
    """
    import pyarrow as pa

    rows = size = 0
    reader = pa.ipc.MessageReader.open_stream(pa.BufferReader(stream))
    for message in reader:
        try:
            length, expanded, is_batch = _batch(message.metadata, message.body)
        except (struct.error, IndexError):
            raise ValueError("the header of a message is damaged") from None
        size += expanded
        rows += length if is_batch else 0
    return rows, size


def _batch(metadata: Any, body: Any) -> tuple[int, int, bool]:
    """Length, bytes and whether it is a record batch; nothing of other messages."""
    header = memoryview(metadata)
    message = _Table(header, _offset(header, 0))
    kind = message.byte(_HEADER_TYPE)
    if kind not in (_DICTIONARY, _RECORD_BATCH):
        return 0, 0, False
    batch = message.table(_HEADER)
    if kind == _DICTIONARY:
        batch = batch.table(_DATA)
    length = batch.long(_LENGTH)
    if length < 0:
        raise ValueError("a record batch has a negative length")
    compressed = batch.has(_COMPRESSION)
    size = 0
    for offset, held in batch.buffers(_BUFFERS):
        expanded = held
        if compressed and held > 0:
            (stated,) = struct.unpack_from("<q", body, offset)
            expanded = held if stated == -1 else stated  # -1: this one is not compressed
        size += max(expanded, 0)
    return length, size, kind == _RECORD_BATCH


class _Table:
    """A table of a flatbuffer: fields by number, through its vtable."""

    def __init__(self, data: memoryview, at: int) -> None:
        self.data, self.at = data, at
        (back,) = struct.unpack_from("<i", data, at)
        self.vtable = at - back
        if self.vtable < 0:
            raise IndexError("a vtable before the start")
        (self.vtable_size,) = struct.unpack_from("<H", data, self.vtable)

    def place(self, field: int) -> int:
        slot = 4 + 2 * field
        if slot + 2 > self.vtable_size:
            return 0
        (offset,) = struct.unpack_from("<H", self.data, self.vtable + slot)
        return self.at + offset if offset else 0

    def has(self, field: int) -> bool:
        return self.place(field) != 0

    def byte(self, field: int) -> int:
        at = self.place(field)
        return self.data[at] if at else 0

    def long(self, field: int) -> int:
        at = self.place(field)
        return int(struct.unpack_from("<q", self.data, at)[0]) if at else 0

    def table(self, field: int) -> _Table:
        at = self.place(field)
        if not at:
            raise IndexError("a table is missing")
        return _Table(self.data, at + _offset(self.data, at))

    def buffers(self, field: int) -> list[tuple[int, int]]:
        """A vector of structs of two longs."""
        at = self.place(field)
        if not at:
            return []
        at += _offset(self.data, at)
        (count,) = struct.unpack_from("<I", self.data, at)
        if count * 16 > len(self.data):
            raise IndexError("a vector beyond the end")
        flat = struct.unpack_from(f"<{2 * count}q", self.data, at + 4)
        return list(zip(flat[::2], flat[1::2], strict=True))


def _offset(data: memoryview, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])
