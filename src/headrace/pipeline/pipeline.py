"""A loaded pipeline: its datasets, their order, what is stale, and refreshes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.pipeline import freshness, graph, reading, refresh
from headrace.pipeline.code import CodeDigests
from headrace.pipeline.context import Context, default_schema, session_conf
from headrace.pipeline.elements import Location
from headrace.pipeline.errors import (
    UnknownDatasetError,
    UnknownTargetError,
    UnsupportedDefinitionError,
)
from headrace.pipeline.graph import Dataset, Names
from headrace.pipeline.registry import load_definitions, project_imports
from headrace.pipeline.spec import Expectations, load_spec

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import Relation

    from headrace.freshness import Freshness
    from headrace.pipeline.refresh import Refresh
    from headrace.workspace import Workspace


@dataclass(frozen=True)
class Pipeline:
    """The dataflow graph of a project. Made by ``load_pipeline``.

    Attributes:
        datasets: tables by qualified name, temporary views by their own.
    """

    context: Context

    @property
    def name(self) -> str:
        """The name in the pipeline spec."""
        return self.context.name

    @property
    def datasets(self) -> Mapping[str, Dataset]:
        """Tables by qualified name, temporary views by their own, by file and line."""
        return self.context.datasets

    def order(self) -> list[str]:
        """The tables, each after the tables that it reads.

        Raises:
            CycleError: tables need each other.
        """
        return [name for name in graph.order(self.datasets) if self.datasets[name].is_stored]

    def stored_inputs(self, name: str) -> tuple[str, ...]:
        """The tables of the pipeline that a table reads, through temporary views."""
        name = self.resolve(name)
        return tuple(
            source.name
            for source in graph.sources(self.datasets, name)
            if source.kind == "table" and source.name in self.datasets
        )

    def freshness(self, name: str) -> Freshness:
        """Whether a table must be refreshed, and why. Reads no data.

        Raises:
            UnknownDatasetError: the pipeline defines no such table.
        """
        return freshness.judge(self.context, self.resolve(name))

    def refresh(self, name: str, full: bool = False) -> Refresh:
        """Bring one table up to date; its inputs are read as they are.

        Args:
            name: the table.
            full: make it from scratch, even if it is fresh.

        Raises:
            HeadraceError: nothing of it was committed; the table is as it was before.
        """
        return refresh.refresh(self.context, self.resolve(name), full=full)

    def resolve(self, name: str) -> str:
        """The name under which a dataset is known here.

        Raises:
            UnknownDatasetError: there is none.
        """
        if name in self.datasets:
            return name
        known = self.context.names.table(name)
        if known not in self.datasets:
            raise UnknownDatasetError(name, self.datasets)
        return known


def load_pipeline(
    workspace: Workspace,
    spec_path: Path,
    expectations: Mapping[str, Expectations] | None = None,
    configuration: Mapping[str, str] | None = None,
) -> Pipeline:
    """Load a Spark Declarative Pipelines project and read its graph. Runs no query.

    Args:
        workspace: the project.
        spec_path: ``spark-pipeline.yml``; definition files are found relative to it.
        expectations: by table name.
        configuration: overrides the configuration in the spec; definitions read it with
            ``spark.conf.get``.

    Raises:
        SpecError: the spec cannot be read.
        DefinitionError: a definitions file fails, or defines what cannot be run.
        UnsupportedDefinitionError: a definition that is refused by name.
        DuplicateDefinitionError: two datasets share a name.
        UnknownTableError: a query reads a table that no one defines.
        UnknownTargetError: a flow or an expectation for a table that no one defines.
        CycleError: datasets need each other.
    """
    spec = load_spec(spec_path)
    root = spec_path.parent.resolve()
    values = {**spec.configuration, **(configuration or {})}
    spark = workspace.spark()
    base = Names((spec.catalog or "main").lower(), (spec.database or "default").lower())
    with default_schema(spark, base), session_conf(spark, values):
        registry = load_definitions(spec_path, spec, values, spark)
    views = [o.name for o in registry.outputs if o.kind == "temporary_view"]
    names = replace(base, views=frozenset(graph.view_name(view) for view in views))
    digests = CodeDigests(root, registry.outputs, registry.flows)
    datasets = graph.assemble(registry.outputs, registry.flows, names, digests.dataset)
    context = Context(
        workspace,
        root,
        spec.name,
        names,
        datasets,
        _qualified(expectations or {}, names, datasets),
        values,
    )
    plans: dict[str, Relation] = {}
    with project_imports(root), context.user_code():
        for name, dataset in list(datasets.items()):
            datasets[name] = reading.with_sources(context, dataset, plans)
    _check(context)
    reading.check_streams(context, plans)
    return Pipeline(context)


def _check(context: Context) -> None:
    catalog = context.workspace.catalog
    graph.check_tables(
        context.datasets,
        lambda name: catalog.find(name) is not None,
        (str(entry.name) for entry in catalog.list()),
    )
    graph.order(context.datasets)
    for dataset in context.datasets.values():
        graph.check_kinds(context.datasets, dataset)


def _qualified(
    expectations: Mapping[str, Expectations], names: Names, datasets: Mapping[str, Dataset]
) -> dict[str, Expectations]:
    found = {}
    for written, wanted in expectations.items():
        if names.view(written):
            raise UnsupportedDefinitionError(
                f"Expectations on the temporary view {written}",
                Location("headrace.yaml"),
                "put them on the table that reads the view",
            )
        name = names.table(written)
        if name not in datasets:
            raise UnknownTargetError("An expectation", written, "headrace.yaml", datasets)
        if wanted.conditions():
            found[name] = wanted
    return found
