"""Carrying a verdict out: the statement, the record, the move and the alias in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy.exc import IntegrityError

from headrace import clock
from headrace.approvals.approve import counted, good
from headrace.catalog import audit, guards
from headrace.crash import crash_point
from headrace.evidence import Keys, append
from headrace.identity import principal
from headrace.promotion import statement
from headrace.promotion.errors import ChampionChangedError, FilesChangedError
from headrace.promotion.records import (
    Decided,
    State,
    change_state,
    decision_in,
    hold_alias,
    last_decision,
    move_alias,
    record_verdict,
    write_tags,
)
from headrace.promotion.waiting import Groups, ask_for
from headrace.registry.versions import PRODUCTION, alias_version, resolve

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from headrace.evidence import Decision as Statement
    from headrace.gate.spec import GateSpec
    from headrace.gate.verdict import Verdict
    from headrace.registry import ModelVersion
    from headrace.workspace import Workspace


def promote(
    workspace: Workspace,
    verdict: Verdict,
    gate: GateSpec,
    alias: str = PRODUCTION,
    *,
    files: Mapping[str, str] | None = None,
) -> Decided:
    """State and record a verdict, and if it promotes, point the alias at the candidate.

    The signed statement, the verdict, the tags of the version, the move and MLflow's alias are one
    transaction on the database that they share: there is no moment at which one is visible
    without the others. A refused verdict moves nothing, nor does one on the version in
    production: it is judged again when the rule changes, and a person decides what a refusal
    then means. One that needs approvals waits. The same verdict again changes nothing.

    Args:
        workspace: the project.
        verdict: what the gate found.
        gate: by which rule.
        alias: which alias.
        files: digests of the files that were judged; what is stated must be the same ones.

    Returns:
        What became of it: it is ``refused``, ``waiting`` or ``promoted``.

    Raises:
        ChampionChangedError: the alias no longer points to the champion of the verdict.
        FilesChangedError: the model's files are no longer those that were judged.
    """
    by = principal()
    version = resolve(workspace, f"{verdict.model}/{verdict.version}")
    state: Literal["refused", "waiting", "promoted"] = "refused"
    if verdict.promoted:
        state = "waiting" if gate.approvals.count else "promoted"
    # It reads the model's files: before the transaction, which others wait for.
    drafted = statement.decision(workspace, verdict, gate, kind=state, alias=alias)
    if files is not None and drafted.subjects != files:
        changed = {name for name, _ in drafted.subjects.items() ^ files.items()}
        raise FilesChangedError(verdict.model, verdict.version, sorted(changed))
    guards.install(workspace.store)
    try:
        with workspace.store.begin() as connection:
            now = hold_alias(connection, verdict.model, alias)
            known = decision_in(connection, verdict.model, verdict=verdict.id)
            if known is not None:
                return known
            _check_champion(verdict, alias, now)
            made = append(connection, Keys(workspace.paths), drafted)
            record_verdict(connection, verdict, alias, state, made.digest, by)
            write_tags(
                connection,
                verdict.model,
                verdict.version,
                {
                    **_tags(state, verdict, made.digest),
                    "headrace.verdict_id": verdict.id,
                    f"headrace.{verdict.metric}": repr(verdict.candidate),
                },
            )
            crash_point("promote.recorded")
            if state == "promoted":
                _move(connection, version, verdict, alias, now, made.digest, by)
            _audit(connection, verdict, alias, state, made.digest, by)
            crash_point("promote.moved")
    except IntegrityError as error:
        _explain(workspace, verdict, alias, error)
        raise
    return Decided(verdict, state, alias, made.digest, by)


def promote_approved(
    workspace: Workspace, decided: Decided, gate: GateSpec, groups: Groups
) -> Decided:
    """Promote a version that waits, if it has its approvals; else it goes on waiting.

    Raises:
        ChampionChangedError: it was compared with a champion that is none any more; its approvals
            are void with that comparison.
    """
    verdict, alias, by = decided.verdict, decided.alias, principal()
    version = resolve(workspace, f"{verdict.model}/{verdict.version}")
    ask = ask_for(decided, gate, groups)
    with workspace.store.reading() as connection:
        if len(good(counted(connection, ask))) < ask.count:
            return decided
    drafted = statement.decision(workspace, verdict, gate, kind="promoted", alias=alias)
    guards.install(workspace.store)
    with workspace.store.begin() as connection:
        now = hold_alias(connection, verdict.model, alias)
        current = decision_in(connection, verdict.model, verdict=verdict.id)
        if current is None or current.state != "waiting":
            return current or decided
        _check_champion(verdict, alias, now)
        at = clock.now()
        given = good(counted(connection, ask, at))
        if len(given) < ask.count:
            return current  # one expired in this moment
        approved = _with(
            drafted,
            approvals={
                "ask": ask.as_json(),
                "at": clock.iso(at),
                "given": [each.envelope.decode() for each in given],
            },
        )
        made = append(connection, Keys(workspace.paths), approved)
        change_state(connection, verdict.id, "promoted", made.digest)
        tags = _tags("promoted", verdict, made.digest)
        write_tags(connection, verdict.model, verdict.version, tags)
        crash_point("promote.recorded")
        _move(connection, version, verdict, alias, now, made.digest, by)
        names = [each.approver for each in given]
        _audit(connection, verdict, alias, "promoted", made.digest, by, {"approved_by": names})
        crash_point("promote.moved")
    return replace(decided, state="promoted", evidence=made.digest)


def last_verdict(
    workspace: Workspace, model: str, version: int | None = None, gate_digest: str | None = None
) -> Verdict | None:
    """The newest verdict on a model, or on one version by one rule."""
    found = last_decision(workspace, model, version, gate_digest)
    return None if found is None else found.verdict


def _check_champion(verdict: Verdict, alias: str, now: int | None) -> None:
    """Raises ChampionChangedError where the verdict is on another champion than that of now."""
    if now not in (verdict.champion, verdict.version):
        raise ChampionChangedError(verdict.model, alias, verdict.champion, now)


def _explain(workspace: Workspace, verdict: Verdict, alias: str, error: IntegrityError) -> None:
    """An alias that is not protected, and that MLflow's client has set in this moment."""
    with workspace.store.reading() as connection:
        now = alias_version(connection, verdict.model, alias)
    if now != verdict.champion:
        raise ChampionChangedError(verdict.model, alias, verdict.champion, now) from error


