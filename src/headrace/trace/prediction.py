"""Tracing one answer of an endpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headrace import lakehouse
from headrace.catalog import InvalidNameError
from headrace.ids import is_id
from headrace.trace import keys
from headrace.trace.errors import InvalidKeyError, PredictionNotFoundError
from headrace.trace.feature_row import match_feature_row
from headrace.trace.graph import Builder, Node, Trace
from headrace.trace.model import ModelFacts, Models
from headrace.trace.row import entity_of, json_value
from headrace.trace.upstream import Upstream

if TYPE_CHECKING:
    from headrace.catalog import Entry
    from headrace.workspace import Workspace

_LOG_SCHEMA = "ops"
_LOG_SUFFIX = "_requests"


def trace_prediction(workspace: Workspace, prediction_id: str) -> Trace:
    """Everything that one answer of an endpoint came from.

    The inputs came with the request. Where they hold the key of a feature row, that row is
    looked up in the tables that the model scores in batch and in the one it was trained on, as
    they were when the request came; if its values are those of the request, its raw files are
    what the answer was made of.

    Raises:
        PredictionNotFoundError: neither a request log nor the spool holds it.
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
    _request(workspace, graph, root, found, inputs, model)
    return graph.build(root)


def _logged(workspace: Workspace, prediction_id: str) -> dict[str, Any]:
    """The row of the request log, and as ``log`` its name, or ``spool`` where it waits for it."""
    # The log again at the end: the answer may have gone there after the first look.
    for look in (_in_logs, _in_spool, _in_logs):
        found = look(workspace, prediction_id)
        if found is not None:
            return found
    if not is_id(prediction_id, "pred"):
        _might_be_a_table(workspace, prediction_id)
    raise PredictionNotFoundError(prediction_id, [str(log.name) for log in _logs(workspace)])


def _logs(workspace: Workspace) -> list[Entry]:
    return [
        entry
        for entry in workspace.catalog.list(_LOG_SCHEMA)
        if entry.kind == "table" and entry.name.name.endswith(_LOG_SUFFIX)
    ]


def _in_logs(workspace: Workspace, prediction_id: str) -> dict[str, Any] | None:
    for entry in _logs(workspace):
        rows = _rows(entry, prediction_id)
        if rows:
            return rows[0] | {"log": str(entry.name)}
    return None


def _in_spool(workspace: Workspace, prediction_id: str) -> dict[str, Any] | None:
    """The row that the request log is going to hold."""
    from headrace.requestlog import find_spooled
    from headrace.requestlog.tables import request_rows

    record = find_spooled(workspace.paths.spool, prediction_id)
    if record is None:
        return None
    rows: list[dict[str, Any]] = request_rows([record]).to_pylist()
    row = next(row for row in rows if row["prediction_id"] == prediction_id)
    return row | {"log": "spool"}


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
    found: Mapping[str, Any],
    inputs: dict[str, Any],
    model: ModelFacts,
) -> None:
    """Add the request's inputs, and the feature row that they equal if there is one."""
    node_id = f"{root}/request"
    facts: dict[str, Any] = {"inputs": inputs}
    matched = match_feature_row(workspace, found, inputs, model)
    facts["match"] = matched.text
    graph.add(Node(node_id, "request", "scoring", "inputs sent with the request", facts))
    graph.link(root, node_id, "scored on")
    if matched.row is None or matched.table is None:
        return
    columns = [model.group] if model.group else list(model.key)
    entity = entity_of(matched.row, columns, model.time, model.lookback)
    upstream = Upstream(
        workspace, graph, "scoring", entity=entity, why_not="the key names no entity"
    )
    table = upstream.table(matched.table, matched.version)
    graph.link(node_id, table, "equals the row of" if matched.equal else "names the row of")
