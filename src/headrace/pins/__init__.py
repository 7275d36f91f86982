"""Pins: the table versions that a registered model was made from stay readable.

::

    for pin in pinned(workspace.store, "main.gold.features"):
        print(pin.model, pin.version, pin.table_version, pin.why)
    broken(workspace.store, workspace.catalog)  # what is lost already

A version is pinned when it is registered. Maintenance keeps what pins need.
"""

from __future__ import annotations

from headrace.pins.broken import BrokenPin as BrokenPin
from headrace.pins.broken import broken as broken
from headrace.pins.errors import NoPinsError as NoPinsError
from headrace.pins.needs import Need as Need
from headrace.pins.needs import needed as needed
from headrace.pins.pin import Pin as Pin
from headrace.pins.pin import Synced as Synced
from headrace.pins.pin import changing as changing
from headrace.pins.pin import kept as kept
from headrace.pins.pin import pin as pin
from headrace.pins.pin import pin_version as pin_version
from headrace.pins.pin import pinned as pinned
from headrace.pins.pin import protect as protect
from headrace.pins.pin import release as release
from headrace.pins.pin import sync as sync

__all__ = [
    "BrokenPin",
    "Need",
    "NoPinsError",
    "Pin",
    "Synced",
    "broken",
    "changing",
    "kept",
    "needed",
    "pin",
    "pin_version",
    "pinned",
    "protect",
    "release",
    "sync",
]
