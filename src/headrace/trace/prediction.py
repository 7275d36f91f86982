"""Tracing one answer of an endpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace import lakehouse
from headrace.catalog import InvalidNameError
from headrace.errors import HeadraceError
from headrace.ids import is_id
from headrace.trace import keys
from headrace.trace.errors import (
    InvalidKeyError,
    PredictionNotFoundError,
    PredictionNotShippedError,
    key_text,
)
from headrace.trace.graph import Builder, Node, Trace
from headrace.trace.model import ModelFacts, Models
from headrace.trace.row import entity_of, json_row, json_value
from headrace.trace.upstream import Upstream

if TYPE_CHECKING:
    from headrace.catalog import Entry
    from headrace.workspace import Workspace

_LOG_SCHEMA = "ops"
_LOG_SUFFIX = "_requests"


def trace_prediction(workspace: Workspace, prediction_id: str) -> Trace:
    """Everything that one answer of an endpoint came from.

    The inputs came with the request. Where they hold the key of a feature row, that row is
    looked up in the table that the model was trained on, as it was when the request came; if
    its values are those of the request, its raw files are what the answer was made of.

    Raises:
        PredictionNotFoundError: no request log holds it.
        PredictionNotShippedError: it was answered, and is not in its table yet.
    """
    found = _logged(workspace, prediction_id)
    graph = Builder()
    root = f"prediction:{prediction_id}"
    inputs = json.loads(found["request"])
    facts = {
        "prediction_id": prediction_id,
        "request_id": found["request_id"],
        "endpoint": found["endpoint"],
        "requested_at": json_value(found["requested_at"]),
        "score": json_value(found["score"]),
        "prediction": json.loads(found["prediction"]),
        "log": found["log"],
    }
    graph.add(Node(root, "prediction", "subject", f"{prediction_id} of {found['endpoint']}", facts))
    deployment = _deployment(graph, root, found)
    models = Models(workspace, graph)
    model = models.add(deployment, "serves", found["model_name"], int(found["model_version"]))
    _request(workspace, graph, root, inputs, found["requested_at"], model)
    return graph.build(root)


def _logged(workspace: Workspace, prediction_id: str) -> dict[str, Any]:
    """The row of the request log, and the name of the log as ``log``."""
    logs = [
        entry
        for entry in workspace.catalog.list(_LOG_SCHEMA)
        if entry.kind == "table" and entry.name.name.endswith(_LOG_SUFFIX)
    ]
    for entry in logs:
        rows = _rows(entry, prediction_id)
        if rows:
            return rows[0] | {"log": str(entry.name)}
    needle = prediction_id.encode()
    for segment in sorted(workspace.paths.spool.rglob("*")):
        if segment.is_file() and needle in segment.read_bytes():
            raise PredictionNotShippedError(prediction_id, str(segment))
    if not is_id(prediction_id, "pred"):
        _might_be_a_table(workspace, prediction_id)
    raise PredictionNotFoundError(prediction_id, [str(entry.name) for entry in logs])


def _might_be_a_table(workspace: Workspace, text: str) -> None:
    """Raises InvalidKeyError if the text names a table: the key of a row is missing then."""
    try:
        entry = workspace.catalog.find(text)
    except InvalidNameError:
        return
    if entry is not None:
        raise InvalidKeyError(str(entry.name), "", "it is a table, and a trace follows one row")


def _rows(entry: Entry, prediction_id: str) -> list[dict[str, Any]]:
    version = lakehouse.latest_version(str(entry.location))
    if version is None:
        return []
    found: list[dict[str, Any]] = keys.read_rows(
        str(entry.location), version, {"prediction_id": prediction_id}
    ).to_pylist()
    return found


def _deployment(graph: Builder, root: str, found: Mapping[str, Any]) -> str:
    node_id = f"deployment:{found['deployment']}"
    colour = found.get("colour")
    title = f"deployment {found['deployment']}" + (f" ({colour})" if colour else "")
    facts = {"deployment": found["deployment"], "endpoint": found["endpoint"], "colour": colour}
    graph.add(Node(node_id, "deployment", "model", title, facts))
    graph.link(root, node_id, "answered by")
    return node_id


def _request(
    workspace: Workspace,
    graph: Builder,
    root: str,
    inputs: dict[str, Any],
    requested_at: datetime,
    model: ModelFacts,
) -> None:
    """Add the request's inputs, and the feature row that they equal if there is one."""
    node_id = f"{root}/request"
    facts: dict[str, Any] = {"inputs": inputs}
    matched = _feature_row(workspace, inputs, requested_at, model)
    facts["match"] = matched.text
    graph.add(Node(node_id, "request", "scoring", "inputs sent with the request", facts))
    graph.link(root, node_id, "scored on")
    if matched.row is None or model.table is None:
        return
    columns = [model.group] if model.group else list(model.key)
    entity = entity_of(matched.row, columns, model.time, model.lookback)
    upstream = Upstream(
        workspace, graph, "scoring", entity=entity, why_not="the key names no entity"
    )
    table = upstream.table(model.table, matched.version)
    graph.link(node_id, table, "equals the row of" if matched.equal else "names the row of")


