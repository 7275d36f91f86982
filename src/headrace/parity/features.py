"""What an endpoint was sent against what the feature table says, for the same entity and time."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import column, func, select
from sqlalchemy import table as sql_table

from headrace import clock, lakehouse
from headrace.endpoints.records import model_directory, read_endpoint
from headrace.parity.columns import FeatureColumn, compare_column
from headrace.parity.errors import NoFeatureKeyError, NoRequestsError
from headrace.parity.lookup import Lookup, Wanted
from headrace.payloads.signature import Signature
from headrace.registry import resolve
from headrace.requestlog import request_table

if TYPE_CHECKING:
    from headrace.registry import ModelVersion
    from headrace.workspace import Workspace

_scorings = sql_table(
    "headrace_scorings", column("model_name"), column("input_table"), column("started_at")
)

SAMPLE: Final = 500
#: Each version of the table that was the newest for some request is a query.
_MOST_VERSIONS: Final = 20


@dataclass(frozen=True)
class FeatureParity:
    """The comparison of logged requests with a feature table.

    Attributes:
        endpoint: its name.
        model: ``name/version`` of the newest version that answered.
        tables: the feature tables, with the number of requests that have one row there.
        requests: rows that were drawn from the request log.
        matched: of these, how many have one row in a table.
        later: of those matched, how many got their row there after the request.
        without_key: how many requests do not say which row they are about.
        without_row: how many name a row that no table holds.
        ambiguous: how many name several rows.
        left_out: how many were not looked up, being at too many different versions of a table, or
            at one whose files are gone.
        columns: one for each feature.
    """

    endpoint: str
    model: str
    tables: Mapping[str, int]
    requests: int
    matched: int
    later: int
    without_key: int
    without_row: int
    ambiguous: int
    left_out: int
    columns: tuple[FeatureColumn, ...]

    @property
    def agreed(self) -> bool | None:
        """Whether no value that was sent is another one in the table; ``None``: none was found."""
        if not self.matched:
            return None
        return not any(each.different or each.missing for each in self.columns)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "agreed": self.agreed}


@dataclass(frozen=True)
class _Request:
    at: datetime
    key: str | None
    inputs: dict[str, Any]


def compare_features(
    workspace: Workspace,
    endpoint: str,
    *,
    since: timedelta | None = None,
    sample: int = SAMPLE,
    table: str | None = None,
) -> FeatureParity:
    """Compare requests of an endpoint with the rows of its model's feature tables.

    These are the tables that the model scores in batch, and the one that it was trained on: the
    first that holds the row. A request is about the row of its key. Where it does not hold the
    model's time column, that is the newest row of its entity at the time of the request. The row
    is read from the version of the table that was the newest then; where it was not there yet,
    from the newest now.

    Args:
        workspace: the project.
        endpoint: its name.
        since: only requests of this last while.
        sample: at most so many requests, drawn by a hash of their prediction's id.
        table: this table alone.

    Raises:
        NoRequestsError: none was logged in that while.
        NoFeatureKeyError: the model does not say what identifies a row, or of which table.
        FeatureTableError: a table cannot be looked into.
    """
    logged, version = _logged(workspace, endpoint, since, sample)
    time = version.tags.get("headrace.time")
    key = [each for each in version.tags.get("headrace.key", "").split(",") if each]
    tables = [table] if table else _tables(workspace, version)
    if not tables or not key:
        raise NoFeatureKeyError(str(version), "table" if key else "key")
    features = _features(workspace, version)
    requests = [
        _Request(row["requested_at"], row["key"], json.loads(row["request"])) for row in logged
    ]
    lookups = [Lookup.on(workspace, name, key, time, features) for name in tables]
    alone = _endpoint_key(workspace, endpoint)
    named = [_named(each, lookups[0], alone) for each in requests]
    wanted = {at: each for at, each in enumerate(named) if each is not None}
    found = _looked_up(lookups, wanted)
    places = sorted(found.rows)
    columns = tuple(
        compare_column(
            name,
            [requests[at].inputs.get(name) for at in places],
            [found.rows[at].get(name) for at in places],
            [wanted[at].key for at in places],
        )
        for name in features
    )
    return FeatureParity(
        endpoint=endpoint,
        model=str(version),
        tables=found.tables,
        requests=len(requests),
        matched=len(found.rows),
        later=found.later,
        without_key=len(requests) - len(wanted),
        without_row=len(wanted) - len(found.rows) - len(found.ambiguous) - len(found.left_out),
        ambiguous=len(found.ambiguous),
        left_out=len(found.left_out),
        columns=columns,
    )


@dataclass
class _Found:
    """What the tables hold of what is wanted."""

    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, int] = field(default_factory=dict)
    ambiguous: set[int] = field(default_factory=set)
    left_out: set[int] = field(default_factory=set)
    later: int = 0


def _looked_up(lookups: Sequence[Lookup], wanted: Mapping[int, Wanted]) -> _Found:
    """Each request in the first table that holds its row."""
    found = _Found()
    for lookup in lookups:
        remaining = {
            at: each
            for at, each in wanted.items()
            if at not in found.rows and at not in found.ambiguous
        }
        groups = _by_version(lookup.location, remaining)
        gone = lakehouse.missing(lookup.location, groups.keys())
        readable = [number for number in groups if gone[number] == []]
        chosen = sorted(readable, key=lambda number: -len(groups[number]))[:_MOST_VERSIONS]
        rows: dict[int, list[dict[str, Any]]] = {}
        for number in chosen:
            rows |= lookup.rows(number, groups[number])
        looked_up = [at for number in chosen for at in groups[number]]
        absent = {at: wanted[at] for at in looked_up if at not in rows}
        newest = lakehouse.latest_version(lookup.location) or 0
        later = lookup.rows(newest, absent) if absent and set(chosen) != {newest} else {}
        single = {at: each[0] for at, each in (rows | later).items() if len(each) == 1}
        found.rows |= single
        found.tables[lookup.table] = len(single)
        found.later += sum(at in single for at in later)
        found.ambiguous |= {at for at, each in (rows | later).items() if len(each) > 1}
        found.left_out = (found.left_out | (remaining.keys() - set(looked_up))) - single.keys()
    found.left_out -= found.ambiguous
    return found


def _tables(workspace: Workspace, version: ModelVersion) -> list[str]:
    """What the model scores in batch, the latest first, and what it was trained on."""
    query = (
        select(_scorings.c.input_table)
        .where(_scorings.c.model_name == version.name)
        .group_by(_scorings.c.input_table)
        .order_by(func.max(_scorings.c.started_at).desc())
    )
    with workspace.store.reading() as connection:
        scored = [str(name) for name in connection.scalars(query)]
    there = [name for name in scored if workspace.catalog.find(name) is not None]
    trained = version.tags.get("headrace.table")
    return list(dict.fromkeys([*there, *([trained] if trained else [])]))


def _logged(
    workspace: Workspace, endpoint: str, since: timedelta | None, sample: int
) -> tuple[list[dict[str, Any]], ModelVersion]:
    """Rows of the request log, and the newest version among those that answered them."""
    from pyspark.sql import functions as f

    name = request_table(endpoint)
    entry = workspace.catalog.find(name)
    if entry is None:
        raise NoRequestsError(endpoint, name, since)
    frame = workspace.spark().read.table(str(entry.name))
    if since is not None:
        frame = frame.filter(f.col("requested_at") >= f.lit(clock.now() - since))
    columns = ("prediction_id", "requested_at", "key", "request", "model_name", "model_version")
    drawn = frame.select(*columns).orderBy(f.xxhash64("prediction_id")).limit(sample)
    with workspace.engine.recording(persist=False):
        rows: list[dict[str, Any]] = drawn.toArrow().to_pylist()
    if not rows:
        raise NoRequestsError(endpoint, name, since)
    newest = max(rows, key=lambda row: (row["model_version"], row["model_name"]))
    return rows, resolve(workspace, f"{newest['model_name']}/{newest['model_version']}")


def _features(workspace: Workspace, version: ModelVersion) -> list[str]:
    """The model's inputs by name."""
    path = model_directory(workspace.store, version.model_id)
    if path is None:
        from headrace.tracking import load_model

        schema = load_model(workspace, version.model_id).metadata.get_input_schema()
        return [str(name) for name in schema.input_names()]
    return [str(each.name) for each in Signature.of_model(path, str(version)).fields]


