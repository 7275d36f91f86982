"""In an emergency: the alias moves without the gate's yes, with a reason, for all to see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.catalog import audit, guards
from headrace.crash import crash_point
from headrace.evidence import Keys, append
from headrace.identity import principal
from headrace.promotion import statement
from headrace.promotion.errors import OverrideNothingError, OverrideReasonError
from headrace.promotion.records import (
    Move,
    hold_alias,
    last_decision,
    move_alias,
    moves,
    write_tags,
)
from headrace.registry.versions import PRODUCTION

if TYPE_CHECKING:
    from headrace.gate.spec import GateSpec
    from headrace.registry import ModelVersion
    from headrace.workspace import Workspace


def override(
    workspace: Workspace,
    version: ModelVersion,
    alias: str = PRODUCTION,
    *,
    reason: str,
    by: str | None = None,
    gate: GateSpec | None = None,
) -> Move:
    """Point the alias at a version, whatever the gate says of it.

    The signed statement says that it was an override, and so do status, plan, endpoints, the
    version's tag ``headrace.override``, the metrics of the planes and the audit log, until a
    later version is promoted by the gate.

    Args:
        workspace: the project.
        version: which.
        alias: which alias.
        reason: why.
        by: who; whoever acts, if not given.
        gate: the rule of the model; the statement then holds what the gate found by it.

    Raises:
        OverrideReasonError: there is no reason.
        OverrideNothingError: the alias points there already.
    """
    reason, by = _reason(version.name, reason), by or principal()
    judged = None
    if gate is not None:
        judged = last_decision(workspace, version.name, version.version, gate.digest)
    drafted = statement.override(
        workspace,
        version,
        alias=alias,
        reason=reason,
        verdict=None if judged is None else judged.verdict,
        gate=None if judged is None else gate,
    )
    guards.install(workspace.store)
    with workspace.store.begin() as connection:
        now = hold_alias(connection, version.name, alias)
        if now == version.version:
            raise OverrideNothingError(version.name, alias, now)
        made = append(connection, Keys(workspace.paths), drafted)
        tags = {"headrace.evidence": made.digest, "headrace.override": f"{reason} ({by})"}
        write_tags(connection, version.name, version.version, tags)
        crash_point("override.recorded")
        move_alias(
            connection,
            version.name,
            alias,
            now,
            version,
            kind="overridden",
            reason=reason,
            by=by,
            evidence=made.digest,
        )
        details = {"from": now, "to": version.version, "reason": reason, "evidence": made.digest}
        audit.record(connection, "override", f"{version.name}@{alias}", by=by, details=details)
        crash_point("override.moved")
    return moves(workspace, version.name, alias)[0]


def take_away(
    workspace: Workspace,
    model: str,
    alias: str = PRODUCTION,
    *,
    reason: str,
    by: str | None = None,
) -> Move:
    """Take the alias away, so that no version has it.

    Raises:
        OverrideReasonError: there is no reason.
        OverrideNothingError: no version has it.
    """
    reason, by = _reason(model, reason), by or principal()
    drafted = statement.withdrawal(model, alias=alias, reason=reason)
    guards.install(workspace.store)
    with workspace.store.begin() as connection:
        now = hold_alias(connection, model, alias)
        if now is None:
            raise OverrideNothingError(model, alias, None)
        made = append(connection, Keys(workspace.paths), drafted)
        crash_point("override.recorded")
        move_alias(
            connection,
            model,
            alias,
            now,
            None,
            kind="overridden",
            reason=reason,
            by=by,
            evidence=made.digest,
        )
        details = {"from": now, "to": None, "reason": reason, "evidence": made.digest}
        audit.record(connection, "override", f"{model}@{alias}", by=by, details=details)
    return moves(workspace, model, alias)[0]


def _reason(model: str, reason: str) -> str:
    if not reason.strip():
        raise OverrideReasonError(model)
    return " ".join(reason.split())
