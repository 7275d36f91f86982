from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from headrace.durations import Duration, parse_duration

DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("2m", 120),
        ("1.5h", 5400),
        ("1d", 86400),
        ("2w", 14 * 86400),
        (" 2 m ", 120),
        ("1d12h", 36 * 3600),
        ("1 d 12 h", 36 * 3600),
    ],
)
def test_a_duration_has_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)
    again = DURATION.dump_python(parse_duration(text), mode="json")
    assert DURATION.validate_python(again) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "2", "2 weeks", "-1s", "m", "1e3s", "1h!", "9" * 30 + "d", "9" * 400 + "d"]
)
def test_text_that_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_a_number_without_a_unit_is_refused() -> None:
    with pytest.raises(ValidationError, match="text with a unit"):
        DURATION.validate_python(24)
