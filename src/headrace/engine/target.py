"""Where rows are to be written."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from headrace import lakehouse
from headrace.catalog import (
    Access,
    LocationTakenError,
    NameTakenError,
    TableName,
    TableNotFoundError,
)
from headrace.engine import files
from headrace.engine.errors import (
    LocationHoldsTableError,
    NotATableError,
    UnsupportedStatementError,
)
from headrace.engine.resolve import is_path
from headrace.engine.rewrite import parts_of

if TYPE_CHECKING:
    from headrace.engine.state import SessionState


@dataclass(frozen=True)
class Target:
    """A table, by name or by location, that a statement writes to.

    Attributes:
        location: absolute directory of its Delta log, or an address.
        name: its name; ``None`` for a path that no table of the catalog has.
        registered: the catalog holds the name, or it is a path where a table lies.
    """

    location: str
    name: TableName | None
    registered: bool

    @property
    def label(self) -> str:
        """What to call it in an error."""
        return str(self.name or self.location)

    @property
    def version(self) -> int | None:
        """Its newest Delta version; ``None`` where there is none."""
        return None if files.is_remote(self.location) else lakehouse.latest_version(self.location)

    def access(self, version: int | None) -> Access:
        """The write of that version, for the lineage."""
        if self.name is None:
            return Access("path", self.location, version, None, self.location)
        return Access("table", str(self.name), version, None, self.location)


def find(state: SessionState, text: str, action: str) -> Target:
    """The target that a name in an API call stands for, which need not exist yet.

    Raises:
        NotATableError: it is a view.
        InvalidNameError: it cannot be a name.
    """
    return of_parts(state, parts_of(text), action)


def of_parts(state: SessionState, parts: tuple[str, ...], action: str) -> Target:
    """As ``find``, of a name that has been split."""
    if is_path(parts):
        if parts[0].lower() != "delta":
            raise UnsupportedStatementError(
                f"{action} on {parts[0]}.`{parts[1]}`",
                "rows can be changed in Delta tables alone",
                f'df.write.mode("append").{parts[0].lower()}(path)',
            )
        return at_path(state, parts[1])
    if state.temp_view(parts) is not None:
        raise NotATableError(".".join(parts), "temporary view", action)
    name = state.qualified(parts)
    entry = state.catalog.find(name)
    if entry is None:
        return Target(str(state.catalog.location_for(name)), name, False)
    if entry.kind == "view":
        raise NotATableError(str(name), "view", action)
    return Target(str(entry.location), name, True)


def existing(state: SessionState, parts: tuple[str, ...], action: str) -> Target:
    """As ``of_parts``, of a table that must be there.

    Raises:
        TableNotFoundError: it is not.
    """
    found = of_parts(state, parts, action)
    if not found.registered:
        if found.name is None:
            raise TableNotFoundError(found.location)
        state.resolve(parts)
    return found


def at_path(state: SessionState, path: str) -> Target:
    """The Delta table at a path; one that the catalog knows is written under its name."""
    location = files.absolute(path, state.paths.root)
    if files.is_remote(location):
        return Target(location, None, True)
    name = state.catalog.at_location(location)
    if name is None:
        name = _managed_name(state, Path(location))
        if name is not None:
            return Target(location, name, False)
    return Target(location, name, name is not None or lakehouse.exists(location))


def placed(state: SessionState, found: Target, path: str, *, may_replace: bool) -> Target:
    """The target of a table that is to lie at a path.

    Args:
        found: the target of its name.
        may_replace: the rows of a table that lies there without a name may go.

    Raises:
        NameTakenError: the table is there, and lies elsewhere.
        LocationTakenError: a table of another name lies at the path.
        LocationHoldsTableError: a table without a name lies there, and may not be replaced.
    """
    location = files.absolute(path, state.paths.root)
    if files.is_remote(location):
        raise UnsupportedStatementError(
            f"A name for {location}",
            "the catalog names tables on this machine",
            f'df.write.format("delta").save("{location}")',
        )
    owner = state.catalog.at_location(location)
    if found.registered and owner != found.name:
        raise NameTakenError(found.label, f"table in {found.location}", f"table in {location}")
    if owner not in {None, found.name}:
        raise LocationTakenError(location, found.label, str(owner))
    if not (found.registered or may_replace) and lakehouse.exists(location):
        raise LocationHoldsTableError(location, found.label)
    return replace(found, location=location)


@contextmanager
def creating(state: SessionState, found: Target) -> Iterator[Target]:
    """Create a table at a time: the target as it is once no other process creates it.

    Between a table's first commit and the registration of its name it looks like one that a
    killed process left behind. The lock ends with the process that holds it.
    """
    digest = hashlib.sha256(found.label.encode()).hexdigest()[:16]
    with (state.paths.temporary / f"create-{digest}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if found.name is not None:
            entry = state.catalog.find(found.name)
            yield found if entry is None else replace(found, registered=True)
        else:
            yield replace(found, registered=found.version is not None)


def _managed_name(state: SessionState, location: Path) -> TableName | None:
    """The name whose managed directory this is: a path below the warehouse is a table's."""
    warehouse = state.catalog.warehouse
    if not location.is_relative_to(warehouse):
        return None
    parts = location.relative_to(warehouse).parts
    return TableName(*parts) if len(parts) == 3 else None
