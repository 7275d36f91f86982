"""When pins expire."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.clock import iso
from headrace.maintenance.needs import served
from headrace.pins import mlflow_registry

if TYPE_CHECKING:
    from headrace.maintenance.spec import MaintenanceSpec
    from headrace.workspace import Workspace


@dataclass(frozen=True)
class Expiry:
    """What ends the pins of a model version.

    Attributes:
        after: how long they hold; ``None``: for good.
        kept_by: why they do not expire now: aliases, or an endpoint.
        deleted: the version is gone, and the next maintenance releases them.
    """

    after: timedelta | None = None
    kept_by: tuple[str, ...] = ()
    deleted: bool = False

    def at(self, pinned_at: datetime) -> datetime | None:
        """When a pin expires; ``None`` where nothing but a release ends it."""
        return None if self.after is None or self.kept_by else pinned_at + self.after

    def text(self, pinned_at: datetime) -> str:
        """For a person."""
        if self.deleted:
            return "version deleted"
        moment = self.at(pinned_at)
        if moment is not None:
            return moment.strftime("%Y-%m-%d")
        return f"never while {', '.join(self.kept_by)}" if self.kept_by else "never"

    def as_json(self, pinned_at: datetime) -> dict[str, Any]:
        """As plain values."""
        moment = self.at(pinned_at)
        return {
            "at": None if moment is None else iso(moment),
            "kept_by": list(self.kept_by),
            "version_deleted": self.deleted,
        }


def expiries(workspace: Workspace, spec: MaintenanceSpec) -> Mapping[tuple[str, int], Expiry]:
    """What ends the pins of each registered version, by model and number."""
    answering = served(workspace)
    found: dict[tuple[str, int], Expiry] = defaultdict(lambda: Expiry(deleted=True))
    for each in mlflow_registry.registered(workspace.store) or ():
        key = each.model, each.version
        kept_by = [f"@{alias}" for alias in each.aliases]
        if key in answering:
            kept_by.append("served")
        found[key] = Expiry(spec.pins, tuple(kept_by))
    return found
