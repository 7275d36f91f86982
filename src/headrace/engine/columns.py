"""Which columns of each read a plan uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import Relation


def used(relation: Relation) -> dict[int, frozenset[str] | None]:
    """By plan id of each read: the columns used, or ``None`` for all or unknown."""
    return {}
