"""Parity of a deployment in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.parity.store import reports_of_deployment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.catalog import Store
    from headrace.parity.store import Kept


def deployment_line(store: Store, deployment: str) -> str | None:
    """What the plane found of a deployment before its traffic; ``None``: it has not looked yet."""
    return line_of(reports_of_deployment(store, deployment))


def line_of(reports: Sequence[Kept]) -> str | None:
    """Such as ``256 rows as at training (JSON, Arrow), within 1.1e-16``."""
    if not reports:
        return None
    found = [kept.report for kept in reports]
    bad = next((each for each in found if each.agreed is False), None)
    if bad is not None:
        return f"not as at training, {bad.route}: {bad.reason}"
    compared = [each for each in found if each.agreed]
    if not compared:
        return f"not compared: {found[0].reason}"
    ways = ", ".join(sorted((each.route.removeprefix("live, ") for each in compared), reverse=True))
    rows = max(each.rows for each in compared)
    apart = max(each.difference or 0.0 for each in compared)
    within = "equal" if not apart else f"within {apart:.1e}"
    return f"{rows} rows as at training ({ways}), {within}"
