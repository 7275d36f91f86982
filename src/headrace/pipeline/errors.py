"""What can be wrong with a pipeline, in the words a person sees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import HeadraceError, did_you_mean

if TYPE_CHECKING:
    from headrace.pipeline.elements import Location


class SpecError(HeadraceError):
    """``spark-pipeline.yml`` cannot be read."""

    code = "pipeline_spec"

    def __init__(self, path: Path, why: str, line: int | None = None) -> None:
        self.path, self.line = path, line
        super().__init__(
            f"The pipeline spec {path.name} cannot be read.",
            where=f"{path}:{line}" if line else str(path),
            why=why,
            next="correct the file, then type: headrace plan",
        )


class DefinitionError(HeadraceError):
    """A definitions file, or the query function of a dataset, failed."""

    code = "pipeline_definition"

    def __init__(self, what: str, location: Location, why: str, next: str | None = None) -> None:
        self.location = location
        super().__init__(
            what,
            where=str(location),
            why=why,
            next=next or "correct the file, then type: headrace plan",
        )


class UnsupportedDefinitionError(HeadraceError):
    """A part of Spark Declarative Pipelines that is not there, refused by name."""

    code = "pipeline_unsupported"

    def __init__(self, feature: str, location: Location, instead: str) -> None:
        self.feature, self.location = feature, location
        super().__init__(
            f"{feature}: not supported.",
            where=str(location),
            why="Headrace refuses what it would run only in part",
            next=instead,
        )


class DuplicateDefinitionError(HeadraceError):
    """Two datasets, or two flows, share a name."""

    code = "pipeline_duplicate"

    def __init__(self, what: str, name: str, first: Location, second: Location) -> None:
        self.name, self.first, self.second = name, first, second
        super().__init__(
            f"The {what} {name} is defined twice.",
            where=f"{first} and {second}",
            next="rename or delete one of them, then type: headrace plan",
        )


class UnknownTableError(HeadraceError):
    """A query reads a table that no one defines."""

    code = "unknown_table"

    def __init__(self, table: str, dataset: str, location: Location, known: Iterable[str]) -> None:
        self.table, self.dataset, self.location = table, dataset, location
        hint = did_you_mean(table, known)
        super().__init__(
            f"{dataset} reads {table}, which no one defines.",
            where=str(location),
            why="neither a file of the pipeline nor the catalog has that name"
            + (f"; {hint}" if hint else ""),
            next="correct the name, or define the table; headrace status lists the tables",
        )


class UnknownTargetError(HeadraceError):
    """A flow, or an expectation, names a table that the pipeline does not define."""

    code = "unknown_target"

    def __init__(self, what: str, target: str, where: str, known: Iterable[str]) -> None:
        self.target = target
        known = list(known)
        super().__init__(
            f"{what} is for {target}, which the pipeline does not define.",
            where=where,
            why=did_you_mean(target, known) or f"it defines: {', '.join(known) or 'nothing'}",
            next="correct the name, or define the table",
        )


class CycleError(HeadraceError):
    """Datasets that need each other."""

    code = "pipeline_cycle"

    def __init__(self, chain: Sequence[tuple[str, Location]]) -> None:
        self.chain = tuple(chain)
        super().__init__(
            "The pipeline has a cycle: " + " -> ".join(name for name, _ in chain) + ".",
            where=", ".join(f"{name} at {location}" for name, location in chain[:-1]),
            why="each of them reads the one before it, so none can be made first",
            next="break the cycle in one of the files, then type: headrace plan",
        )


class RefreshError(HeadraceError):
    """The query of a dataset failed while it ran."""

    code = "refresh_failed"

    def __init__(self, dataset: str, location: Location, why: str, next: str | None = None) -> None:
        self.dataset, self.location = dataset, location
        super().__init__(
            f"{dataset} could not be refreshed.",
            where=str(location),
            why=why,
            next=next or f"correct the query or its inputs, then type: headrace run {dataset}",
        )


class ColumnNotFoundError(RefreshError):
    """A query names a column that none of its inputs has."""

    code = "column_not_found"

    def __init__(
        self, dataset: str, location: Location, column: str, inputs: dict[str, list[str]]
    ) -> None:
        self.column, self.inputs = column, inputs
        names = [name for columns in inputs.values() for name in columns]
        hint = did_you_mean(column, names)
        listed = "; ".join(f"{name} has {', '.join(columns)}" for name, columns in inputs.items())
        why = f'no input has a column "{column}"' + (f"; {hint}" if hint else "")
        super().__init__(dataset, location, f"{why} ({listed})" if listed else why)


class CorruptFileError(HeadraceError):
    """A raw file that cannot be read, among others that can."""

    code = "corrupt_file"

    def __init__(self, dataset: str, path: str, why: str, *, streaming: bool) -> None:
        self.dataset, self.path = dataset, path
        skip = ', or read with .option("ignoreCorruptFiles", "true")' if streaming else ""
        super().__init__(
            f"{dataset} was not refreshed: a raw file is corrupt.",
            where=path,
            why=why,
            next=f"move the file away or replace it{skip}, then type: headrace run {dataset}",
        )


class FileSchemaError(HeadraceError):
    """A raw file whose columns are not those of the files before it."""

    code = "file_schema"

    def __init__(self, dataset: str, path: str, column: str, why: str) -> None:
        self.dataset, self.path, self.column = dataset, path, column
        super().__init__(
            f'{dataset} was not refreshed: column "{column}" of a raw file {why}.',
            where=path,
            why="the columns of the files must stay as they were when the first ones were read",
            next='read with .option("mergeSchema", "true"), change the schema in the flow, '
            f"or move the file away; then type: headrace run {dataset}",
        )


class ChangedFileError(HeadraceError):
    """A raw file that was read changed afterwards."""

    code = "raw_file_changed"

    def __init__(self, dataset: str, path: str, batch: int) -> None:
        self.dataset, self.path, self.batch = dataset, path, batch
        super().__init__(
            f"{dataset} was not refreshed: a raw file changed after it was read.",
            where=path,
            why=f"batch {batch} holds its earlier contents, and a streaming table reads a file once",
            next=f"put the file back and add new rows as a new file, or read everything again: "
            f"headrace run {dataset} --full",
        )


class SourceChangedError(HeadraceError):
    """The source of a stream had rows changed or deleted, not only appended."""

    code = "source_changed"

    def __init__(self, dataset: str, source: str, after: int, until: int) -> None:
        self.dataset, self.source, self.after, self.until = dataset, source, after, until
        super().__init__(
            f"{dataset} was not refreshed: its source {source} had rows changed or deleted.",
            where=f"{source}, between version {after} and {until}",
            why="a streaming table reads appended rows only",
            next=f"headrace run {dataset} --full, or make it a materialized view, or read with "
            '.option("skipChangeCommits", "true")',
        )


class StreamStateError(HeadraceError):
    """The table does not hold what the records of its batches say."""

    code = "stream_state"

    def __init__(self, dataset: str, why: str) -> None:
        self.dataset = dataset
        super().__init__(
            f"{dataset} cannot go on from its last batch.",
            where=dataset,
            why=why,
            next=f"headrace run {dataset} --full reads everything again",
        )


class TableSchemaError(HeadraceError):
    """New rows do not fit the columns of a streaming table."""

    code = "table_schema"

    def __init__(self, dataset: str, location: Location, why: str) -> None:
        self.dataset, self.location = dataset, location
        super().__init__(
            f"New rows do not fit the columns of {dataset}.",
            where=str(location),
            why=why,
            next=f"change the query, or make the table again: headrace run {dataset} --full",
        )


class ExpectationError(HeadraceError):
    """The condition of an expectation cannot be evaluated."""

    code = "expectation_invalid"

    def __init__(self, dataset: str, expectation: str, condition: str, why: str) -> None:
        self.dataset, self.expectation, self.condition = dataset, expectation, condition
        super().__init__(
            f'The expectation "{expectation}" of {dataset} cannot be evaluated.',
            where=f"headrace.yaml, expectations of {dataset}: {condition}",
            why=why,
            next=f"correct the condition, then type: headrace run {dataset}",
        )


class ExpectationFailedError(HeadraceError):
    """Rows fail an expectation under ``fail``; nothing was written."""

    code = "expectation_failed"

    def __init__(
        self, dataset: str, expectation: str, condition: str, failed: int, rows: int
    ) -> None:
        self.dataset, self.expectation, self.condition = dataset, expectation, condition
        self.failed, self.rows = failed, rows
        super().__init__(
            f'{dataset} was not refreshed: {failed:,} of {rows:,} rows fail "{expectation}".',
            where=f"headrace.yaml, expectations of {dataset}",
            why=f"these rows do not meet: {condition}",
            next="correct the data or the query; or move the expectation under drop or expect",
        )


class DiskFullError(HeadraceError):
    """No space is left where the table's files go."""

    code = "disk_full"

    def __init__(self, dataset: str, location: str, why: str) -> None:
        self.dataset, self.location = dataset, location
        super().__init__(
            f"{dataset} was not refreshed: the disk is full.",
            where=location,
            why=f"{why}; the table is as it was before",
            next=f"free some space, then type: headrace run {dataset}",
        )


class ConcurrentRefreshError(HeadraceError):
    """Another process refreshed the table at the same time."""

    code = "concurrent_refresh"
    status = 409

    def __init__(self, dataset: str) -> None:
        self.dataset = dataset
        super().__init__(
            f"Another process refreshes {dataset} at the same time.",
            where=dataset,
            why="a table is refreshed by one process at a time; nothing was written twice",
            next=f"wait for it to end, then type: headrace run {dataset}",
        )


class UnknownDatasetError(HeadraceError):
    """A name that the pipeline does not define."""

    code = "unknown_dataset"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        known = list(known)
        super().__init__(
            f'The pipeline has no table "{name}".',
            why=did_you_mean(name, known) or f"it has: {', '.join(known) or 'nothing'}",
            next="headrace plan",
        )