@dataclass(frozen=True)
class _Match:
    """The feature row that a request's key names.

    Attributes:
        text: one sentence for a person.
        row: the row, if there is one.
        version: of the table.
        equal: whether the request's inputs are those of the row.
    """

    text: str
    row: dict[str, Any] | None = None
    version: int | None = None
    equal: bool = False


def _feature_row(
    workspace: Workspace, inputs: dict[str, Any], requested_at: datetime, model: ModelFacts
) -> _Match:
    if model.table is None or not model.key:
        return _Match("the model records no key that would lead to a feature row")
    missing = [name for name in model.key if inputs.get(name) is None]
    if missing:
        return _Match(f"the request holds no {', '.join(missing)}, the key of a feature row")
    entry = workspace.catalog.find(model.table)
    if entry is None or entry.location is None:
        return _Match(f"{model.table} is gone")
    try:
        version = _version_then(entry.location, requested_at)
        schema = lakehouse.schema(entry.location, version)
        key = keys.parse_key(model.table, {name: inputs[name] for name in model.key}, schema)
        rows = keys.read_rows(entry.location, version, key)
    except HeadraceError as error:
        return _Match(f"the feature row cannot be looked up: {error.what}")
    where = f"{model.table}@{version}"
    if rows.num_rows != 1:
        return _Match(f"{where} holds {rows.num_rows or 'no'} rows {key_text(json_row(key))}")
    row: dict[str, Any] = rows.to_pylist()[0]
    differing = [
        name for name, value in inputs.items() if name in row and not _same(value, row[name])
    ]
    if differing:
        text = f"differs from the row of {where} in {', '.join(differing)}"
        return _Match(text, row, version)
    return _Match(f"equals the row of {where}", row, version, equal=True)


def _version_then(location: str, moment: datetime) -> int:
    """The version that was the newest at a moment; the newest now if none was made since."""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    latest = lakehouse.history(location, limit=1)[0]
    return latest.version if latest.timestamp <= moment else lakehouse.version_at(location, moment)


def _same(sent: Any, stored: Any) -> bool:
    """Whether a JSON value is the value of a table; times are compared as moments."""
    if isinstance(stored, datetime) and isinstance(sent, str):
        stored = stored.replace(tzinfo=UTC) if stored.tzinfo is None else stored
        try:
            when = datetime.fromisoformat(sent)
        except ValueError:
            return False
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when
        return bool(when == stored)
    if isinstance(sent, int | float) and isinstance(stored, int | float):
        # JSON writes the shortest text that reads back as the same double.
        return float(sent) == float(stored)
    if stored is None or (isinstance(stored, float) and stored != stored):
        return sent is None
    return bool(sent == json_value(stored))
