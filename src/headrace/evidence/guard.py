"""Before a version is used under a protected alias: does its evidence hold?"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from sqlalchemy import Connection, column, inspect, select, table

from headrace.catalog import guards
from headrace.evidence.case import About
from headrace.evidence.chain import evidence_of
from headrace.evidence.digests import remove_bytecode
from headrace.evidence.errors import (
    AliasUnstatedError,
    EvidenceMissingError,
    EvidenceRefusedError,
)
from headrace.evidence.keys import Keys
from headrace.evidence.statement import GRANTING
from headrace.evidence.store import statements
from headrace.evidence.verify import verify
from headrace.ids import new_id

if TYPE_CHECKING:
    from headrace.catalog import Store
    from headrace.settings import Paths

log = logging.getLogger(__name__)

_PRODUCTION: Final = "production"

_aliases: Final = table(
    "registered_model_aliases",
    column("workspace"),
    column("name"),
    column("alias"),
    column("version"),
)


def protected_alias(paths: Paths, store: Store | None, reference: str) -> str | None:
    """The alias of ``name@alias`` if the project protects it; ``None`` of any other reference.

    Args:
        paths: the project.
        store: its database; ``None`` while that is away, and what it last said counts.
        reference: ``name@alias`` or ``name/version``.
    """
    alias = reference.partition("@")[2]
    return alias if alias and alias.lower() in _protected(paths, store) else None


def _protected(paths: Paths, store: Store | None) -> set[str]:
    copy = paths.state / "evidence" / "protected"
    if store is not None:
        with store.reading() as connection:
            names = guards.protected(connection)
        _keep(copy, "\n".join(sorted(names)).encode())
        return names
    return set(copy.read_text().split()) if copy.is_file() else {_PRODUCTION}


def check(
    paths: Paths, store: Store | None, name: str, version: int, alias: str, model: Path | None
) -> None:
    """Let a version pass if a statement gives it the alias, and its files are those of it.

    Bytecode that lies beside the model's code is removed: nobody signed it, and it would run.

    What passes is remembered in the project, for a scoring plane whose database is away.

    Args:
        paths: the project.
        store: its database; ``None`` while that is away.
        name, version: which.
        alias: the protected one that it is used under, now or before.
        model: directory of the model's files; ``None`` where they are on another machine.

    Raises:
        EvidenceError: no statement does, or it does not verify; a subclass says which.
    """
    copy = _copy(paths, name, version, alias)
    if store is None:
        if not copy.is_file():
            raise EvidenceMissingError(name, version, alias)
        envelope = copy.read_bytes()
    else:
        given = evidence_of(store, name, version)
        granting = (each for each in given if each.kind in GRANTING and _same(each.alias, alias))
        newest = next(granting, None)
        if newest is None:
            raise EvidenceMissingError(name, version, alias)
        envelope = newest.envelope
    about = About(name, version, alias)
    if model is not None:
        try:
            remove_bytecode(model)
        except OSError as error:
            problem = f"bytecode that nobody signed cannot be removed: {error}"
            raise EvidenceRefusedError(name, version, alias, [problem]) from error
    found = verify(envelope, Keys(paths).public(), model=model, about=about)
    if not found.ok:
        raise EvidenceRefusedError(name, version, alias, found.problems)
    if found.kind not in GRANTING:
        problem = f"it is a decision of kind {found.kind}"
        raise EvidenceRefusedError(name, version, alias, [problem])
    if store is not None:
        _keep(copy, envelope)


def check_alias(store: Store, name: str, version: int, alias: str) -> None:
    """Let a version pass that an alias was resolved to, if a statement put the alias there.

    A version that had the alias earlier has evidence too, and an alias that was moved back in the
    database would lead to it.

    Raises:
        AliasUnstatedError: the last statement on the alias gives it to another version, or to none.
    """
    with store.reading() as connection:
        found = _stated(connection, name, alias)
        if not found or version in found:
            return
        (stated,) = found
        # It may have moved since it was resolved: that is no contradiction.
        if _pointed(connection, name, alias) == version:
            raise AliasUnstatedError(name, version, alias, stated)


def _stated(connection: Connection, name: str, alias: str) -> tuple[int | None] | tuple[()]:
    """The version of the last statement on an alias, none where it was taken away; if there is one."""
    query = (
        select(statements.c.version, statements.c.alias)
        .where(statements.c.model == name, statements.c.kind.in_(GRANTING))
        .order_by(statements.c.sequence.desc())
    )
    for row in connection.execute(query):
        if _same(row.alias, alias):
            return (row.version,)
    return ()


def _pointed(connection: Connection, name: str, alias: str) -> int | None:
    if not inspect(connection).has_table(_aliases.name):
        return None
    query = select(_aliases.c.version).where(
        _aliases.c.workspace == "default", _aliases.c.name == name, _aliases.c.alias == alias
    )
    found = connection.scalar(query)
    return None if found is None else int(found)


def _same(stated: str | None, alias: str) -> bool:
    # One that differs by case alone is protected as well.
    return stated is not None and stated.lower() == alias.lower()


def _copy(paths: Paths, name: str, version: int, alias: str) -> Path:
    return (
        paths.state / "evidence" / f"{quote(name, safe='')}@{quote(alias, safe='')}-{version}.json"
    )


def _keep(copy: Path, envelope: bytes) -> None:
    try:
        if copy.is_file() and copy.read_bytes() == envelope:
            return
        copy.parent.mkdir(mode=0o700, exist_ok=True)
        fresh = copy.with_name(new_id("partial"))
        fresh.write_bytes(envelope)
        fresh.replace(copy)
    except OSError as error:
        # Only a start without the database needs it.
        log.warning("%s cannot be kept: %s", copy, error)
