"""What the catalog knows of one table or view."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from headrace.catalog.names import TableName


@dataclass(frozen=True)
class Entry:
    """One table or view.

    Attributes:
        name: its qualified name.
        kind: ``table`` or ``view``.
        location: absolute directory of a table's Delta log; ``None`` for a view.
        definition: the query of a view; ``None`` for a table.
        comment: what a person wrote about it.
        managed: the directory goes when the table is dropped.
        created_at: when the name was registered.
    """

    name: TableName
    kind: Literal["table", "view"]
    location: str | None
    definition: str | None
    comment: str | None
    managed: bool
    created_at: datetime
