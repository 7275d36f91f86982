"""Pins whose table version can no longer be read: found as it happens, not when it is needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from headrace import clock, lakehouse
from headrace.errors import HeadraceError
from headrace.pins.needs import is_remote
from headrace.pins.pin import Pin, on_table, pinned
from headrace.pins.store import pin_checks

if TYPE_CHECKING:
    from headrace.catalog import Catalog, Store


@dataclass(frozen=True)
class BrokenPin:
    """A table version that a model version needs, and that is lost.

    Attributes:
        pin: which.
        why: what happened to it.
        files: data files of it that are gone or damaged, where the table still names them.
    """

    pin: Pin
    why: str
    files: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "model": self.pin.model,
            "version": self.pin.version,
            "table": self.pin.name,
            "table_version": self.pin.table_version,
            "why": self.why,
            "files": list(self.files),
        }


def broken(store: Store, catalog: Catalog) -> list[BrokenPin]:
    """The pins in force whose rows cannot be read any more.

    Looks at names and sizes of files, and reads a table's log only when they have changed.
    """
    found: list[BrokenPin] = []
    by_table = sorted(pinned(store), key=lambda pin: (pin.kind, pin.name))
    for (kind, name), group in groupby(by_table, key=lambda pin: (pin.kind, pin.name)):
        of_table = list(group)
        location: str | None = name
        if kind == "table":
            entry = catalog.find(name)
            location = entry.location if entry is not None else None
        if location is None:
            found += [BrokenPin(pin, f"{name} was dropped") for pin in of_table]
        elif not is_remote(location):
            try:
                found += _of_table(store, location, of_table)
            except HeadraceError as error:
                why = error.what + (f" {error.why}" if error.why else "")
                found += [BrokenPin(pin, why) for pin in of_table]
    return sorted(found, key=lambda each: (each.pin.model, each.pin.version, each.pin.name))


def _of_table(store: Store, location: str, pins: list[Pin]) -> list[BrokenPin]:
    name = pins[0].name
    if not lakehouse.exists(location):
        return [BrokenPin(pin, f"no Delta log is behind {name}") for pin in pins]
    same = on_table(location, pins)
    made_again = f"{name} was dropped and made again"
    found = [BrokenPin(pin, made_again) for pin in pins if pin not in same]
    missing = _missing(store, name, location, {pin.table_version for pin in same})
    for pin in same:
        files = missing[pin.table_version]
        if files is None:
            why = f"the log of {name} no longer leads to version {pin.table_version}"
            found.append(BrokenPin(pin, why))
        elif files:
            lost = f"{len(files):,} file{'s' if len(files) > 1 else ''}"
            why = f"{lost} of {name} at version {pin.table_version} gone or damaged"
            found.append(BrokenPin(pin, why, tuple(files)))
    return found


def _missing(
    store: Store, name: str, location: str, versions: Iterable[int]
) -> dict[int, list[str] | None]:
    """What ``lakehouse.missing`` finds, remembered until the table's directory changes."""
    wanted = sorted(versions)
    if not wanted:
        return {}
    listing = lakehouse.listing_digest(location)
    with store.reading() as connection:
        row = connection.execute(select(pin_checks).where(pin_checks.c.name == name)).one_or_none()
    if row is not None and row.listing == listing:
        known = {int(version): files for version, files in row.found.items()}
        if known.keys() >= set(wanted):
            return known
    found = lakehouse.missing(location, wanted)
    if lakehouse.listing_digest(location) == listing:
        with store.begin() as connection:
            connection.execute(delete(pin_checks).where(pin_checks.c.name == name))
            connection.execute(
                insert(pin_checks).values(
                    name=name,
                    listing=listing,
                    found={str(version): files for version, files in found.items()},
                    checked_at=clock.now(),
                )
            )
    return found
