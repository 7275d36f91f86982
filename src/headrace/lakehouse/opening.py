"""Opening a table, and the Delta library's errors in words of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from headrace.errors import is_disk_full
from headrace.lakehouse.errors import (
    CorruptTableError,
    NotADeltaTableError,
    StorageError,
    StorageFullError,
    TableSchemaError,
)
from headrace.lakehouse.retry import is_conflict

if TYPE_CHECKING:
    from deltalake import DeltaTable

_ODD = re.compile(r"%[0-9A-Fa-f]{2}|[\[\]{}<>|^*`\"\\\n]")
_SCHEMA_WORDS = ("cast error", "partition column(s) not found", "cannot cast")
_MISSING_WORDS = ("not found", "no such file", "notfound")
_DAMAGE_WORDS = (
    "parquet", "checkpoint", "json", "deserialize", "invalid log", "eof", "magic", "thrift",
    "log segment", "gap in", "missing commit", "no files in log",
)  # fmt: skip


def directory(location: str | Path) -> Path:
    """The absolute directory of a table, given as a path or a ``file:`` address.

    Raises:
        StorageError: the path has characters that the Delta library mistakes.
    """
    text = str(location)
    if text.startswith("file:"):
        text = unquote(urlparse(text).path)
    path = Path(text).absolute()
    if odd := _ODD.search(str(path)):
        # The library ends with a panic on some of these, and on others reads elsewhere.
        raise StorageError(str(path), f'the Delta library cannot address "{odd[0]}" in a path')
    return path


def open_table(location: str | Path, version: int | None = None) -> DeltaTable:
    """The table at a version that exists (see ``check_version``), or at its newest.

    Raises:
        NotADeltaTableError: there is no Delta log.
        CorruptTableError: the log cannot be read.
    """
    from deltalake import DeltaTable

    path = directory(location)
    if not path.is_dir():
        raise NotADeltaTableError(str(path), "the directory does not exist")
    if not (path / "_delta_log").is_dir():
        raise NotADeltaTableError(str(path), "the directory has no _delta_log")
    with delta_errors(path):
        return DeltaTable(str(path), version=version)


@contextmanager
def delta_errors(location: Path) -> Iterator[None]:
    """Raise the library's errors as ours. Conflicts pass through: ``retry`` handles them."""
    from deltalake.exceptions import (
        DeltaError,
        SchemaMismatchError,
        TableNotFoundError,
    )

    try:
        yield
    except SchemaMismatchError as error:
        raise TableSchemaError(str(location), _first_line(error)) from error
    except TableNotFoundError as error:
        raise NotADeltaTableError(str(location), _first_line(error)) from error
    except (DeltaError, OSError, ValueError) as error:
        if is_conflict(error) and not is_disk_full(error):
            raise
        raise _translated(location, error) from error
    except Exception as error:
        # The library's Arrow layer raises plain exceptions; every other kind is not its own.
        if type(error) is not Exception:
            raise
        raise _translated(location, error) from error


def _translated(location: Path, error: Exception) -> Exception:
    text = str(error).lower()
    if is_disk_full(error):
        return StorageFullError(str(location), _first_line(error))
    if any(word in text for word in _SCHEMA_WORDS):
        return TableSchemaError(str(location), _first_line(error))
    if any(word in text for word in (*_MISSING_WORDS, *_DAMAGE_WORDS)):
        return CorruptTableError(str(location), _first_line(error))
    return StorageError(str(location), _first_line(error))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
