"""What an endpoint's rollout decides, and the numbers it decided on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection


def upgrade(connection: Connection) -> None:
    """Add what rollouts record."""
