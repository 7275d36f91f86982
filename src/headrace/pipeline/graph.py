"""The dataflow graph: declared datasets with resolved names, what each reads, and their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError as _Cycle
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Literal

from headrace.catalog import TableName
from headrace.pipeline.errors import (
    CycleError,
    DefinitionError,
    DuplicateDefinitionError,
    UnknownTableError,
    UnknownTargetError,
)

if TYPE_CHECKING:
    from headrace.engine import Reference
    from headrace.pipeline.elements import Flow, Kind, Location, Output


@dataclass(frozen=True)
class Source:
    """One thing that a flow reads.

    Attributes:
        kind: ``table``, ``path``, or ``view`` for a temporary view of the pipeline.
        name: qualified table name, path, or the view's name.
        streaming: only what is new is read.
        reference: where it stands in the plan.
        declared: columns that the read declares, where it declares a schema.
    """

    kind: Literal["table", "path", "view"]
    name: str
    streaming: bool
    reference: Reference
    declared: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Dataset:
    """One dataset of a pipeline.

    Attributes:
        name: qualified name; a temporary view's name has one part.
        kind: materialized view, streaming table or temporary view.
        location: where it is declared.
        code: digest of the code of its flows.
        sources: what each flow reads, by the flow's name.
        deferred: its query asks for the columns of a table that is not there yet, or is not
            what it will be; what else it reads shows once that table is.
    """

    name: str
    kind: Kind
    location: Location
    code: str
    output: Output
    flows: tuple[Flow, ...]
    sources: Mapping[str, tuple[Source, ...]] = field(default_factory=dict)
    deferred: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tables, views and paths it reads, sorted, each once."""
        return tuple(sorted({source.name for group in self.sources.values() for source in group}))

    @property
    def is_stored(self) -> bool:
        """It has a table; a temporary view has none."""
        return self.kind != "temporary_view"


@dataclass(frozen=True)
class Names:
    """Resolves names as a pipeline's default catalog and schema say."""

    catalog: str
    schema: str
    views: frozenset[str] = frozenset()

    def table(self, text: str) -> str:
        """The qualified name of a table."""
        return str(TableName.parse(text, catalog=self.catalog, schema=self.schema))

    def view(self, text: str) -> str | None:
        """The name of a temporary view, if the text names one: views have no schema."""
        bare = view_name(text)
        return bare if bare in self.views else None


def assemble(
    outputs: Sequence[Output],
    flows: Sequence[Flow],
    names: Names,
    digest: Callable[[Sequence[Flow]], str],
) -> dict[str, Dataset]:
    """Datasets by name, in the order of their files and lines; what they read is still open.

    Raises:
        DuplicateDefinitionError: a name is declared twice.
        UnknownTargetError: a flow into a dataset that no one declares.
        DefinitionError: a dataset with no flow, or with a second one where one is allowed.
    """
    declared: dict[str, Output] = {}
    for output in outputs:
        name = output_name(output, names)
        if name in declared:
            raise DuplicateDefinitionError(
                "dataset", name, declared[name].location, output.location
            )
        declared[name] = output
    into: dict[str, list[Flow]] = {name: [] for name in declared}
    seen: dict[str, Flow] = {}
    for flow in flows:
        target = names.view(flow.target) or names.table(flow.target)
        if target not in into:
            raise UnknownTargetError(f"The flow {flow.name}", flow.target, str(flow.location), into)
        key = names.view(flow.name) or names.table(flow.name)
        if key in seen:
            raise DuplicateDefinitionError("flow", flow.name, seen[key].location, flow.location)
        seen[key] = flow
        into[target].append(flow)
    datasets = [
        Dataset(name, output.kind, output.location, digest(own), output, tuple(own))
        for name, output in declared.items()
        for own in [_checked(name, output, into[name])]
    ]
    return {dataset.name: dataset for dataset in sorted(datasets, key=_in_files)}


def output_name(output: Output, names: Names) -> str:
    """The name under which a dataset is known."""
    return view_name(output.name) if output.kind == "temporary_view" else names.table(output.name)


def view_name(text: str) -> str:
    """The name of a temporary view: views have no schema."""
    return text.replace("`", "").lower()


def check_tables(
    datasets: Mapping[str, Dataset], exists: Callable[[str], bool], known: Iterable[str]
) -> None:
    """Raise ``UnknownTableError`` for the first table that is read and that no one defines."""
    for dataset in datasets.values():
        for flow in dataset.flows:
            for source in dataset.sources.get(flow.name, ()):
                if source.kind != "table" or source.name in datasets:
                    continue
                if not exists(source.name):
                    raise UnknownTableError(
                        source.name, dataset.name, flow.location, {*datasets, *known}
                    )


