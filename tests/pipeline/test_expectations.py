"""Expectations: expect keeps and counts, drop leaves out and counts, fail stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from headrace import lakehouse
from headrace.pipeline import ExpectationCount, Expectations, store
from headrace.pipeline.errors import (
    ExpectationError,
    ExpectationFailedError,
    UnknownTargetError,
    UnsupportedDefinitionError,
)

if TYPE_CHECKING:
    from .conftest import Project

VIEW = """
@dp.materialized_view(name="silver.events"{options})
def events():
    return spark.read.parquet("raw")
"""


@pytest.fixture
def readings(project: Project) -> Project:
    project.python(VIEW.format(options=""))
    project.parquet("raw/1.parquet", id=[1, 2, 3, 4], value=[1.0, -2.0, None, 40.0])
    return project


def refresh(project: Project, **actions: dict[str, str]) -> tuple[ExpectationCount, ...]:
    return project.load({"silver.events": actions}).refresh("silver.events").expectations


def test_expect_keeps_and_counts(readings: Project) -> None:
    counts = refresh(readings, expect={"positive": "value > 0", "known": "id < 4"})
    assert counts == (
        ExpectationCount("positive", "expect", "value > 0", 2, 2),
        ExpectationCount("known", "expect", "id < 4", 3, 1),
    )
    assert readings.column("silver.events", "id") == [1, 2, 3, 4]


def test_null_fails(readings: Project) -> None:
    refresh(readings, drop={"small": "value < 1000"})
    assert readings.column("silver.events", "id") == [1, 2, 4]


def test_drop_leaves_out_what_fails_any_condition(readings: Project) -> None:
    pipeline = readings.load(
        {"silver.events": {"drop": {"positive": "value > 0", "small": "value < 30"}}}
    )
    done = pipeline.refresh("silver.events")
    assert (done.rows, done.dropped) == (1, 3)
    assert [(each.name, each.passed, each.failed) for each in done.expectations] == [
        ("positive", 2, 2),
        ("small", 2, 2),
    ]
    assert readings.column("silver.events", "id") == [1]


def test_fail_writes_nothing(readings: Project) -> None:
    refresh(readings, expect={"positive": "value > 0"})
    readings.parquet("raw/2.parquet", id=[9], value=[9.0])
    with pytest.raises(ExpectationFailedError, match='1 of 5 rows fail "small"') as caught:
        refresh(readings, fail={"known": "id IS NOT NULL", "small": "coalesce(value, 0) < 30"})
    assert (caught.value.failed, caught.value.rows) == (1, 5)
    assert lakehouse.latest_version(readings.location("silver.events")) == 0
    assert len(list(readings.location("silver.events").rglob("*.parquet"))) == 1


def test_fail_passes(readings: Project) -> None:
    counts = refresh(readings, fail={"known": "id IS NOT NULL"})
    assert counts == (ExpectationCount("known", "fail", "id IS NOT NULL", 4, 0),)


def test_counts_are_kept(readings: Project) -> None:
    refresh(readings, expect={"positive": "value > 0"}, drop={"small": "coalesce(value, 0) < 30"})
    database = readings.workspace.store
    last = store.last_done(database, "main.silver.events")
    assert last is not None
    assert (last.rows, last.dropped) == (3, 1)
    assert store.counts_of(database, last.id) == [
        ExpectationCount("positive", "expect", "value > 0", 2, 2),
        ExpectationCount("small", "drop", "coalesce(value, 0) < 30", 3, 1),
    ]


def test_partitioned_table(readings: Project) -> None:
    readings.python(VIEW.format(options=', partition_cols=["id"]'))
    refresh(readings, drop={"positive": "value > 0"}, expect={"first": "id = 1"})
    assert readings.rows("silver.events") == [(1, 1.0), (4, 40.0)]


def test_nothing_to_judge(readings: Project) -> None:
    readings.python(VIEW.format(options="").replace('"raw")', '"raw").where("false")'))
    assert refresh(readings, expect={"positive": "value > 0"}) == ()
    assert readings.rows("silver.events") == []


def test_each_batch_of_a_streaming_table_is_judged(events: Project) -> None:
    wanted = {"bronze.events": {"drop": {"large": "value > 1"}}}
    first = events.load(wanted).refresh("bronze.events")
    assert (first.rows, first.dropped) == (2, 1)
    events.parquet("raw/events/2.parquet", id=[4, 5], value=[0.0, 5.0])
    second = events.load(wanted).refresh("bronze.events")
    assert [(each.passed, each.failed) for each in second.expectations] == [(1, 1)]
    assert events.column("bronze.events", "id") == [2, 3, 5]


def test_failed_batch_is_tried_again(events: Project) -> None:
    events.run()
    bad = events.parquet("raw/events/2.parquet", id=[4], value=[-4.0])
    wanted = {"bronze.events": {"fail": {"positive": "value > 0"}}}
    for _ in range(2):
        with pytest.raises(ExpectationFailedError):
            events.load(wanted).refresh("bronze.events")
    bad.unlink()
    events.parquet("raw/events/3.parquet", id=[4], value=[4.0])
    assert events.load(wanted).refresh("bronze.events").version == 1
    assert events.column("bronze.events", "id") == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "condition", ["value_ > 0", "value >", "no_such_function(value)", "id + 1"]
)
def test_condition_that_cannot_be_evaluated(readings: Project, condition: str) -> None:
    with pytest.raises(ExpectationError, match='The expectation "positive"') as caught:
        refresh(readings, expect={"fine": "id > 0"}, drop={"positive": condition})
    assert condition in str(caught.value)
    assert "headrace.yaml" in str(caught.value)
    assert not lakehouse.exists(readings.location("silver.events"))


def test_unknown_table(readings: Project) -> None:
    with pytest.raises(UnknownTargetError, match=r"silver\.event,") as caught:
        readings.load({"silver.event": {"expect": {"positive": "value > 0"}}})
    assert 'did you mean "main.silver.events"?' in str(caught.value)


def test_temporary_view(project: Project) -> None:
    project.python('@dp.temporary_view(name="some")\ndef some():\n    return spark.range(3)')
    with pytest.raises(UnsupportedDefinitionError, match="temporary view some"):
        project.load({"some": {"expect": {"positive": "id > 0"}}})


class TestModel:
    def test_a_name_is_there_once(self) -> None:
        with pytest.raises(ValidationError, match='"a" is there twice'):
            Expectations(expect={"a": "x > 0"}, drop={"a": "x > 1"})

    def test_an_empty_condition(self) -> None:
        with pytest.raises(ValidationError, match='"a" has no condition'):
            Expectations(fail={"a": " "})

    def test_an_unknown_action(self) -> None:
        with pytest.raises(ValidationError, match="warn"):
            Expectations.model_validate({"warn": {"a": "x > 0"}})
