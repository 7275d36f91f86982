"""How many requests are in the log: fewer than were served where an endpoint samples them."""

from __future__ import annotations

from sqlalchemy import Connection, text


def upgrade(connection: Connection) -> None:
    """Count them. Whatever was served until then is in the log."""
    connection.execute(
        text("ALTER TABLE headrace_request_counts ADD COLUMN logged BIGINT NOT NULL DEFAULT 0")
    )
    connection.execute(text("UPDATE headrace_request_counts SET logged = served"))
