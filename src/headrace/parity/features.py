"""What an endpoint was sent against what the feature table says, for the same entity and time."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

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

SAMPLE: Final = 500
#: Each version of the table that was the newest for some request is a query.
_MOST_VERSIONS: Final = 20


@dataclass(frozen=True)
class FeatureParity:
    """The comparison of logged requests with a feature table.

    Attributes:
        endpoint: its name.
        model: ``name/version`` of the newest version that answered.
        table: the feature table.
        requests: rows that were drawn from the request log.
        matched: of these, how many have one row in the table.
        later: of those matched, how many got their row in the table after the request.
        without_key: how many requests do not say which row they are about.
        without_row: how many name a row that the table does not hold.
        ambiguous: how many name several rows.
        left_out: how many were not looked up, being at too many different versions of the table.
        columns: one for each feature.
    """

    endpoint: str
    model: str
    table: str
    requests: int
    matched: int
    later: int
    without_key: int
    without_row: int
    ambiguous: int
    left_out: int
    columns: tuple[FeatureColumn, ...]

    @property
    def agreed(self) -> bool:
        """Whether no value that was sent is another one in the table."""
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
    """Compare requests of an endpoint with the rows of the table that its model was trained on.

    A request is about the row of its key. Where it does not hold the model's time column, that is
    the newest row of its entity at the time of the request. The row is read from the version of
    the table that was the newest then; where it was not there yet, from the newest now.

    Args:
        workspace: the project.
        endpoint: its name.
        since: only requests of this last while.
        sample: at most so many requests, drawn by a hash of their prediction's id.
        table: another table than the one that the model was trained on.

    Raises:
        NoRequestsError: none was logged in that while.
        NoFeatureKeyError: the model does not say what identifies a row.
    """
    logged, version = _logged(workspace, endpoint, since, sample)
    name = table or version.tags.get("headrace.table", "")
    time = version.tags.get("headrace.time")
    key = [each for each in version.tags.get("headrace.key", "").split(",") if each]
    if not name or not key:
        raise NoFeatureKeyError(str(version), "table" if key else "key")
    features = _features(workspace, version)
    requests = [
        _Request(row["requested_at"], row["key"], json.loads(row["request"])) for row in logged
    ]
    lookup = Lookup.on(workspace, name, key, time, features)
    alone = _endpoint_key(workspace, endpoint)
    named = [_named(each, lookup, alone) for each in requests]
    return _compared(endpoint, version, lookup, requests, named, features)


def _compared(
    endpoint: str,
    version: ModelVersion,
    lookup: Lookup,
    requests: Sequence[_Request],
    named: Sequence[Wanted | None],
    features: Sequence[str],
) -> FeatureParity:
    wanted = {at: each for at, each in enumerate(named) if each is not None}
    groups = _by_version(lookup.location, wanted)
    chosen = sorted(groups, key=lambda number: -len(groups[number]))[:_MOST_VERSIONS]
    newest = lakehouse.latest_version(lookup.location) or 0
    rows: dict[int, list[dict[str, Any]]] = {}
    for number in chosen:
        rows |= lookup.rows(number, groups[number])
    looked_up = [at for number in chosen for at in groups[number]]
    absent = {at: wanted[at] for at in looked_up if at not in rows}
    later = lookup.rows(newest, absent) if absent and set(chosen) != {newest} else {}
    rows |= later
    found = {at: each[0] for at, each in rows.items() if len(each) == 1}
    places = sorted(found)
    columns = tuple(
        compare_column(
            name,
            [requests[at].inputs.get(name) for at in places],
            [found[at].get(name) for at in places],
            [wanted[at].key for at in places],
        )
        for name in features
    )
    return FeatureParity(
        endpoint=endpoint,
        model=str(version),
        table=lookup.table,
        requests=len(requests),
        matched=len(found),
        later=sum(at in found for at in later),
        without_key=len(requests) - len(wanted),
        without_row=sum(at not in rows for at in looked_up),
        ambiguous=sum(len(each) > 1 for each in rows.values()),
        left_out=len(wanted) - len(looked_up),
        columns=columns,
    )


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
    commits = sorted(lakehouse.history(location), key=lambda commit: commit.version)
    times = [_utc(commit.timestamp) for commit in commits]
    found: dict[int, dict[int, Wanted]] = {}
    for at, each in wanted.items():
        place = max(0, bisect_right(times, _utc(each.at)) - 1)
        found.setdefault(commits[place].version, {})[at] = each
    return found


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
