"""Making pins, listing them, and letting them go."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import Connection, Row, and_, delete, select, update

from headrace import clock, lakehouse
from headrace.catalog import Access, audit
from headrace.catalog.store import insert_or_skip
from headrace.crash import crash_point
from headrace.pins import mlflow_registry
from headrace.pins.errors import NoPinsError
from headrace.pins.needs import Need, location_of, needed
from headrace.pins.store import pins

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

    from headrace.catalog import Entry, Store
    from headrace.workspace import Workspace


_DELETED: Final = "the version was deleted"


@dataclass(frozen=True)
class Pin:
    """One table version that one model version needs.

    Attributes:
        model, version: the model version.
        name: qualified name of the table, or the path of one that has none.
        table_version: the Delta version.
        kind: ``table`` or ``path``.
        table_id: of the table that was read; ``None`` where it was gone when it was pinned.
        why: ``trained on``, ``hold-out``, or both.
        pinned_at: when.
        released_at: when it was let go; ``None`` while it holds.
        reason: why it was let go.
    """

    model: str
    version: int
    name: str
    table_version: int
    kind: Literal["table", "path"]
    table_id: str | None
    why: str
    pinned_at: datetime
    released_at: datetime | None = None
    reason: str | None = None

    @property
    def access(self) -> Access:
        """The table version."""
        return Access(self.kind, self.name, self.table_version)

    def __str__(self) -> str:
        return f"{self.model}/{self.version}"


@dataclass(frozen=True)
class Synced:
    """What changed when pins were compared with the registry."""

    pinned: tuple[Pin, ...] = ()
    released: tuple[Pin, ...] = ()


def changing(store: Store) -> AbstractContextManager[None]:
    """While it is held no pin is made or released: files are removed by pins that are in force."""
    return store.lock("pins")


def pin(connection: Connection, model: str, version: int, tables: Iterable[Need]) -> int:
    """Pin table versions for a model version; how many are new.

    A released pin stays released, but for those of a deleted version whose number is used again.
    """
    connection.execute(
        delete(pins).where(
            pins.c.model == model, pins.c.version == version, pins.c.reason == _DELETED
        )
    )
    return sum(
        insert_or_skip(
            connection,
            pins,
            {
                "model": model,
                "version": version,
                "name": need.access.name,
                "table_version": need.access.version,
                "kind": need.access.kind,
                "table_id": need.table_id,
                "why": need.why,
                "pinned_at": clock.now(),
            },
        )
        for need in tables
    )


def pin_version(
    workspace: Workspace, model: str, version: int, run_id: str | None, tags: Mapping[str, str]
) -> None:
    """Pin all that a registered version needs, and protect the tables. Safe to repeat."""
    tables = needed(workspace, run_id, tags)
    with changing(workspace.store):
        with workspace.store.begin() as connection:
            pin(connection, model, version, tables)
        crash_point("pins.pinned")
    protect(workspace, {need.access.name for need in tables if need.access.kind == "table"})


def pinned(
    store: Store, table: str | None = None, *, model: str | None = None, released: bool = False
) -> list[Pin]:
    """Pins in force, by model, version and table.

    Args:
        store: the database.
        table: qualified name; those of all tables if not given.
        model: registered model name; those of all models if not given.
        released: also those that were let go.
    """
    conditions = [
        condition
        for condition, wanted in (
            (pins.c.name == table, table is not None),
            (pins.c.model == model, model is not None),
            (pins.c.released_at.is_(None), not released),
        )
        if wanted
    ]
    query = (
        select(pins)
        .where(and_(True, *conditions))
        .order_by(pins.c.model, pins.c.version, pins.c.name, pins.c.table_version)
    )
    with store.reading() as connection:
        return [_pin(row) for row in connection.execute(query)]


def kept(store: Store, entry: Entry) -> list[Pin]:
    """The pins on the table that is there now, and not on one that had its name before.

    Those of a run among them that read it by its path, before it had the name.
    """
    if entry.location is None:
        return []
    there = Path(entry.location).resolve()
    found = [
        each
        for each in pinned(store)
        if (
            Path(each.name).resolve() == there
            if each.kind == "path"
            else each.name == str(entry.name)
        )
    ]
    return on_table(entry.location, found)


def on_table(location: str, found: list[Pin]) -> list[Pin]:
    """Those of the pins that are on the table at a location, also under an id that it had."""
    now = lakehouse.table_id(location) if found else None
    if all(each.table_id == now for each in found):
        return found
    ids = lakehouse.table_ids(location)
    return [each for each in found if each.table_id in ids]


def release(workspace: Workspace, model: str, version: int, *, reason: str, by: str) -> list[Pin]:
    """Let the pins of a version go; what they alone kept goes with the next maintenance.

    Raises:
        NoPinsError: the version has none in force.
    """
    found = [each for each in pinned(workspace.store, model=model) if each.version == version]
    if not found:
        raise NoPinsError(model, version, [str(each) for each in pinned(workspace.store)])
    _release(workspace, found, reason, by)
    return found


def sync(
    workspace: Workspace,
    expire: timedelta | None = None,
    in_use: Collection[tuple[str, int]] = (),
) -> Synced:
    """Make the pins what the registry asks for: the way that heals whatever was cut off.

    Versions without pins get theirs, also those that a client of MLflow's registered; those that
    MLflow no longer holds lose theirs; and so do old ones, if pins expire.

    Args:
        workspace: the project.
        expire: how long a version that no alias names keeps its pins; always if not given.
        in_use: versions that do not expire, by model and number.
    """
    known = mlflow_registry.registered(workspace.store)
    if known is None:
        return Synced()
    have = {
        (each.model, each.version)
        for each in pinned(workspace.store, released=True)
        if each.reason != _DELETED
    }
    before = {each.access for each in pinned(workspace.store)}
    for each in known:
        if (each.model, each.version) not in have:
            pin_version(workspace, each.model, each.version, each.run_id, each.tags)
    active = pinned(workspace.store)
    made = tuple(each for each in active if (each.model, each.version) not in have)
    live = {(each.model, each.version): each for each in known}
    gone = [each for each in active if (each.model, each.version) not in live]
    _release(workspace, gone, _DELETED, "headrace")
    old = [
        each
        for each in active
        if expire is not None
        and each.pinned_at + expire < clock.now()
        and (version := live.get((each.model, each.version))) is not None
        and not version.aliases
        and (each.model, each.version) not in in_use
    ]
    if expire is not None:
        days = expire / timedelta(days=1)
        _release(
            workspace, old, f"no alias names it, and pins expire after {days:g} days", "policy"
        )
    if before:
        protect(workspace, {access.name for access in before if access.kind == "table"})
    return Synced(made, (*gone, *old))


def protect(workspace: Workspace, tables: Iterable[str]) -> None:
    """Hold the managed tables that are pinned, and let go of those that no longer are.

    Tables that lie elsewhere belong to somebody else, whose properties stay what they are.

    Raises:
        DeltaConflictError: other writers won.
    """
    for name in sorted(set(tables)):
        entry = workspace.catalog.find(name)
        if entry is None or not entry.managed or location_of(workspace, _table(name)) is None:
            continue
        location = str(entry.location)
        if not lakehouse.exists(location):
            continue
        if kept(workspace.store, entry):
            lakehouse.hold(location)
        else:
            lakehouse.let_go(location)


def _release(workspace: Workspace, found: list[Pin], reason: str, by: str) -> None:
    if not found:
        return
    with changing(workspace.store), workspace.store.begin() as connection:
        for each in found:
            connection.execute(
                update(pins)
                .where(
                    pins.c.model == each.model,
                    pins.c.version == each.version,
                    pins.c.name == each.name,
                    pins.c.table_version == each.table_version,
                )
                .values(released_at=clock.now(), released_by=by, reason=reason)
            )
        for name in dict.fromkeys(str(each) for each in found):
            audit.record(connection, "pins.release", name, by=by, details={"reason": reason})
    protect(workspace, {each.name for each in found if each.kind == "table"})


def _table(name: str) -> Access:
    return Access("table", name)


def _pin(row: Row[Any]) -> Pin:
    return Pin(
        model=row.model,
        version=row.version,
        name=row.name,
        table_version=row.table_version,
        kind=row.kind,
        table_id=row.table_id,
        why=row.why,
        pinned_at=row.pinned_at,
        released_at=row.released_at,
        reason=row.reason,
    )
