"""Structs in Thrift's compact protocol, as Parquet writes its footer and the heads of its pages.

See https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 12
_WHOLE: Final = (4, 5, 6)
_MAX_DEPTH: Final = 16


class ThriftError(ValueError):
    """The bytes are no struct of the compact protocol."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"a header is damaged: {why}")


def read_struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """The fields of a struct by their number, and where it ends.

    Whole numbers, truth values, structs and lists are read; of texts only the length.

    Raises:
        ThriftError: they are no struct.
    """
    try:
        return _struct(data, at, 0)
    except IndexError:
        raise ThriftError("it is cut off") from None


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    if depth > _MAX_DEPTH:
        raise ThriftError("it is nested too deep")
    fields: dict[int, Any] = {}
    number = 0
    while True:
        head = data[at]
        at += 1
        kind = head & 0x0F
        if kind == _STOP:
            return fields, at
        if head >> 4:
            number += head >> 4
        else:
            number, at = _zigzag(data, at)
        if kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        else:
            fields[number], at = _reader(kind)(data, at, depth)


def _list(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    head = data[at]
    at += 1
    count, kind = head >> 4, head & 0x0F
    if count == 15:
        count, at = _varint(data, at)
    if count > len(data) - at:
        raise ThriftError("a list is longer than the rest")
    if depth > _MAX_DEPTH:
        raise ThriftError("it is nested too deep")
    read = _byte if kind in (_TRUE, _FALSE) else _reader(kind)
    values = []
    for _ in range(count):
        value, at = read(data, at, depth)
        values.append(value)
    return values, at


def _byte(data: bytes, at: int, _: int) -> tuple[int, int]:
    return data[at], at + 1


def _double(_: bytes, at: int, __: int) -> tuple[None, int]:
    return None, at + 8


def _whole(data: bytes, at: int, _: int) -> tuple[int, int]:
    return _zigzag(data, at)


def _length(data: bytes, at: int, _: int) -> tuple[int, int]:
    length, at = _varint(data, at)
    return length, at + length


def _inner(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    return _struct(data, at, depth + 1)


def _inner_list(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    return _list(data, at, depth + 1)


_READERS: Final[dict[int, Callable[[bytes, int, int], tuple[Any, int]]]] = {
    _BYTE: _byte,
    _DOUBLE: _double,
    _BINARY: _length,
    _LIST: _inner_list,
    _SET: _inner_list,
    _STRUCT: _inner,
    **dict.fromkeys(_WHOLE, _whole),
}


def _reader(kind: int) -> Callable[[bytes, int, int], tuple[Any, int]]:
    read = _READERS.get(kind)
    if read is None:
        raise ThriftError(f"type {kind} is not one of Parquet's")
    return read


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ThriftError("a number is too long")


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at
