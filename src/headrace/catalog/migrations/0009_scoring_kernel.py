"""How each batch scoring was computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection


def upgrade(connection: Connection) -> None:
    """Add what predicted the rows: a kernel or an environment, by its digest."""
    connection.execute(text("ALTER TABLE headrace_scorings ADD COLUMN scorer VARCHAR(128)"))
