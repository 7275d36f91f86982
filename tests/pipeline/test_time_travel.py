"""Materialized views that name the version of a table that they read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Project

FIXED = [
    'spark.read.option("versionAsOf", 0).table("bronze.events")',
    'spark.sql("SELECT * FROM bronze.events VERSION AS OF 0")',
    'spark.read.format("delta").option("versionAsOf", 0).load("warehouse/main/bronze/events")',
]


@pytest.mark.parametrize("query", FIXED)
def test_a_version_that_is_named_does_not_become_stale(events: Project, query: str) -> None:
    events.run()
    events.python(f"""
        @dp.materialized_view(name="gold.then")
        def then():
            return {query}
    """)
    events.run()
    events.parquet("raw/events/2.parquet", id=[4], value=[4.0])
    assert set(events.run()) == {"bronze.events"}
    assert events.column("gold.then", "id") == [1, 2, 3]
    events.python(f"""
        @dp.materialized_view(name="gold.then")
        def then():
            return {query.replace("0", "1")}
    """)
    events.run()
    assert events.column("gold.then", "id") == [1, 2, 3, 4]
    assert events.run() == {}


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_the_newest_version_beside_a_named_one(events: Project, order: tuple[str, str]) -> None:
    now, then = order
    tables = {"a": "bronze.events a", "b": "bronze.events VERSION AS OF 0 b"}
    events.run()
    events.python(f"""
        @dp.materialized_view(name="gold.more")
        def more():
            return spark.sql(
                "SELECT count(a.id) - count(b.id) AS n "
                "FROM {tables[now]} FULL JOIN {tables[then]} ON a.id = b.id"
            )
    """)
    events.run()
    events.parquet("raw/events/2.parquet", id=[4], value=[4.0])
    assert set(events.run()) == {"bronze.events", "gold.more"}
    assert events.column("gold.more", "n") == [1]
    assert events.run() == {}


def test_stream_joined_with_its_own_table(events: Project) -> None:
    events.python("""
        @dp.table(name="silver.known")
        def known():
            ids = spark.table("bronze.events").select("id")
            return ids.join(spark.readStream.table("bronze.events"), "id")
    """)
    events.run()
    events.parquet("raw/events/2.parquet", id=[4], value=[4.0])
    events.run()
    assert events.column("silver.known", "id") == [1, 2, 3, 4]
    assert events.run() == {}
