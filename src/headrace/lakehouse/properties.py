"""Table properties, which live in the table's metadata.

A table some of whose versions are needed for long is *held*: while it is, its retention
properties tell every Delta engine to remove nothing. What the properties were, or were set to
since, waits in another property for the day on which the table is let go.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace.lakehouse.opening import delta_errors, directory, open_table
from headrace.lakehouse.retry import retry

if TYPE_CHECKING:
    from deltalake import DeltaTable

HELD: Final = "headrace.held"

_FOREVER: Final = "interval 36500 days"
_GUARDS: Final = {
    "delta.deletedFileRetentionDuration": _FOREVER,
    "delta.logRetentionDuration": _FOREVER,
    "delta.enableExpiredLogCleanup": "false",
}
#: Delta's own defaults; delta-rs cannot take a property away.
_DEFAULTS: Final = {
    "delta.deletedFileRetentionDuration": "interval 7 days",
    "delta.logRetentionDuration": "interval 30 days",
    "delta.enableExpiredLogCleanup": "true",
}


def set_properties(location: str | Path, properties: Mapping[str, str]) -> int:
    """Give a table properties; no commit is made where it has them already.

    Retention properties of a table that is held take effect when it is let go.

    Returns:
        The newest version of the table.

    Raises:
        NotADeltaTableError: there is no table.
        StorageError: a value that Delta does not take.
    """

    def wanted(have: Mapping[str, str]) -> dict[str, str]:
        if not have.get(HELD):
            return dict(properties)
        later = {key: value for key, value in properties.items() if key in _GUARDS}
        now = {key: value for key, value in properties.items() if key not in _GUARDS}
        return now | {HELD: _text(_parsed(have[HELD]) | later)}

    return _set(location, wanted)


def hold(location: str | Path) -> int:
    """Let no engine remove files or log of the table by its defaults; again if another lifted it.

    Returns:
        The newest version of the table.

    Raises:
        NotADeltaTableError: there is no table.
    """

    def wanted(have: Mapping[str, str]) -> dict[str, str]:
        before = _parsed(have.get(HELD, ""))
        for key, guard in _GUARDS.items():
            if have.get(key) not in (None, guard):
                before[key] = have[key]
        return {**_GUARDS, HELD: _text(before)}

    return _set(location, wanted)


def let_go(location: str | Path) -> int:
    """Give a held table the retention properties that it would have without; others stay.

    Returns:
        The newest version of the table.

    Raises:
        NotADeltaTableError: there is no table.
    """

    def wanted(have: Mapping[str, str]) -> dict[str, str]:
        if not have.get(HELD):
            return {}
        return {**_DEFAULTS, **_parsed(have[HELD]), HELD: ""}

    return _set(location, wanted)


def is_held(location: str | Path) -> bool:
    """Whether a table is held, and nobody has changed its retention properties since.

    Raises:
        NotADeltaTableError: there is no table.
    """
    have = open_table(location).metadata().configuration
    return bool(have.get(HELD)) and all(have.get(key) == value for key, value in _GUARDS.items())


def _set(location: str | Path, wanted: Callable[[Mapping[str, str]], Mapping[str, str]]) -> int:
    path = directory(location)

    def action() -> int:
        table: DeltaTable = open_table(path)
        have = table.metadata().configuration
        new = {key: value for key, value in wanted(have).items() if have.get(key) != value}
        if new:
            with delta_errors(path):
                table.alter.set_table_properties(new, raise_if_not_exists=False)
        version: int = table.version()
        return version

    return retry(action, location=path, operation="set properties")


def _text(properties: Mapping[str, str]) -> str:
    return json.dumps(dict(sorted(properties.items())), separators=(",", ":"))


def _parsed(text: str) -> dict[str, str]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}  # somebody else's text
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}