def _move(
    connection: Connection,
    version: ModelVersion,
    verdict: Verdict,
    alias: str,
    now: int | None,
    evidence: str,
    by: str,
) -> None:
    if now != version.version:
        move_alias(
            connection,
            version.name,
            alias,
            now,
            version,
            kind="promoted",
            reason=verdict.summary,
            by=by,
            verdict=verdict.id,
            evidence=evidence,
        )


def _tags(state: State, verdict: Verdict, evidence: str) -> dict[str, str | None]:
    return {
        "headrace.verdict": state,
        "headrace.verdict_summary": summary_of(state, verdict),
        "headrace.evidence": evidence,
    }


def summary_of(state: State, verdict: Verdict) -> str:
    """The verdict's line, of a version that waits in other words."""
    waits = state == "waiting"
    return verdict.summary.replace("promoted:", "waits for approvals:", 1 if waits else 0)


def _with(drafted: Statement, **more: Mapping[str, Any]) -> Statement:
    return replace(drafted, predicate={**drafted.predicate, **more})


def _audit(
    connection: Connection,
    verdict: Verdict,
    alias: str,
    state: State,
    evidence: str,
    by: str,
    more: Mapping[str, Any] | None = None,
) -> None:
    audit.record(
        connection,
        f"gate.{state}",
        f"{verdict.model}@{alias}",
        by=by,
        details={
            "version": verdict.version,
            "champion": verdict.champion,
            "verdict": verdict.id,
            "evidence": evidence,
            **(more or {}),
        },
    )
