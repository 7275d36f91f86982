"""One feature of requests against one column of a table."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from headrace.parity.columns import compare_column

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (0.1, 0.1),
        (3, 3.0),
        (2, Decimal("2.0")),
        (True, True),
        ("north", "north"),
        (None, None),
        (None, float("nan")),
        ("2026-01-31T12:00:00Z", NOON),
        ("2026-01-31T12:00:00", NOON.replace(tzinfo=None)),
        ("2026-01-31T13:00:00+01:00", NOON),
        ("2026-01-31", NOON.date()),
    ],
)
def test_equal(sent: Any, stored: Any) -> None:
    found = compare_column("x", [sent], [stored], [{"id": 1}])
    assert (found.compared, found.equal, found.missing) == (1, 1, 0)
    assert found.examples == ()


@pytest.mark.parametrize(
    ("sent", "stored", "largest"),
    [
        (0.1, 0.10000000149011612, 1.4901161138336505e-09),
        (1, 2.5, 1.5),
        (True, 1, None),
        ("north", "south", None),
        ("yesterday", NOON, None),
        ("2026-01-31T12:00:00.001Z", NOON, None),
    ],
)
def test_different(sent: Any, stored: Any, largest: float | None) -> None:
    found = compare_column("x", [sent], [stored], [{"id": 1}])
    assert (found.compared, found.different, found.largest) == (1, 1, largest)
    assert found.examples[0].startswith("id=1: ")


def test_missing_on_either_side() -> None:
    found = compare_column("x", [None, 1.0, 2.0], [1.0, None, 2.0], [{}] * 3)
    assert (found.missing_in_request, found.missing_in_table, found.equal) == (1, 1, 1)
    assert found.compared == 1
