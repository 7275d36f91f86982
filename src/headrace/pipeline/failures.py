"""Failures of a query, in words: the file, the column or the line that is to blame."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import OperationalError

from headrace import lakehouse
from headrace.engine.errors import UnreadableFileError
from headrace.errors import HeadraceError, is_disk_full
from headrace.lakehouse import StorageFullError
from headrace.pipeline import graph
from headrace.pipeline.errors import (
    ColumnNotFoundError,
    CorruptFileError,
    DefinitionError,
    DiskFullError,
    RefreshError,
)
from headrace.pipeline.registry import describe, user_location

if TYPE_CHECKING:
    from headrace.pipeline.context import Context
    from headrace.pipeline.elements import Location
    from headrace.pipeline.graph import Dataset

_MISSING_COLUMN = (
    re.compile(r"attribute ObjectName\(\[(?P<parts>.*?)\]\) is missing from the schema"),
    re.compile(r"No field named (?P<parts>[\w.\"`]+)"),
    re.compile(r"A column[\w, ]*with name (?P<parts>`[^`]+`) cannot be resolved"),
)


@contextmanager
def explained(context: Context, dataset: Dataset, raw: Sequence[str] = ()) -> Iterator[None]:
    """Raise what goes wrong inside as an error that a person can act on.

    Args:
        context: the pipeline.
        dataset: what is being refreshed.
        raw: raw files that are being read, beside those of its batch reads.

    Raises:
        DiskFullError: the engine found no space left.
        ColumnNotFoundError: the query names a column that its inputs lack.
        CorruptFileError: a raw file cannot be read.
        DefinitionError: the query function raised.
        RefreshError: anything else that the engine refuses.
    """
    from pyspark.errors import PySparkException

    try:
        yield
    except UnreadableFileError as error:
        streaming = error.path in raw
        raise CorruptFileError(
            dataset.name, error.path, error.reason, streaming=streaming
        ) from error
    except HeadraceError:
        raise
    except PySparkException as error:
        raise _explain(context, dataset, raw, error) from error
    except OSError:
        raise
    except Exception as error:
        where = user_location(error, context.root)
        if where is None:
            raise
        raise DefinitionError(
            f"The query of {dataset.name} failed.", where, describe(error)
        ) from error


@contextmanager
def full_disk(context: Context, dataset: Dataset) -> Iterator[None]:
    """Raise ``DiskFullError`` where no space is left, whoever noticed it.

    Raises:
        DiskFullError: for the table's files, or for the database.
    """
    try:
        yield
    except StorageFullError as error:
        raise DiskFullError(dataset.name, error.location, error.why or error.what) from error
    except (OSError, OperationalError) as error:
        if not is_disk_full(error):
            raise
        raise _disk_full(context, dataset, first_line(error)) from error


def corruption(path: str) -> str | None:
    """Why a Parquet file cannot be read in full; ``None`` if it can."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            for _ in file.iter_batches():
                pass
    except (OSError, pyarrow.ArrowException) as error:
        return first_line(error)
    return None


def first_line(error: BaseException) -> str:
    """The first line of an exception's text."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _explain(
    context: Context, dataset: Dataset, raw: Sequence[str], error: Exception
) -> HeadraceError:
    reason = first_line(error)
    if is_disk_full(error):
        return _disk_full(context, dataset, reason)
    location = user_location(error, context.root) or _place(dataset)
    column = _missing_column(str(error))
    if column is not None:
        inputs = _input_columns(context, dataset)
        return ColumnNotFoundError(dataset.name, location, column, inputs)
    for path in [*raw, *_parquet_inputs(context, dataset)]:
        why = corruption(path)
        if why is not None:
            return CorruptFileError(dataset.name, path, why, streaming=path in raw)
    return RefreshError(dataset.name, location, reason)


def _disk_full(context: Context, dataset: Dataset, reason: str) -> DiskFullError:
    return DiskFullError(dataset.name, str(context.location(dataset.name)), reason)


def _place(dataset: Dataset) -> Location:
    return dataset.flows[0].location if len(dataset.flows) == 1 else dataset.location


def _missing_column(text: str) -> str | None:
    for pattern in _MISSING_COLUMN:
        match = pattern.search(text)
        if match:
            parts = re.findall(r"\w[\w ]*", match["parts"].replace("Identifier", ""))
            return str(parts[-1]) if parts else None
    return None


def _input_columns(context: Context, dataset: Dataset) -> dict[str, list[str]]:
    """Columns of each table, and of the first Parquet file of each path, that is read."""
    from pyarrow import parquet

    found = {}
    for source in graph.sources(context.datasets, dataset.name):
        if source.kind == "table" and context.version(source.name) is not None:
            found[source.name] = lakehouse.schema(context.location(source.name)).names
        elif source.kind == "path":
            first = next(iter(_parquet(context, source.name)), None)
            if first is not None and corruption(first) is None:
                found[source.name] = parquet.read_schema(first).names
    return found


def _parquet_inputs(context: Context, dataset: Dataset) -> Iterator[str]:
    for source in graph.sources(context.datasets, dataset.name):
        if source.kind == "path" and not source.streaming:
            yield from _parquet(context, source.name)


def _parquet(context: Context, path: str) -> Iterator[str]:
    for file, _ in context.listing(path) or ():
        if file.suffix == ".parquet":
            yield str(file)
