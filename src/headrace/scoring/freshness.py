"""Whether a table of predictions must be scored again; reads the database and one Delta log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace import lakehouse
from headrace.catalog import TableName
from headrace.freshness import Freshness
from headrace.scoring import store

if TYPE_CHECKING:
    from headrace.registry import ModelVersion
    from headrace.scoring.spec import PredictionSpec
    from headrace.workspace import Workspace


def scoring_freshness(workspace: Workspace, spec: PredictionSpec) -> Freshness:
    """Whether ``score`` would find something to do.

    Raises:
        HeadraceError: the model version or the input table of an earlier scoring is gone.
    """
    from headrace.registry import resolve

    table = str(TableName.parse(spec.table))
    if not store.last(workspace.store, table, "pending", "done"):
        # Before the first run of a project there is no model to resolve.
        return Freshness(True, "never scored")
    return judge(workspace, spec, resolve(workspace, spec.model))


def judge(workspace: Workspace, spec: PredictionSpec, version: ModelVersion) -> Freshness:
    """The same for a resolved model version."""
    table = str(TableName.parse(spec.table))
    if store.last(workspace.store, table, "pending"):
        return Freshness(True, "a scoring is under way, or was interrupted")
    last = store.last(workspace.store, table, "done")
    if last is None:
        return Freshness(True, "never scored")
    if last.model_id != version.model_id:
        before, after = (last.model_name, last.model_version), (version.name, version.version)
        return Freshness(
            True, f"{spec.model} moved from {before[0]}/{before[1]} to {after[0]}/{after[1]}"
        )
    if last.spec_digest != spec.digest():
        return Freshness(True, f"the settings of {spec.table} changed")
    entry = workspace.catalog.resolve(spec.input)
    if not (entry.location and lakehouse.exists(entry.location)):
        return Freshness(True, f"input {entry.name} is gone")
    newest = lakehouse.last_change(entry.location)
    if newest.version > last.input_version:
        return Freshness(
            True, f"input {entry.name} moved from version {last.input_version} to {newest.version}"
        )
    if newest.timestamp > last.started_at:
        return Freshness(True, f"input {entry.name} was dropped and made again")
    return _output_freshness(workspace, table, last.version)


def rows_can_stay(workspace: Workspace, table: str, spec_digest: str, scorer: str) -> bool:
    """Whether the rows of the table are those of its last scoring, by the same settings and scorer.

    A row that somebody else changed has the digest of its input all the same: only the log tells.
    """
    last = store.last(workspace.store, table, "done")
    return (
        last is not None
        and last.spec_digest == spec_digest
        and last.scorer == scorer
        and not _output_freshness(workspace, table, last.version).stale
    )


def _output_freshness(workspace: Workspace, table: str, written: int | None) -> Freshness:
    entry = workspace.catalog.find(table)
    if entry is None or entry.location is None or written is None:
        return Freshness(True, f"{table} is gone")
    newest = lakehouse.latest_version(entry.location)
    if newest is None or newest < written:
        return Freshness(True, f"{table} no longer holds version {written}")
    change = lakehouse.last_change(entry.location)
    if change.version > written:
        return Freshness(
            True, f"version {change.version} of {table} was written by {change.operation}"
        )
    return Freshness(False, f"model, input and table are those of version {written}")
