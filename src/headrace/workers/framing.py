"""Messages between a pool and its workers: a JSON object, then bytes.

The same format as ``process.py``, which runs where Headrace is not installed.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any, Final

PREFIX: Final = struct.Struct("!IQ")
MOST_BYTES: Final = 4 << 30


class FramingError(ValueError):
    """What arrived is no message."""


def head(header: dict[str, Any], size: int = 0) -> bytes:
    """What goes before a payload of so many bytes."""
    text = json.dumps(header).encode()
    return PREFIX.pack(len(text), size) + text


class Messages:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._wanted = PREFIX.size

    def feed(self, data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Each message that is complete with this data.

        Raises:
            FramingError: a length is beyond all bounds, or a header is no JSON object.
        """
        self._buffer += data
        while len(self._buffer) >= self._wanted:
            text, payload = PREFIX.unpack_from(self._buffer)
            self._wanted = PREFIX.size + text + payload
            if self._wanted > MOST_BYTES:
                raise FramingError(f"a message of {self._wanted} bytes")
            if len(self._buffer) < self._wanted:
                return
            whole = bytes(memoryview(self._buffer)[: self._wanted])
            del self._buffer[: self._wanted]
            self._wanted = PREFIX.size
            header = json.loads(whole[PREFIX.size : PREFIX.size + text])
            if not isinstance(header, dict):
                raise FramingError("a header that is no object")
            yield header, whole[PREFIX.size + text :]
