"""The audit log: who moved what that is protected, or tried to, and how that ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Connection, insert, or_, select

from headrace import clock
from headrace.catalog.tables import audit

if TYPE_CHECKING:
    from headrace.catalog.store import Store

Outcome = Literal["done", "refused"]


@dataclass(frozen=True)
class AuditEntry:
    """One line of the log.

    Attributes:
        sequence: its place; entries are in this order whatever the clock did.
        at: when.
        action: what was done or tried, such as ``alias.move``, ``approval`` or ``key.rotate``.
        object: to what, such as ``device_failure@production``.
        outcome: done or refused.
        by: who, as ``identity.principal`` names him.
        details: facts of the action.
    """

    sequence: int
    at: datetime
    action: str
    object: str
    outcome: str
    by: str
    details: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The entry as plain values."""
        return {
            "sequence": self.sequence,
            "at": clock.iso(self.at),
            "action": self.action,
            "object": self.object,
            "outcome": self.outcome,
            "by": self.by,
            "details": self.details,
        }


def record(
    connection: Connection,
    action: str,
    object: str,
    *,
    outcome: Outcome = "done",
    by: str,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Add an entry in the caller's transaction: it stays exactly if what it tells of does."""
    connection.execute(
        insert(audit).values(
            at=clock.now(),
            action=action,
            object=object,
            outcome=outcome,
            by=by,
            details=dict(details or {}),
        )
    )


class Audit:
    """The log of one project."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def record(
        self,
        action: str,
        object: str,
        *,
        outcome: Outcome = "done",
        by: str,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Add an entry in a transaction of its own."""
        with self.store.begin() as connection:
            record(connection, action, object, outcome=outcome, by=by, details=details)

    def entries(
        self,
        object: str | None = None,
        *,
        by: str | None = None,
        action: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> list[AuditEntry]:
        """Entries, newest first.

        Args:
            object: of this object, or of a model's versions and aliases where it names a model.
            by: of one person.
            action: of one action.
            since: no older ones.
            limit: at most so many.
        """
        query = select(audit).order_by(audit.c.sequence.desc())
        if object is not None:
            query = query.where(
                or_(
                    audit.c.object == object,
                    audit.c.object.startswith(f"{object}@", autoescape=True),
                    audit.c.object.startswith(f"{object}/", autoescape=True),
                )
            )
        if by is not None:
            query = query.where(audit.c.by == by)
        if action is not None:
            query = query.where(audit.c.action == action)
        if since is not None:
            query = query.where(audit.c.at >= since)
        if limit is not None:
            query = query.limit(limit)
        with self.store.reading() as connection:
            return [AuditEntry(**row) for row in connection.execute(query).mappings()]
