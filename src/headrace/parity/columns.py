"""One feature: the values that were sent against those of the table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

_EXAMPLES: Final = 3


@dataclass(frozen=True)
class FeatureColumn:
    """One column of matched requests.

    Attributes:
        name: the feature.
        compared: requests with a value, or an explicit null, on both sides.
        equal, different: of these.
        largest: the largest difference of two numbers.
        missing_in_request: the table has a value, the request none.
        missing_in_table: the request has a value, the table none.
        examples: some that differ, with the key of the row.
    """

    name: str
    compared: int
    equal: int
    different: int
    largest: float | None
    missing_in_request: int
    missing_in_table: int
    examples: tuple[str, ...] = ()

    @property
    def missing(self) -> int:
        """Requests with a value on one side only."""
        return self.missing_in_request + self.missing_in_table


def compare_column(
    name: str,
    sent: Sequence[Any],
    stored: Sequence[Any],
    keys: Sequence[Mapping[str, Any]],
) -> FeatureColumn:
    """Compare a column.

    Args:
        name: the feature.
        sent: JSON values of the requests; ``None`` for null and for none.
        stored: values of the table; NaN counts as null, which JSON has instead.
        keys: what each is about, for the examples.
    """
    equal = different = in_request = in_table = 0
    largest: float | None = None
    examples: list[str] = []
    for value, raw, key in zip(sent, stored, keys, strict=True):
        held = _plain(raw)
        if value is None or held is None:
            equal += value is None and held is None
            in_request += value is None and held is not None
            in_table += value is not None and held is None
            same = value is None and held is None
        else:
            same, apart = _same(value, held)
            equal += same
            different += not same
            if apart is not None:
                largest = apart if largest is None else max(largest, apart)
        if not same and len(examples) < _EXAMPLES:
            about = ", ".join(f"{column}={each}" for column, each in key.items())
            examples.append(f"{about}: {value!r} was sent, the table says {_shown(held)}")
    return FeatureColumn(
        name=name,
        compared=equal + different,
        equal=equal,
        different=different,
        largest=largest,
        missing_in_request=in_request,
        missing_in_table=in_table,
        examples=tuple(examples),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    return float(value) if isinstance(value, Decimal) else value


def _shown(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else repr(value)


def _same(sent: Any, held: Any) -> tuple[bool, float | None]:
    """Whether they are one value, and how far two numbers are apart."""
    if isinstance(held, datetime):
        return _moment(sent) == _utc(held), None
    if isinstance(held, date):
        return sent == held.isoformat(), None
    if isinstance(sent, bool) or isinstance(held, bool):
        return sent is held, None
    if isinstance(sent, int | float) and isinstance(held, int | float):
        # JSON writes the shortest text that reads back as the same double.
        apart = abs(float(sent) - float(held))
        return float(sent) == float(held), apart
    return bool(sent == held), None


def _moment(sent: Any) -> datetime | None:
    try:
        return _utc(datetime.fromisoformat(sent))
    except (TypeError, ValueError):
        return None


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
