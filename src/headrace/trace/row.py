"""Tracing one row of a table: of predictions, or any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace import clock, lakehouse
from headrace.errors import HeadraceError
from headrace.scoring import RECORD_COLUMNS
from headrace.trace import keys, raw
from headrace.trace.errors import NoLineageError, TraceError, key_text
from headrace.trace.graph import Builder, Node, Trace
from headrace.trace.model import ModelFacts, Models
from headrace.trace.upstream import Upstream

if TYPE_CHECKING:
    from headrace.catalog import Entry
    from headrace.workspace import Workspace


class NotATableError(TraceError):
    """The name is a view, which has no rows of its own."""

    code = "not_a_table"

    def __init__(self, table: str, definition: str) -> None:
        self.table, self.definition = table, definition
        super().__init__(
            f"{table} is a view; a trace begins at a row of a table.",
            where=table,
            why=f"it is: {definition}",
            next="headrace trace TABLE KEY with the table below the view",
        )


def trace_row(workspace: Workspace, table: str, key: str | Mapping[str, object]) -> Trace:
    """Everything that one row came from.

    A row of a table of predictions leads to its model and to what it was scored on, at the
    input version that the row names; any other row leads to the table's sources.

    Args:
        workspace: the project.
        table: the name of a table.
        key: what identifies the row, as a mapping or as ``a=1,b=2``; see ``keys.parse_key``.

    Raises:
        TableNotFoundError: no such table.
        InvalidKeyError, RowNotFoundError, AmbiguousRowError: the key does not lead to one row.
        NoLineageError: nothing is recorded of the table.
    """
    entry = workspace.catalog.resolve(table)
    name = str(entry.name)
    if entry.location is None:
        raise NotATableError(name, entry.definition or "")
    version = lakehouse.latest_version(entry.location)
    schema = lakehouse.schema(entry.location)
    parsed = keys.parse_key(name, key, schema)
    version = -1 if version is None else version
    row = keys.find_row(name, entry.location, version, parsed)
    if set(RECORD_COLUMNS) <= set(row):
        return _prediction(workspace, entry, version, parsed, row)
    return _plain(workspace, name, version, parsed, row)


def _prediction(
    workspace: Workspace, entry: Entry, version: int, key: dict[str, Any], row: dict[str, Any]
) -> Trace:
    graph, table = Builder(), str(entry.name)
    root = f"prediction:{table}?{key_text(json_row(key))}"
    values = json_row({n: v for n, v in row.items() if n not in RECORD_COLUMNS and n not in key})
    graph.add(
        Node(
            id=root,
            kind="prediction",
            branch="subject",
            title=f"{table} {key_text(json_row(key))}",
            facts={
                "table": table,
                "version": version,
                "key": json_row(key),
                "values": values,
                "scoring_run": row["scoring_run"],
                "scored_at": json_value(row["scored_at"]),
                "row_digest": row["row_digest"],
            },
        )
    )
    models = Models(workspace, graph)
    facts = models.add(root, "scored by", row["model_name"], row["model_version"], row["run_id"])
    source, at = str(row["input_table"]), int(row["input_version"])
    entity, why_not = _entity_of_input(workspace, source, at, key, row, facts)
    upstream = Upstream(workspace, graph, "scoring", entity=entity, why_not=why_not)
    graph.link(root, upstream.table(source, at), "scored on")
    return graph.build(root)


def _plain(
    workspace: Workspace, table: str, version: int, key: dict[str, Any], row: dict[str, Any]
) -> Trace:
    if not workspace.lineage.producers(table, version):
        raise NoLineageError(table, version)
    graph = Builder()
    root = f"row:{table}?{key_text(json_row(key))}"
    graph.add(
        Node(
            id=root,
            kind="row",
            branch="subject",
            title=f"{table} {key_text(json_row(key))}",
            facts={
                "table": table,
                "version": version,
                "key": json_row(key),
                "values": json_row({name: v for name, v in row.items() if name not in key}),
            },
        )
    )
    models = Models(workspace, graph)
    entity = entity_of(key, list(key), None, None)
    upstream = Upstream(
        workspace,
        graph,
        "scoring",
        entity=entity,
        why_not="the key names no entity",
        on_model=lambda node, uri: models.add_address(node, "scored by", uri),
    )
    graph.link(root, upstream.table(table, version), "held by")
    return graph.build(root)


def _entity_of_input(
    workspace: Workspace,
    table: str,
    version: int,
    key: dict[str, Any],
    row: dict[str, Any],
    facts: ModelFacts,
) -> tuple[raw.Entity | None, str]:
    """Whose raw rows the scored row is made of, from the model's own key, time and group."""
    values = {name: value for name, value in row.items() if name not in RECORD_COLUMNS} | key
    wanted = [name for name in (*facts.key, facts.group, facts.time) if name and name not in values]
    if wanted:
        try:
            location = workspace.catalog.resolve(table).location
            rows = keys.read_rows(str(location), version, key)
        except HeadraceError as error:
            return None, f"the row of {table}@{version} cannot be read: {error.what}"
        if rows.num_rows == 1:
            values |= rows.select([n for n in wanted if n in rows.column_names]).to_pylist()[0]
    columns = [facts.group] if facts.group else list(facts.key or key)
    entity = entity_of(values, columns, facts.time, facts.lookback)
    return entity, "" if entity else "the model's key names no entity of this row"


def entity_of(
    values: Mapping[str, Any],
    columns: Sequence[str],
    time: str | None,
    lookback: timedelta | None,
) -> raw.Entity | None:
    """Split a key into who and when; ``None`` if it does not say who.

    Args:
        values: of the row.
        columns: that identify it.
        time: the column that says when; the only timestamp among ``columns`` if not given.
        lookback: how far back the row looks.
    """
    times = [name for name in columns if isinstance(values.get(name), datetime)]
    if time is None and len(times) == 1:
        time = times[0]
    who = {
        name: values[name]
        for name in columns
        if name not in (time, *times) and values.get(name) is not None
    }
    if not who:
        return None
    moment = values.get(time) if time else None
    if isinstance(moment, datetime):
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return raw.Entity(who, time, moment, lookback)
    return raw.Entity(who)


def json_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON values."""
    return {name: json_value(value) for name, value in row.items()}


def json_value(value: Any) -> Any:
    """A value of a table as JSON: times in ISO 8601, whatever else JSON lacks as text."""
    if isinstance(value, datetime):
        return clock.iso(value.replace(tzinfo=UTC) if value.tzinfo is None else value)
    if isinstance(value, date):
        return value.isoformat()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        # JSON has no NaN and no infinity.
        return value if value - value == 0 else str(value)
    if isinstance(value, Mapping):
        return json_row(value)
    if isinstance(value, list | tuple):
        return [json_value(each) for each in value]
    return str(value)
