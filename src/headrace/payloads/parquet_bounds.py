"""What a Parquet file would expand to, added up from its page headers.

The footer says how large each column is, but a reader allocates what the header of a page says,
and the footer of a hostile file need not agree. Page headers are Thrift structs in the compact
protocol (``PageHeader`` of ``parquet.thrift``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

#: Encodings whose values are no longer than their page: plain, run lengths, dictionary indices,
#: deltas of numbers and of lengths, split bytes. Prefixes (DELTA_BYTE_ARRAY) are not among them:
#: each value repeats a part of the one before.
_BOUNDED: Final = {0, 2, 3, 4, 5, 6, 8, 9}
_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _STRUCT = 0, 1, 2, 3, 7, 8, 12
_MAX_HEADER: Final = 64
_MAX_PAGES: Final = 50_000


def measure(body: bytes, metadata: Any) -> int:
    """Bytes of all pages when they are decompressed.

    Args:
        body: the whole file.
        metadata: its ``pyarrow.parquet.FileMetaData``.

    Raises:
        ValueError: a page lies outside of the file, is damaged, or of an encoding that can
            expand without bound.
    """
    if metadata.num_row_groups * metadata.num_columns > _MAX_PAGES:
        raise ValueError(f"it has more than {_MAX_PAGES} pages")
    total = pages = 0
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for column in range(row_group.num_columns):
            chunk = row_group.column(column)
            start = chunk.data_page_offset
            if chunk.has_dictionary_page and chunk.dictionary_page_offset:
                start = min(start, chunk.dictionary_page_offset)
            for size in _pages(body, start, chunk.total_compressed_size):
                total += size
                pages += 1
                if pages > _MAX_PAGES:
                    raise ValueError(f"it has more than {_MAX_PAGES} pages")
    return total


def _pages(body: bytes, start: int, size: int) -> Iterator[int]:
    """The uncompressed bytes of each page of a column chunk."""
    at, end = start, start + size
    if start < 0 or size < 0 or end > len(body):
        raise ValueError("a column lies outside of the file")
    while at < end:
        try:
            header, at = _struct(body, at, 0)
        except (IndexError, UnicodeDecodeError):
            raise ValueError("the header of a page is damaged") from None
        uncompressed, compressed = header.get(2), header.get(3)
        if not isinstance(uncompressed, int) or not isinstance(compressed, int):
            raise ValueError("a page has no size")
        if uncompressed < 0 or compressed < 0:
            raise ValueError("a page has a negative size")
        _check_encoding(header)
        yield uncompressed
        at += compressed


def _check_encoding(header: dict[int, Any]) -> None:
    # Data page: its field 2; dictionary page: 2; data page of version 2: 4.
    for page, field in ((5, 2), (7, 2), (8, 4)):
        inner = header.get(page)
        if isinstance(inner, dict) and inner.get(field) not in _BOUNDED:
            raise ValueError("a page has an encoding that is not read")


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    if depth > 8:
        raise IndexError("nested too deep")
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
        if len(fields) > _MAX_HEADER:
            raise IndexError("too many fields")
        fields[number], at = _value(data, at, kind, depth)


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind == _BYTE:
        return data[at], at + 1
    if kind in (4, 5, 6):
        return _zigzag(data, at)
    if kind == _DOUBLE:
        return None, at + 8
    if kind == _BINARY:
        length, at = _varint(data, at)
        return None, at + length
    if kind == _STRUCT:
        return _struct(data, at, depth + 1)
    # Page headers hold no lists, sets or maps.
    raise IndexError("an unknown type")


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
            raise IndexError("a number too long")


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at
