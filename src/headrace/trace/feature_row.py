"""The feature row that a request's key names, in the tables where it can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from headrace import lakehouse
from headrace.errors import HeadraceError
from headrace.scoring.store import scorings
from headrace.trace import keys
from headrace.trace.errors import key_text
from headrace.trace.row import json_row, json_value

if TYPE_CHECKING:
    from headrace.trace.model import ModelFacts
    from headrace.workspace import Workspace


@dataclass(frozen=True)
class Match:
    """What the look-up found.

    Attributes:
        text: one sentence for a person.
        table, version: where the row is.
        row: the row, if there is one.
        equal: whether the request's inputs are those of the row.
    """

    text: str
    table: str | None = None
    version: int | None = None
    row: dict[str, Any] | None = None
    equal: bool = False


def match_feature_row(
    workspace: Workspace, found: Mapping[str, Any], inputs: dict[str, Any], model: ModelFacts
) -> Match:
    """Look for the row in the tables that the model scores in batch, then where it was trained.

    Args:
        workspace: the project.
        found: the row of the request log.
        inputs: what the request held.
        model: names the key.

    Returns:
        The row that equals the request, else one of that key, else why there is none.
    """
    if not model.key:
        return Match("the model records no key that would lead to a feature row")
    missing = [name for name in model.key if inputs.get(name) is None]
    if missing:
        return Match(f"the request holds no {', '.join(missing)}, the key of a feature row")
    tables = _tables(workspace, str(found["model_name"]), model)
    matches = [_in_table(workspace, name, found["requested_at"], inputs, model) for name in tables]
    for wanted in (lambda m: m.equal, lambda m: m.row is not None):
        for match in matches:
            if wanted(match):
                return match
    return Match("; ".join(match.text for match in matches) or "the model records no table")


def _tables(workspace: Workspace, model_name: str, model: ModelFacts) -> list[str]:
    query = (
        select(scorings.c.input_table)
        .where(scorings.c.model_name == model_name)
        .group_by(scorings.c.input_table)
        .order_by(func.max(scorings.c.started_at).desc())
    )
    with workspace.store.reading() as connection:
        scored = list(connection.scalars(query))
    return list(dict.fromkeys([*scored, *([model.table] if model.table else [])]))


def _in_table(
    workspace: Workspace,
    table: str,
    requested_at: datetime,
    inputs: dict[str, Any],
    model: ModelFacts,
) -> Match:
    entry = workspace.catalog.find(table)
    if entry is None or entry.location is None:
        return Match(f"{table} is gone")
    try:
        version = _version_then(entry.location, requested_at)
        schema = lakehouse.schema(entry.location, version)
        key = keys.parse_key(table, {name: inputs[name] for name in model.key}, schema)
        rows = keys.read_rows(entry.location, version, key)
    except HeadraceError as error:
        return Match(f"the row cannot be looked up in {table}: {error.what}")
    where = f"{table}@{version}"
    if rows.num_rows != 1:
        return Match(f"{where} holds {rows.num_rows or 'no'} rows {key_text(json_row(key))}")
    row: dict[str, Any] = rows.to_pylist()[0]
    differing = [
        name for name, value in inputs.items() if name in row and not _same(value, row[name])
    ]
    if differing:
        text = f"differs from the row of {where} in {', '.join(differing)}"
        return Match(text, table, version, row)
    return Match(f"equals the row of {where}", table, version, row, equal=True)


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
