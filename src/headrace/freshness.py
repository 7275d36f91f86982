"""Whether something must be made again, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Freshness:
    """A verdict on one table, model or scored table.

    Attributes:
        stale: it must be made again.
        reason: one sentence for a person, such as ``never refreshed`` or ``input
            main.silver.telemetry moved from version 3 to 4``.
    """

    stale: bool
    reason: str
