"""What is new for a streaming table: raw files not read yet, and rows appended to its sources.

A batch is a set of files and of version ranges. Batches of one epoch are numbered from 0, and
number N is committed with the Delta transaction ``(app id of the epoch, N)``: the table itself
says which batches it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace import lakehouse
from headrace.pipeline import filecheck, graph, store
from headrace.pipeline.errors import (
    ChangedFileError,
    DefinitionError,
    SourceChangedError,
    StreamStateError,
    UnsupportedDefinitionError,
)

if TYPE_CHECKING:
    import os

    from headrace.lakehouse import DataFile
    from headrace.pipeline.context import Context
    from headrace.pipeline.elements import Flow
    from headrace.pipeline.graph import Dataset, Source
    from headrace.pipeline.store import RefreshRecord, StreamFile

Schema = Mapping[str, str]


@dataclass(frozen=True)
class StreamSource:
    """One source that one flow reads as a stream."""

    flow: Flow
    source: Source

    @property
    def key(self) -> str:
        """Identifies the source among those of a dataset, across refreshes."""
        return f"{self.flow.name}|{self.source.name}"

    def option(self, name: str) -> str | None:
        """A read option, whatever the case of its letters."""
        return self.source.reference.options.get(name.lower())

    def flag(self, name: str) -> bool:
        """A read option that is ``true`` or not."""
        return (self.option(name) or "").lower() == "true"


@dataclass(frozen=True)
class State:
    """How far a streaming table has read.

    Attributes:
        epoch: grows when the table starts from scratch.
        batch: number of the last batch; -1 before the first.
        read: files read in this epoch, by key of the source and path.
        positions: version up to which each source table has been read, by key.
        schemas: columns of the first files of each source, by key.
        inputs: what else the last refresh remembers of its inputs.
    """

    epoch: int = 0
    batch: int = -1
    read: Mapping[tuple[str, str], StreamFile] = field(default_factory=dict)
    positions: Mapping[str, int] = field(default_factory=dict)
    schemas: Mapping[str, Schema] = field(default_factory=dict)
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Slice:
    """Versions of a source table that a batch reads.

    Attributes:
        after: last version of the batch before; -1 for the whole table.
        until: last version of this batch.
        files: what was appended in between.
    """

    name: str
    location: Path
    after: int
    until: int
    files: tuple[DataFile, ...]


@dataclass(frozen=True)
class Batch:
    """What one batch reads, by key of the source.

    Attributes:
        files: raw files.
        slices: versions of tables.
        more: something is left for another batch.
        corrupt: raw files that count as read although they cannot be.
    """

    files: Mapping[str, tuple[Path, ...]]
    slices: Mapping[str, Slice]
    more: bool = False
    corrupt: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Nothing is new."""
        return not (
            any(self.files.values())
            or any(self.corrupt.values())
            or any(part.files for part in self.slices.values())
        )


def sources(context: Context, dataset: Dataset) -> list[StreamSource]:
    """What the flows of a dataset read as streams, also through temporary views."""
    return [
        StreamSource(flow, source)
        for flow in dataset.flows
        for source in graph.flow_sources(context.datasets, dataset, flow)
        if source.streaming and source.kind != "view"
    ]


def state(context: Context, last: RefreshRecord | None) -> State:
    """How far the last recorded refresh got."""
    if last is None:
        return State()
    return State(
        last.epoch,
        -1 if last.batch is None else last.batch,
        store.files_read(context.workspace.store, last.dataset, last.epoch),
        last.inputs.get("positions", {}),
        last.inputs.get("schemas", {}),
        last.inputs,
    )


def app_id(context: Context, dataset: Dataset, epoch: int) -> str:
    """Who commits the batches of an epoch, for the table's transactions."""
    return f"headrace/{context.name}/{dataset.name}/{epoch}"


def check_table(context: Context, dataset: Dataset, now: State) -> None:
    """Make sure that the table holds the batches that are recorded, and no other.

    Raises:
        StreamStateError: it was replaced, restored, or filled by someone else.
    """
    location = context.location(dataset.name)
    held = lakehouse.transaction_version(location, app_id(context, dataset, now.epoch))
    if now.batch < 0:
        if lakehouse.exists(location):
            raise StreamStateError(
                dataset.name, f"there is a table in {location} that this pipeline did not make"
            )
    elif held is None or held < now.batch:
        raise StreamStateError(
            dataset.name,
            f"{now.batch + 1} batches are recorded, the table holds {0 if held is None else held + 1}: "
            "it was replaced or set back",
        )
    elif held > now.batch:
        raise StreamStateError(
            dataset.name,
            f"the table holds batch {held}, the records end at batch {now.batch}: "
            "the database was replaced or set back",
        )


def plan(context: Context, dataset: Dataset, now: State, *, limited: bool = True) -> Batch:
    """The next batch.

    Args:
        limited: honour ``maxFilesPerTrigger``.

    Raises:
        ChangedFileError: a file that was read has other contents now.
        SourceChangedError: rows of a source were changed or deleted.
    """
    files: dict[str, tuple[Path, ...]] = {}
    slices: dict[str, Slice] = {}
    more = False
    for source in sources(context, dataset):
        limit = _limit(source) if limited else None
        if source.source.kind == "path":
            found = _new_files(context, dataset, source, now)
            chosen = found if limit is None else found[:limit]
            files[source.key] = tuple(chosen)
            more = more or len(chosen) < len(found)
        else:
            part = _slice(context, dataset, source, now, limit)
            if part is not None:
                slices[source.key] = part
                more = more or part.until < (context.version(part.name) or 0)
    return Batch(files, slices, more)


