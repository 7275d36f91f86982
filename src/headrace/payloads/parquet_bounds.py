"""What a Parquet file would expand to, added up from its page headers.

The footer says how large each column is, but a reader allocates what the header of a page says,
and the footer of a hostile file need not agree. Both are read here rather than by pyarrow, whose
accessors of a damaged footer end the process (``FileMetaData`` and ``PageHeader`` of
``parquet.thrift``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from headrace.payloads.thrift import ThriftError, read_struct

#: Encodings whose values are no longer than their page: plain, run lengths, dictionary indices,
#: deltas of numbers and of lengths, split bytes. Prefixes (DELTA_BYTE_ARRAY) are not among them:
#: each value repeats a part of the one before.
_BOUNDED: Final = frozenset({0, 2, 3, 4, 5, 6, 8, 9})
_MAX_FOOTER: Final = 2 * 1024 * 1024
_MAX_PAGES: Final = 50_000
_MAGIC: Final = b"PAR1"


def measure(body: bytes) -> tuple[int, int]:
    """Rows, and bytes of all pages when they are decompressed.

    Args:
        body: the whole file.

    Raises:
        ValueError: it is no Parquet file, a page lies outside of it, is damaged, or is of an
            encoding that can expand without bound.
    """
    groups = _list(_footer(body), 4)
    rows = total = pages = 0
    for group in groups:
        rows += _number(group, 3)
        for chunk in _list(group, 1):
            for size in _pages(body, chunk):
                total += size
                pages += 1
                if pages > _MAX_PAGES:
                    raise ValueError(f"it has more than {_MAX_PAGES} pages")
    return rows, total


def _footer(body: bytes) -> dict[int, Any]:
    if len(body) < 12 or not body.startswith(_MAGIC) or not body.endswith(_MAGIC):
        raise ValueError("it does not begin and end with PAR1")
    length = int.from_bytes(body[-8:-4], "little")
    if length > len(body) - 12:
        raise ValueError("its footer is longer than the file")
    if length > _MAX_FOOTER:
        raise ValueError(f"its footer has more than {_MAX_FOOTER} bytes")
    footer, _ = read_struct(body[-8 - length : -8], 0)
    if footer.get(3) != sum(_number(group, 3) for group in _list(footer, 4)):
        raise ValueError("its row groups have not the rows of the file")
    return footer


def _pages(body: bytes, chunk: dict[int, Any]) -> Iterator[int]:
    """The uncompressed bytes of each page of a column chunk."""
    meta = chunk.get(3)
    if not isinstance(meta, dict) or 1 in chunk:
        raise ValueError("a column is in another file")
    start, size = _number(meta, 9), _number(meta, 7)
    if meta.get(11):  # the page of the dictionary
        start = min(start, _number(meta, 11))
    at, end = start, start + size
    if end > len(body):
        raise ValueError("a column lies outside of the file")
    while at < end:
        header, at = read_struct(body, at)
        _check_encoding(header)
        yield _number(header, 2)
        at += _number(header, 3)


def _check_encoding(header: dict[int, Any]) -> None:
    # Data page: its field 2; dictionary page: 2; data page of version 2: 4.
    for page, field in ((5, 2), (7, 2), (8, 4)):
        inner = header.get(page)
        if isinstance(inner, dict) and inner.get(field) not in _BOUNDED:
            raise ValueError("a page has an encoding that is not read")


def _number(fields: dict[int, Any], number: int) -> int:
    value = fields.get(number)
    if type(value) is not int or value < 0:
        raise ThriftError(f"field {number} is no size")
    return value


def _list(fields: dict[int, Any], number: int) -> list[dict[int, Any]]:
    value = fields.get(number, [])
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise ThriftError(f"field {number} is no list")
    return value
