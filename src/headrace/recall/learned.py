"""Models that learned from recalled data, and those that were judged on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect, select

from headrace.pins import pinned
from headrace.project.notices import RECALLED
from headrace.promotion.store import verdicts
from headrace.recall.found import ReachedHoldout, ReachedModel
from headrace.recall.marks import Certainty
from headrace.recall.nodes import ModelOf, RunOf
from headrace.registry.versions import SCOPE, aliases, version_tags
from headrace.tracking.store import holdouts as frozen

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.recall.closure import Closure, Span
    from headrace.recall.find import Reach
    from headrace.recall.found import How
    from headrace.workspace import Workspace


def models(workspace: Workspace, closure: Closure, reach: Reach) -> list[ReachedModel]:
    """Versions of the registry and logged models, those in production first."""
    records = closure.records
    facts = _Registry(workspace)
    pins = _Pins(workspace, closure)
    found: list[ReachedModel] = []
    trained: set[tuple[str, int]] = set()
    for node in [each for each in closure.marks if isinstance(each, ModelOf)]:
        sure = _word(closure.certainty(node))
        named = [(n, v) for model_id, n, v in records.registered() if model_id == node.model_id]
        sources = [hop.source for hop, _ in closure.way(node)]
        run = next((each.run_id for each in sources if isinstance(each, RunOf)), None)
        trained.update(named)
        every: list[tuple[str, int] | tuple[None, None]] = [*named] or [(None, None)]
        for name, version in every:
            found.append(
                ReachedModel(
                    name=name,
                    version=version,
                    model_id=node.model_id,
                    run_id=run,
                    aliases=facts.aliases(name, version),
                    relation="trained on",
                    certainty=sure,
                    pinned=pins.of(name, version),
                    recalled=facts.recalled(name, version),
                    how=reach.how(node),
                )
            )
    found += _judged(workspace, closure, facts, trained)
    return sorted(found, key=_by_weight)


def holdouts(workspace: Workspace, closure: Closure) -> list[ReachedHoldout]:
    """Frozen hold-outs whose rows are those of a reached version."""
    with workspace.store.reading() as connection:
        rows = connection.execute(select(frozen)).all()
    found = []
    for row in rows:
        sure = held_at(closure, row.table_name, row.table_version, row.created_at)
        if sure is not None:
            found.append(
                ReachedHoldout(
                    row.digest,
                    row.model,
                    row.table_name,
                    row.table_version,
                    row.rows,
                    _word(sure),
                )
            )
    return found


def held_at(closure: Closure, name: str, version: int, moment: datetime) -> Certainty | None:
    """How surely the version that a table had at a moment holds the data."""
    best: Certainty | None = None
    spans = closure.spans()
    for key in closure.records.keys_of(name):
        for number, life in enumerate(closure.lives(key)):
            for span in spans.get((key, number), ()) if life.at(moment) else ():
                if _holds(span, version) and (best is None or span.certainty > best):
                    best = span.certainty
    return best


def _holds(span: Span, version: int) -> bool:
    return span.rows.version <= version and (span.until is None or version < span.until)


def _judged(
    workspace: Workspace, closure: Closure, facts: _Registry, trained: set[tuple[str, int]]
) -> Iterator[ReachedModel]:
    """Versions that a gate compared on a hold-out that holds the data."""
    held = {each.digest: each.certainty for each in holdouts(workspace, closure)}
    if not held:
        return
    with workspace.store.reading() as connection:
        rows = connection.execute(
            select(verdicts.c.model, verdicts.c.version, verdicts.c.champion, verdicts.c.body)
        ).all()
    told = set(trained)
    for row in rows:
        digest = _holdout_of(row.body)
        if digest not in held:
            continue
        for version in (row.version, row.champion):
            if version is None or (row.model, version) in told:
                continue
            told.add((row.model, version))
            yield ReachedModel(
                name=row.model,
                version=version,
                model_id=None,
                run_id=None,
                aliases=facts.aliases(row.model, version),
                relation="judged with",
                certainty=held[digest],
                pinned=(),
                recalled=facts.recalled(row.model, version),
                how=(),
            )


def _holdout_of(body: Any) -> str | None:
    """The hold-out of a verdict, wherever it stands in its body."""
    pending = [body]
    while pending:
        found = pending.pop()
        if isinstance(found, dict):
            digest = found.get("holdout_digest")
            if isinstance(digest, str):
                return digest
            pending += found.values()
        elif isinstance(found, list):
            pending += found
    return None


class _Registry:
    """Aliases and tags of registered versions."""

    def __init__(self, workspace: Workspace) -> None:
        self._aliases: dict[tuple[str, int], list[str]] = {}
        self._recalled: dict[tuple[str, int], str] = {}
        with workspace.store.reading() as connection:
            if not inspect(connection).has_table(aliases.name):
                return
            query = select(aliases.c.name, aliases.c.version, aliases.c.alias)
            for row in connection.execute(query.where(aliases.c.workspace == SCOPE)):
                self._aliases.setdefault((row.name, int(row.version)), []).append(row.alias)
            tags = select(version_tags.c.name, version_tags.c.version, version_tags.c.value)
            for row in connection.execute(tags.where(version_tags.c.key == RECALLED)):
                self._recalled[row.name, int(row.version)] = row.value

    def aliases(self, name: str | None, version: int | None) -> tuple[str, ...]:
        if name is None or version is None:
            return ()
        return tuple(sorted(self._aliases.get((name, version), ())))

    def recalled(self, name: str | None, version: int | None) -> str | None:
        return None if name is None or version is None else self._recalled.get((name, version))


class _Pins:
    """Pins of versions that hold the data."""

    def __init__(self, workspace: Workspace, closure: Closure) -> None:
        self._found: dict[tuple[str, int], list[str]] = {}
        for each in pinned(workspace.store):
            if held_at(closure, each.name, each.table_version, each.pinned_at) is not None:
                found = self._found.setdefault((each.model, each.version), [])
                found.append(f"{each.name}@{each.table_version}")

    def of(self, name: str | None, version: int | None) -> tuple[str, ...]:
        if name is None or version is None:
            return ()
        return tuple(sorted(self._found.get((name, version), ())))


def _word(certainty: Certainty | None) -> How:
    return "certain" if certainty is Certainty.CERTAIN else "possible"


def _by_weight(model: ReachedModel) -> tuple[bool, bool, bool, str, int]:
    return (
        not model.aliases,
        model.relation != "trained on",
        model.certainty != "certain",
        model.name or "",
        -(model.version or 0),
    )