def check_kinds(datasets: Mapping[str, Dataset], dataset: Dataset) -> None:
    """Raise ``DefinitionError`` where a dataset reads in a way that its kind does not."""
    for flow in dataset.flows:
        streams = [source for source in flow_sources(datasets, dataset, flow) if source.streaming]
        if dataset.kind == "materialized_view" and streams:
            raise DefinitionError(
                f"The materialized view {dataset.name} reads {streams[0].name} as a stream.",
                flow.location,
                "a materialized view is made from all rows each time",
                "read it with spark.read, or make it a streaming table (@dp.table)",
            )
        for source in streams:
            origin = datasets.get(source.name)
            if origin is not None and origin.kind == "materialized_view":
                raise DefinitionError(
                    f"{dataset.name} reads the materialized view {source.name} as a stream.",
                    flow.location,
                    "a materialized view is written anew each time: nothing is appended to it",
                    "read it with spark.read, or make it a streaming table",
                )
        if dataset.kind == "streaming_table" and not streams and not dataset.deferred:
            raise DefinitionError(
                f"The streaming table {dataset.name} reads nothing as a stream.",
                flow.location,
                f"the flow {flow.name} would append the same rows at every refresh",
                "read with spark.readStream or STREAM, or make it a materialized view",
            )


def order(datasets: Mapping[str, Dataset]) -> list[str]:
    """Names such that each comes after what it reads; by file and line where that is free.

    Raises:
        CycleError: datasets need each other.
    """
    sorter = TopologicalSorter(
        {
            name: [item for item in dataset.inputs if item in datasets]
            for name, dataset in datasets.items()
        }
    )
    try:
        sorter.prepare()
    except _Cycle as error:
        chain = error.args[1]
        raise CycleError([(name, datasets[name].location) for name in chain]) from None
    ordered: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=lambda name: _in_files(datasets[name]))
        ordered.extend(ready)
        sorter.done(*ready)
    return ordered


def upstream(datasets: Mapping[str, Dataset], name: str) -> list[Dataset]:
    """The temporary views that a dataset reads, directly or through others, inputs first."""
    found: dict[str, Dataset] = {}

    def visit(dataset: Dataset) -> None:
        for item in dataset.inputs:
            view = datasets.get(item)
            if view is not None and not view.is_stored and item not in found:
                visit(view)
                found[item] = view

    visit(datasets[name])
    return list(found.values())


def flow_sources(datasets: Mapping[str, Dataset], dataset: Dataset, flow: Flow) -> list[Source]:
    """What one flow reads, with what the temporary views among that read."""
    found: dict[tuple[str, str, bool], Source] = {}
    pending = list(dataset.sources.get(flow.name, ()))
    while pending:
        source = pending.pop(0)
        key = (source.kind, source.name, source.streaming)
        if key in found:
            continue
        found[key] = source
        if source.kind == "view":
            view = datasets[source.name]
            pending.extend(inner for group in view.sources.values() for inner in group)
    return list(found.values())


def sources(datasets: Mapping[str, Dataset], name: str) -> list[Source]:
    """The tables and paths behind a dataset, through temporary views, each once.

    Of several reads of one table, that of its newest version is given: it is the one that moves.
    """
    members = [datasets[name], *upstream(datasets, name)]
    every = [source for member in members for group in member.sources.values() for source in group]
    moving_last = sorted(every, key=lambda source: not source.reference.fixed)
    unique = {(each.kind, each.name): each for each in moving_last if each.kind != "view"}
    return [unique[key] for key in sorted(unique)]


def _checked(name: str, output: Output, flows: list[Flow]) -> list[Flow]:
    if output.kind != "streaming_table" and len(flows) > 1:
        raise DefinitionError(
            f"{name} has two flows, and only a streaming table can have more than one.",
            flows[1].location,
            f"the other is at {flows[0].location}",
            "declare it with dp.create_streaming_table",
        )
    if not flows:
        raise DefinitionError(
            f"The streaming table {name} has no flow.",
            output.location,
            "nothing would ever be in it",
            f'add a flow: @dp.append_flow(target="{output.name}")',
        )
    return flows


def _in_files(dataset: Dataset) -> tuple[str, int, str]:
    return dataset.location.file, dataset.location.line or 0, dataset.name
