"""Decisions as the database keeps them: verdicts with their state, and moves of aliases."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import Connection, RowMapping, Select, delete, insert, select, text, update

from headrace import clock
from headrace.catalog import guards
from headrace.gate.verdict import Verdict
from headrace.ids import new_id
from headrace.promotion.store import alias_moves, verdicts
from headrace.registry.versions import PRODUCTION, SCOPE, alias_version, aliases, version_tags

if TYPE_CHECKING:
    from typing import Any

    from headrace.registry import ModelVersion
    from headrace.workspace import Workspace

State = Literal["refused", "waiting", "promoted", "overridden"]
_LOCK: Final = 0x676174  # of advisory locks on aliases; any number that nobody else takes
_TAG: Final = 5000  # MLflow keeps so many characters of a tag's value, and more


@dataclass(frozen=True)
class Decided:
    """A verdict and what became of it.

    Attributes:
        verdict: what the gate found.
        state: ``refused``; ``waiting`` for approvals; ``promoted``; ``overridden`` where the
            version took the alias without the gate's yes.
        alias: the alias it was for.
        evidence: digest of its newest statement; ``None`` from before there was evidence.
        by: who had it judged: the requester of approvals.
    """

    verdict: Verdict
    state: State
    alias: str
    evidence: str | None
    by: str


@dataclass(frozen=True)
class Move:
    """One move of an alias.

    Attributes:
        before, after: versions; ``None`` where there was, or is, none.
        kind: ``promoted``, ``overridden``, or ``found`` where it was when its protection began.
        verdict: id of the gate's verdict.
        evidence: digest of the statement.
    """

    model: str
    alias: str
    before: int | None
    after: int | None
    kind: str
    verdict: str | None
    evidence: str | None
    reason: str
    by: str
    at: datetime


def last_decision(
    workspace: Workspace, model: str, version: int | None = None, gate_digest: str | None = None
) -> Decided | None:
    """The newest decision on a model, or on one version, or on it by one rule."""
    with workspace.store.reading() as connection:
        return decision_in(connection, model, version, gate_digest)


def decision_in(
    connection: Connection,
    model: str,
    version: int | None = None,
    gate_digest: str | None = None,
    verdict: str | None = None,
) -> Decided | None:
    """The newest decision, read in the caller's transaction."""
    query = select(verdicts).where(verdicts.c.model == model)
    if version is not None:
        query = query.where(verdicts.c.version == version)
    if gate_digest is not None:
        query = query.where(verdicts.c.gate_digest == gate_digest)
    if verdict is not None:
        query = query.where(verdicts.c.id == verdict)
    query = query.order_by(verdicts.c.sequence.desc()).limit(1)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    found = Verdict.from_json(row["body"])
    return Decided(found, row["state"], row["alias"], row["evidence"], row["judged_by"])


def moves(workspace: Workspace, model: str, alias: str = PRODUCTION) -> list[Move]:
    """Every recorded move of an alias, newest first."""
    with workspace.store.reading() as connection:
        return [_move(row) for row in connection.execute(_moves(model, alias)).mappings()]


def overridden(workspace: Workspace, model: str, alias: str = PRODUCTION) -> Move | None:
    """The override that is in force: the alias is where a person put it, not where the gate did."""
    with workspace.store.reading() as connection:
        return override_in(connection, model, alias)


def override_in(connection: Connection, model: str, alias: str = PRODUCTION) -> Move | None:
    """``overridden`` in the caller's transaction."""
    row = connection.execute(_moves(model, alias).limit(1)).mappings().one_or_none()
    return _move(row) if row is not None and row["kind"] == "overridden" else None


def hold_alias(connection: Connection, model: str, alias: str) -> int | None:
    """Where an alias is; nobody else decides on it until the transaction ends.

    On PostgreSQL its row alone would not do: before the first promotion there is none.
    """
    if connection.dialect.name == "postgresql":
        key = _LOCK << 32 | zlib.crc32(f"{model}@{alias}".encode())
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
    return alias_version(connection, model, alias, for_update=True)


def record_verdict(
    connection: Connection,
    verdict: Verdict,
    alias: str,
    state: State,
    evidence: str | None,
    by: str,
) -> None:
    """Add a verdict."""
    connection.execute(
        insert(verdicts).values(
            id=verdict.id,
            model=verdict.model,
            version=verdict.version,
            champion=verdict.champion,
            alias=alias,
            promoted=verdict.promoted,
            state=state,
            evidence=evidence,
            gate_digest=verdict.gate_digest,
            body=verdict.as_json(),
            judged_by=by,
            judged_at=verdict.judged_at,
        )
    )


def change_state(connection: Connection, verdict: str, state: State, evidence: str | None) -> None:
    """What became of a verdict that waited."""
    connection.execute(
        update(verdicts).where(verdicts.c.id == verdict).values(state=state, evidence=evidence)
    )


def write_tags(
    connection: Connection, model: str, version: int, tags: Mapping[str, str | None]
) -> None:
    """Set ``headrace.*`` tags of a version, which nobody else may; ``None`` takes one away."""
    of_version = (
        version_tags.c.workspace == SCOPE,
        version_tags.c.name == model,
        version_tags.c.version == version,
    )
    rows = [
        {
            "workspace": SCOPE,
            "name": model,
            "version": version,
            "key": key,
            "value": value[:_TAG],
        }
        for key, value in tags.items()
        if value is not None
    ]
    with guards.permitted(connection, model, version):
        connection.execute(delete(version_tags).where(*of_version, version_tags.c.key.in_(tags)))
        if rows:
            connection.execute(insert(version_tags), rows)


def move_alias(
    connection: Connection,
    model: str,
    alias: str,
    before: int | None,
    after: ModelVersion | None,
    *,
    kind: Literal["promoted", "overridden"],
    reason: str,
    by: str,
    verdict: str | None = None,
    evidence: str | None = None,
) -> None:
    """Record a move and make it. The record comes first: the guards of the alias look for it."""
    connection.execute(
        insert(alias_moves).values(
            id=new_id("move"),
            model=model,
            alias=alias,
            from_version=before,
            to_version=None if after is None else after.version,
            model_id=None if after is None else after.model_id,
            kind=kind,
            verdict=verdict,
            evidence=evidence,
            reason=reason,
            moved_by=by,
            moved_at=clock.now(),
        )
    )
    here = (aliases.c.workspace == SCOPE, aliases.c.name == model, aliases.c.alias == alias)
    if after is None:
        connection.execute(delete(aliases).where(*here))
    elif before is None:
        values = {"workspace": SCOPE, "name": model, "alias": alias, "version": after.version}
        connection.execute(insert(aliases).values(values))
    else:
        connection.execute(update(aliases).where(*here).values(version=after.version))


def _moves(model: str, alias: str) -> Select[Any]:
    return (
        select(alias_moves)
        .where(alias_moves.c.model == model, alias_moves.c.alias == alias)
        .order_by(alias_moves.c.sequence.desc())
    )


def _move(row: RowMapping) -> Move:
    return Move(
        model=row["model"],
        alias=row["alias"],
        before=row["from_version"],
        after=row["to_version"],
        kind=row["kind"],
        verdict=row["verdict"],
        evidence=row["evidence"],
        reason=row["reason"],
        by=row["moved_by"],
        at=row["moved_at"],
    )
