"""Carrying a verdict out: the alias and its record in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from headrace import clock
from headrace.gate.verdict import Verdict
from headrace.ids import new_id
from headrace.promotion.errors import ChampionChangedError
from headrace.promotion.store import alias_moves, verdicts
from headrace.registry.versions import PRODUCTION, SCOPE, alias_version, aliases, version_tags

if TYPE_CHECKING:
    from headrace.workspace import Workspace


def promote(workspace: Workspace, verdict: Verdict, alias: str = PRODUCTION) -> None:
    """Record a verdict, and if it promotes, point the alias at the candidate.

    The verdict, the tags of the version, the move and MLflow's alias are one transaction on the
    database that they share: there is no moment at which one is visible without the others. A
    refused verdict moves nothing, nor does one on the version in production: it is judged again
    when the rule changes, and a person decides what a refusal then means. The same verdict again
    changes nothing.

    Raises:
        ChampionChangedError: the alias no longer points to the champion of the verdict.
    """
    try:
        with workspace.store.begin() as connection:
            known = select(verdicts.c.id).where(verdicts.c.id == verdict.id)
            if connection.execute(known).one_or_none() is not None:
                return
            now = alias_version(connection, verdict.model, alias, for_update=True)
            if now not in (verdict.champion, verdict.version):
                raise ChampionChangedError(verdict.model, alias, verdict.champion, now)
            _record(connection, verdict, alias)
            if verdict.promoted and now != verdict.version:
                _move(connection, verdict, alias)
    except IntegrityError as error:
        # Two first champions at once: the alias had no row to lock.
        with workspace.store.reading() as connection:
            now = alias_version(connection, verdict.model, alias)
        if now == verdict.champion:
            raise
        raise ChampionChangedError(verdict.model, alias, verdict.champion, now) from error


def last_verdict(
    workspace: Workspace, model: str, version: int | None = None, gate_digest: str | None = None
) -> Verdict | None:
    """The newest verdict on a model, or on one version by one rule."""
    query = select(verdicts.c.body).where(verdicts.c.model == model)
    if version is not None:
        query = query.where(verdicts.c.version == version)
    if gate_digest is not None:
        query = query.where(verdicts.c.gate_digest == gate_digest)
    query = query.order_by(verdicts.c.judged_at.desc(), verdicts.c.id.desc()).limit(1)
    with workspace.store.reading() as connection:
        body = connection.execute(query).scalar_one_or_none()
    return None if body is None else Verdict.from_json(body)


def _record(connection: Connection, verdict: Verdict, alias: str) -> None:
    connection.execute(
        insert(verdicts).values(
            id=verdict.id,
            model=verdict.model,
            version=verdict.version,
            champion=verdict.champion,
            alias=alias,
            promoted=verdict.promoted,
            gate_digest=verdict.gate_digest,
            body=verdict.as_json(),
            judged_at=verdict.judged_at,
        )
    )
    tags = {
        "headrace.verdict": "promoted" if verdict.promoted else "refused",
        "headrace.verdict_id": verdict.id,
        "headrace.verdict_summary": verdict.summary,
        f"headrace.{verdict.metric}": repr(verdict.candidate),
    }
    of_version = (
        version_tags.c.workspace == SCOPE,
        version_tags.c.name == verdict.model,
        version_tags.c.version == verdict.version,
    )
    connection.execute(delete(version_tags).where(*of_version, version_tags.c.key.in_(tags)))
    connection.execute(
        insert(version_tags),
        [
            {
                "workspace": SCOPE,
                "name": verdict.model,
                "version": verdict.version,
                "key": key,
                "value": value,
            }
            for key, value in tags.items()
        ],
    )


def _move(connection: Connection, verdict: Verdict, alias: str) -> None:
    if verdict.champion is None:
        connection.execute(
            insert(aliases).values(
                workspace=SCOPE, name=verdict.model, alias=alias, version=verdict.version
            )
        )
    else:
        connection.execute(
            update(aliases)
            .where(
                aliases.c.workspace == SCOPE,
                aliases.c.name == verdict.model,
                aliases.c.alias == alias,
            )
            .values(version=verdict.version)
        )
    connection.execute(
        insert(alias_moves).values(
            id=new_id("move"),
            model=verdict.model,
            alias=alias,
            from_version=verdict.champion,
            to_version=verdict.version,
            verdict=verdict.id,
            reason=verdict.summary,
            moved_at=clock.now(),
        )
    )
