"""What the queries of a pipeline read, told from their plans; no data is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.catalog import TableNotFoundError
from headrace.engine import Reference
from headrace.engine.errors import TableFilesGoneError
from headrace.engine.references import plan_of
from headrace.errors import HeadraceError
from headrace.pipeline import graph
from headrace.pipeline.errors import (
    DefinitionError,
    UnknownTableError,
    UnsupportedDefinitionError,
)
from headrace.pipeline.graph import Source
from headrace.pipeline.registry import describe, user_location
from headrace.pipeline.stateful import stateful

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.connect.proto import Relation

    from headrace.catalog import Access
    from headrace.pipeline.context import Context
    from headrace.pipeline.elements import Flow
    from headrace.pipeline.graph import Dataset


def with_sources(
    context: Context, dataset: Dataset, plans: dict[str, Relation], *, settled: bool = False
) -> Dataset:
    """The dataset with what its flows read. Runs inside ``Context.user_code``.

    A query that fails after a look at tables of the pipeline may have looked too early, as after
    a column was renamed in both: it waits for them.

    Args:
        plans: gets the plan of each flow, by the flow's name.
        settled: the tables of the pipeline are what their queries make of them now.

    Raises:
        DefinitionError: a query function raises, or returns no DataFrame.
    """
    engine = context.workspace.engine
    found: dict[str, tuple[Source, ...]] = {}
    deferred = False
    for flow in dataset.flows:
        looked_at: list[Access] = []
        try:
            frame = call(context, dataset, flow, looked_at)
            references = engine.references(frame)
        except DefinitionError:
            early = _of_pipeline(context, looked_at)
            if settled or not early:
                raise
            found[flow.name] = early
            deferred = True
            continue
        except (TableNotFoundError, TableFilesGoneError) as error:
            waiting = _waits_for(context, error.name)
            if waiting is None and isinstance(error, TableFilesGoneError):
                raise
            if waiting is None:
                known = (str(entry.name) for entry in context.workspace.catalog.list())
                where = user_location(error, context.root) or flow.location
                raise UnknownTableError(
                    error.name, dataset.name, where, {*context.datasets, *known}
                ) from error
            found[flow.name] = (waiting,)
            deferred = True
            continue
        plans[flow.name] = plan_of(frame)
        found[flow.name] = tuple(_source(context, each) for each in references)
    return replace(dataset, sources=found, deferred=deferred)


def settled(context: Context, dataset: Dataset) -> Dataset:
    """A deferred dataset with all that it reads, now that the tables it waits for are there.

    Raises:
        DefinitionError: its query fails still, or reads in a way that its kind does not.
        UnsupportedDefinitionError: it streams, and needs rows of earlier batches.
    """
    plans: dict[str, Relation] = {}
    found = with_sources(context, dataset, plans, settled=True)
    context.datasets[dataset.name] = found
    graph.check_kinds(context.datasets, found)
    check_streams(context, plans)
    return found


def check_streams(context: Context, plans: Mapping[str, Relation]) -> None:
    """Refuse flows that need rows of earlier batches.

    Raises:
        UnsupportedDefinitionError: names what needs them.
    """
    views = {
        name: any(
            source.streaming
            for flow in dataset.flows
            for source in graph.flow_sources(context.datasets, dataset, flow)
        )
        for name, dataset in context.datasets.items()
        if not dataset.is_stored
    }
    for dataset in context.datasets.values():
        for flow in dataset.flows:
            found = stateful(plans[flow.name], views) if flow.name in plans else None
            if found is not None:
                raise UnsupportedDefinitionError(
                    f"{found} in the streaming query of {dataset.name}",
                    flow.location,
                    "make it a materialized view over a streaming table",
                )


def call(
    context: Context, dataset: Dataset, flow: Flow, looked_at: list[Access] | None = None
) -> DataFrame:
    """The DataFrame that a query function returns; the function can run queries, and write none.

    Args:
        looked_at: gets the tables that the function asked about on its way.

    Raises:
        DefinitionError: it raises, or returns something else.
    """
    try:
        with context.workspace.engine.analysis() as seen:
            try:
                frame = flow.query()
            finally:
                if looked_at is not None:
                    looked_at += seen
    except HeadraceError:
        raise
    except Exception as error:
        where = user_location(error, context.root) or flow.location
        raise DefinitionError(
            f"The query of {dataset.name} failed.", where, describe(error)
        ) from error
    if not hasattr(frame, "_plan"):
        raise DefinitionError(
            f"The query of {dataset.name} returns no DataFrame.",
            flow.location,
            f"it returns {type(frame).__name__}",
            "return the DataFrame; the pipeline writes its rows",
        )
    return frame


def _source(context: Context, reference: Reference) -> Source:
    """What a reference stands for: a temporary view, a table, or a path."""
    if reference.kind == "path":
        columns = column_names(reference.schema) if reference.schema else None
        return Source("path", reference.name, reference.streaming, reference, columns)
    view = context.names.view(reference.name)
    if view is not None:
        return Source("view", view, reference.streaming, reference)
    name = context.names.table(reference.name)
    return Source("table", name, reference.streaming, reference)


def column_names(schema: str) -> tuple[str, ...]:
    """Names of the columns of a schema, given as DDL or as Spark's JSON."""
    if schema.lstrip().startswith("{"):
        return tuple(field["name"] for field in json.loads(schema)["fields"])
    import sqlglot

    text = schema.strip()
    inside = text[len("struct<") : -1] if text.lower().startswith("struct<") else text
    tree = sqlglot.parse_one(f"CREATE TABLE t ({inside})", dialect="databricks")
    return tuple(column.name for column in tree.this.expressions)


def _of_pipeline(context: Context, looked_at: Sequence[Access]) -> tuple[Source, ...]:
    names = dict.fromkeys(each.name for each in looked_at if each.name in context.datasets)
    return tuple(Source("table", name, False, Reference("table", name)) for name in names)


def _waits_for(context: Context, missing: str) -> Source | None:
    """The dataset of the pipeline that a query looks at before it is made."""
    bare = missing.rpartition(".")[2]
    if context.names.table(missing) == context.names.table(bare) and context.names.view(bare):
        return Source("view", bare, False, Reference("table", bare))
    name = context.names.table(missing)
    if name not in context.datasets:
        return None
    return Source("table", name, False, Reference("table", name))