def news(context: Context, dataset: Dataset, last: RefreshRecord) -> str | None:
    """What is new since the last refresh, in words; ``None`` if nothing is."""
    now = state(context, last)
    for source in sources(context, dataset):
        name = source.source.name
        if source.source.kind == "path":
            try:
                count = len(_new_files(context, dataset, source, now))
            except ChangedFileError as error:
                return f"a file that was read has changed: {context.shown(error.path)}"
            if count:
                return f"{count} new file{'s' if count > 1 else ''} in {context.shown(name)}"
        else:
            then, version = now.positions.get(source.key), context.version(name)
            if version is None:
                continue
            if then is None:
                return f"input {name} is new"
            try:
                part = _slice(context, dataset, source, now, None)
            except SourceChangedError:
                return f"rows of its source {name} were changed or deleted"
            except StreamStateError:
                return f"its source {name} is not the table that it has read"
            if part is not None and part.files:
                return f"input {name} moved from version {then} to {version}"
    return None


def check_files(
    context: Context, dataset: Dataset, batch: Batch, now: State
) -> tuple[Batch, dict[str, Schema]]:
    """Read the footers of a batch's Parquet files before any query runs.

    Returns:
        The batch without corrupt files where ``ignoreCorruptFiles`` leaves them out, and the
        columns of each source to compare later files with.

    Raises:
        CorruptFileError: a file cannot be read.
        FileSchemaError: the columns of a file are not those of the files before it.
    """
    files = dict(batch.files)
    corrupt: dict[str, tuple[Path, ...]] = {}
    schemas = dict(now.schemas)
    for source in sources(context, dataset):
        if source.source.kind == "path" and source.source.reference.format in (None, "parquet"):
            checked = filecheck.check(
                dataset.name,
                batch.files[source.key],
                schemas.get(source.key),
                declared=source.source.declared,
                merge=source.flag("mergeSchema"),
                skip_corrupt=source.flag("ignoreCorruptFiles"),
            )
            files[source.key], corrupt[source.key] = checked.paths, checked.corrupt
            if checked.schema is not None:
                schemas[source.key] = checked.schema
    return Batch(files, batch.slices, batch.more, corrupt), schemas


def positions(now: State, batch: Batch) -> dict[str, int]:
    """How far the source tables have been read once a batch is committed."""
    return {**now.positions, **{key: part.until for key, part in batch.slices.items()}}


def _new_files(context: Context, dataset: Dataset, source: StreamSource, now: State) -> list[Path]:
    """Files not read yet, the oldest first."""
    listing = context.listing(source.source.name)
    if listing is None:
        raise UnsupportedDefinitionError(
            f"A stream over {source.source.name}",
            source.flow.location,
            "only files on this machine can be listed: copy or mount them",
        )
    found = []
    for path, status in listing:
        known = now.read.get((source.key, str(path)))
        if known is None:
            found.append((status.st_mtime_ns, path))
        elif _differs(context, path, status, known):
            raise ChangedFileError(dataset.name, str(path), known.batch)
    return [path for _, path in sorted(found)]


def _differs(context: Context, path: Path, status: os.stat_result, known: StreamFile) -> bool:
    if (known.size, known.modified_ns) == (status.st_size, status.st_mtime_ns):
        return False
    # A copy or a touch changes the time alone.
    return context.workspace.lineage.fingerprint(path).sha256 != known.sha256


def _slice(
    context: Context, dataset: Dataset, source: StreamSource, now: State, limit: int | None
) -> Slice | None:
    """What was appended to a source table since the batch before; ``None``: no such table yet."""
    name = source.source.name
    location = context.location(name)
    version = context.version(name)
    if version is None:
        return None
    after = now.positions.get(source.key, _start(source) - 1)
    if source.key in now.positions and context.made_anew(name, now.inputs):
        raise StreamStateError(
            dataset.name, f"its source {name} was deleted and made again after version {after}"
        )
    if after > version:
        raise StreamStateError(
            dataset.name, f"it has read {name} up to version {after}, which is at {version} now"
        )
    if after < 0:
        found = lakehouse.files(location, version)
        if any(file.has_deletion_vector for file in found):
            # The rows would come back: they are still in the files.
            raise SourceChangedError(dataset.name, name, 0, version)
        return Slice(name, location, -1, version, tuple(found))
    files: list[DataFile] = []
    until = after
    while until < version and (limit is None or len(files) < limit):
        until += 1
        added = lakehouse.added_files(location, until - 1, until)
        if added is not None:
            files.extend(added)
        elif not source.flag("skipChangeCommits"):
            raise SourceChangedError(dataset.name, name, until - 1, until)
    return Slice(name, location, after, until, tuple(files))


def _start(source: StreamSource) -> int:
    """First version to read; 0 means the whole table as it is now."""
    text = source.option("startingVersion")
    if text is None:
        return 0
    if not text.isdigit():
        raise DefinitionError(
            f'startingVersion "{text}" of {source.source.name} is no version.',
            source.flow.location,
            "it must be the number of a Delta version",
        )
    return int(text)


def _limit(source: StreamSource) -> int | None:
    text = source.option("maxFilesPerTrigger")
    if text is None:
        return None
    if not text.isdigit() or int(text) < 1:
        raise DefinitionError(
            f'maxFilesPerTrigger "{text}" of {source.source.name} is no number of files.',
            source.flow.location,
            "it must be 1 or more",
        )
    return int(text)
