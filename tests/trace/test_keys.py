from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from headrace import lakehouse
from headrace.trace import keys
from headrace.trace.errors import AmbiguousRowError, InvalidKeyError, RowNotFoundError

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("Odd name", pa.string()),
        ("at", pa.timestamp("us", "UTC")),
        ("local", pa.timestamp("us")),
        ("day", pa.date32()),
        ("flag", pa.bool_()),
        ("price", pa.decimal128(8, 2)),
    ]
)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id=7", {"id": 7}),
        (" id = 7 , day=2026-01-31", {"id": 7, "day": date(2026, 1, 31)}),
        ('"Odd name=a,b=c",id=1', {"Odd name": "a,b=c", "id": 1}),
        ("at=2026-01-31T12:00:00Z", {"at": NOON}),
        ("at=2026-01-31 12:00:00", {"at": NOON}),
        ("at=2026-01-31T13:00:00+01:00", {"at": NOON}),
        ("local=2026-01-31T12:00:00", {"local": NOON.replace(tzinfo=None)}),
        ("local=2026-01-31T13:00:00+01:00", {"local": NOON.replace(tzinfo=None)}),
        ("flag=true,price=1.50", {"flag": True, "price": Decimal("1.50")}),
    ],
)
def test_text_becomes_values_of_the_table(text: str, expected: dict[str, object]) -> None:
    assert keys.parse_key("t", text, SCHEMA) == expected


def test_a_mapping_is_converted_too() -> None:
    key = {"id": "7", "at": "2026-01-31T12:00:00Z", "local": NOON}
    found = keys.parse_key("t", key, SCHEMA)
    assert found == {"id": 7, "at": NOON, "local": NOON.replace(tzinfo=None)}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "names no column"),
        ("7", '"7" is not COLUMN=VALUE'),
        ("=7", "is not COLUMN=VALUE"),
        ("idd=7", 'no column "idd"; did you mean "id"?'),
        ("id=seven", '"seven" is no int64, the type of id'),
        ("at=yesterday", '"yesterday" is no timestamp'),
        ("id=7,,", "is not COLUMN=VALUE"),
    ],
)
def test_what_is_no_key_says_why(text: str, why: str) -> None:
    with pytest.raises(InvalidKeyError) as caught:
        keys.parse_key("gold.t", text, SCHEMA)
    assert why in str(caught.value)
    assert caught.value.next == "headrace trace gold.t COLUMN=VALUE,COLUMN=VALUE"


@pytest.fixture
def location(tmp_path: Path) -> str:
    """Three rows; two of them with the same name."""
    rows = {
        "id": [1, 2, 3],
        "Odd name": ["it's", "b", "b"],
        "at": [NOON] * 3,
        "local": [NOON.replace(tzinfo=None)] * 3,
        "day": [date(2026, 1, 31)] * 3,
        "flag": [True, True, False],
        "price": [Decimal("1.50")] * 3,
    }
    path = str(tmp_path / "t")
    lakehouse.write(path, pa.table(rows, schema=SCHEMA))
    return path


def test_a_row_is_found_by_a_value_of_any_type(location: str) -> None:
    text = '"Odd name=it\'s",at=2026-01-31T12:00:00Z,local=2026-01-31T12:00:00,day=2026-01-31,'
    key = keys.parse_key("t", text + "flag=true,price=1.5", SCHEMA)
    assert keys.find_row("t", location, 0, key)["id"] == 1


def test_a_missing_row_shows_one_that_is_there(location: str) -> None:
    with pytest.raises(RowNotFoundError, match="No row id=9 in t") as caught:
        keys.find_row("t", location, 0, {"id": 9})
    assert caught.value.example["id"] in (1, 2, 3)


def test_an_ambiguous_key_names_columns_that_tell_rows_apart(location: str) -> None:
    with pytest.raises(AmbiguousRowError, match="2 rows of t have Odd name=b") as caught:
        keys.find_row("t", location, 0, {"Odd name": "b"})
    assert caught.value.others == ["id", "flag"]
