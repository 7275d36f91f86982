"""Table properties, which live in the table's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from headrace.lakehouse.opening import delta_errors, directory, open_table
from headrace.lakehouse.retry import retry


def set_properties(location: str | Path, properties: Mapping[str, str]) -> int:
    """Give a table properties; no commit is made where it has them already.

    Returns:
        The newest version of the table.

    Raises:
        NotADeltaTableError: there is no table.
        StorageError: a value that Delta does not take.
    """
    path = directory(location)

    def action() -> int:
        table = open_table(path)
        have = table.metadata().configuration
        new = {key: value for key, value in properties.items() if have.get(key) != value}
        if new:
            with delta_errors(path):
                table.alter.set_table_properties(new, raise_if_not_exists=False)
        version: int = table.version()
        return version

    return retry(action, location=path, operation="set properties")
