from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.catalog import InvalidNameError, TableName

parts = st.text(string.ascii_lowercase + string.digits + "_", min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("text", "qualified"),
    [
        ("features", "main.default.features"),
        ("gold.features", "main.gold.features"),
        ("lab.gold.features", "lab.gold.features"),
        ("Gold.FEATURES", "main.gold.features"),
        ("`gold`.`features`", "main.gold.features"),
        ("gold.`fea-tures`", "main.gold.fea-tures"),
        ("_x.2026_raw", "main._x.2026_raw"),
    ],
)
def test_parse_fills_in_the_defaults_and_ignores_case(text: str, qualified: str) -> None:
    assert str(TableName.parse(text)) == qualified


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (".", "empty"),
        ("gold.", "empty"),
        (".features", "empty"),
        ("gold..features", "empty"),
        ("``", "empty"),
        ("a.b.c.d", "4 parts"),
        ("gold.fea tures", "character"),
        ("gold.features;drop", "character"),
        ("gold/../features", "character"),
        ("gold.-features", "character"),
        ("gold.`features", "backtick"),
        ("go`ld`.features", "backtick"),
        ("`go`ld.features", "backtick"),
        ("x" * 256, "longer"),
    ],
)
def test_parse_refuses_what_is_no_name(text: str, reason: str) -> None:
    with pytest.raises(InvalidNameError, match=reason) as caught:
        TableName.parse(text)
    assert caught.value.name == text


@given(parts, parts, parts)
def test_text_and_name_are_the_same(catalog: str, schema: str, name: str) -> None:
    made = TableName(catalog, schema, name)
    assert TableName.parse(str(made)) == made


@given(st.text(max_size=12))
def test_any_text_is_a_name_or_an_error(text: str) -> None:
    try:
        name = TableName.parse(text)
    except InvalidNameError:
        return
    assert str(name).count(".") == 2
    assert "/" not in str(name)


def test_a_name_cannot_be_made_around_the_rules() -> None:
    with pytest.raises(InvalidNameError):
        TableName("main", "..", "etc")


def test_the_schema_in_force_fills_in() -> None:
    assert str(TableName.parse("events", catalog="lab", schema="raw")) == "lab.raw.events"