def _endpoint_key(workspace: Workspace, endpoint: str) -> str | None:
    """The endpoint's key column, where it has one: the log holds its value."""
    with workspace.store.reading() as connection:
        record = read_endpoint(connection, endpoint)
    return record.key[0] if record is not None and len(record.key) == 1 else None


def _named(request: _Request, lookup: Lookup, alone: str | None) -> Wanted | None:
    """What the request is about; ``None`` where it does not name its entity."""
    inputs = request.inputs
    values = {name: inputs[name] for name in lookup.key if inputs.get(name) is not None}
    if alone in lookup.entity and alone not in values and request.key is not None:
        values[str(alone)] = request.key
    if not values.keys() >= set(lookup.entity):
        return None
    return Wanted(request.at, values)


def _by_version(location: str, wanted: Mapping[int, Wanted]) -> dict[int, dict[int, Wanted]]:
    """What is wanted, by the version of the table that was the newest at the request's time."""
    # Older ones that are kept apart say nothing of the time until the next one.
    first, _ = lakehouse.version_range(location)
    commits = [each for each in reversed(lakehouse.history(location)) if each.version >= first]
    # A clock that was set back does not make a later version older.
    times = list(accumulate((_utc(commit.timestamp) for commit in commits), max))
    found: dict[int, dict[int, Wanted]] = {}
    for at, each in wanted.items():
        place = max(0, bisect_right(times, _utc(each.at)) - 1)
        found.setdefault(commits[place].version, {})[at] = each
    return found


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
