"""Which columns of a table an action used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

if TYPE_CHECKING:
    import pandas as pd

    from headrace.workspace import Workspace

Query = Callable[[SparkSession], DataFrame]


def _same(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    yield from frames


CASES: list[tuple[Query, str | None]] = [
    (lambda s: s.table("gold.t"), None),
    (lambda s: s.table("gold.t").select("a"), "a"),
    (lambda s: s.table("gold.t").select("A"), "a"),
    (lambda s: s.table("gold.t").select("t.a", f.col("b") + 1), "a b"),
    (lambda s: s.table("gold.t").select("s.x"), "s"),
    (lambda s: s.table("gold.t").select("*"), None),
    (lambda s: s.table("gold.t").select("*", f.expr("a + 1 AS k")).select("b"), "a b"),
    (lambda s: s.table("gold.t").filter("b > 1").select("a"), "a b"),
    (lambda s: s.table("gold.t").filter(f.col("b") > 1).select("a"), "a b"),
    (lambda s: s.table("gold.t").withColumn("k", f.col("c") + 1).select("a", "k"), "a c"),
    (lambda s: s.table("gold.t").withColumn("k", f.col("c") + 1), None),
    (lambda s: s.table("gold.t").groupBy("a").agg(f.max("b")), "a b"),
    (lambda s: s.table("gold.t").groupBy("a").count(), "a"),
    (lambda s: s.table("gold.t").agg(f.count("*")), ""),
    (lambda s: s.table("gold.t").dropDuplicates(["a"]).select("b"), "a b"),
    (lambda s: s.table("gold.t").select("a").distinct(), "a"),
    (lambda s: s.table("gold.t").orderBy("c").limit(1).select("a"), "a c"),
    (lambda s: s.table("gold.t").alias("l").join(s.range(3), "id", "left").select("l.a"), "id a"),
    (lambda s: s.table("gold.t").select("a").union(s.table("gold.t").select("b")), "a b"),
    (lambda s: s.table("gold.t").select("a", "b").mapInPandas(_same, "a LONG, b LONG"), "a b"),
    (lambda s: s.table("gold.t").drop("c"), None),
    (lambda s: s.table("gold.t").toDF("p", "q", "r", "w", "v").select("p"), None),
    (lambda s: s.table("gold.t").select(f.struct("*")), None),
    (lambda s: s.sql("SELECT a FROM gold.t"), "a"),
    (lambda s: s.sql("SELECT * FROM gold.t"), None),
    (lambda s: s.sql("SELECT * FROM gold.t").select("a"), "a"),
    (lambda s: s.sql("SELECT count(*) FROM gold.t WHERE b > 0"), "b"),
    (lambda s: s.sql("SELECT t.a FROM gold.t JOIN range(3) USING (id) ORDER BY c"), "id a c"),
    (lambda s: s.sql("SELECT s.x FROM gold.t"), "s"),
    (lambda s: s.sql("WITH w AS (SELECT a, b AS k FROM gold.t) SELECT k FROM w"), "a b"),
    (lambda s: s.sql("SELECT a FROM gold.t WHERE id IN (SELECT b FROM gold.t)"), "id a b"),
    (lambda s: s.sql("SELECT max(k) FROM (SELECT * FROM gold.t) AS w (p, k, r, u, v)"), None),
    (lambda s: s.sql("SELECT DISTINCT * FROM gold.t").select("a"), None),
    (lambda s: s.sql("SELECT * FROM gold.t UNION SELECT * FROM gold.t").select("a"), None),
    (lambda s: s.sql("SELECT c FROM gold.view_of_t"), "a c"),
]


@pytest.mark.parametrize(("query", "expected"), CASES)
def test_columns_of_a_read(
    workspace: Workspace, spark: SparkSession, query: Query, expected: str | None
) -> None:
    spark.sql(
        "SELECT id, id AS a, id AS b, id AS c, struct(id AS x) AS s FROM range(3)"
    ).write.saveAsTable("gold.t")
    spark.sql("CREATE VIEW gold.view_of_t AS SELECT a, c FROM gold.t")
    with workspace.engine.recording(persist=False) as recording:
        query(spark).collect()
    (read,) = recording.reads
    assert read.columns == (None if expected is None else tuple(expected.split()))


def test_columns_of_a_write(workspace: Workspace, spark: SparkSession) -> None:
    spark.sql("SELECT id, id AS a, id AS b FROM range(3)").write.saveAsTable("gold.t")
    spark.table("gold.t").select("a").write.saveAsTable("gold.u")
    spark.sql("MERGE INTO gold.u USING gold.t ON u.a = t.a WHEN MATCHED AND t.b > 1 THEN DELETE")
    merged, written = workspace.lineage.operations(kind="write", limit=2)
    assert [each.columns for each in written.reads] == [("a",)]
    assert [(each.name, each.columns) for each in merged.reads] == [
        ("main.gold.u", None),
        ("main.gold.t", ("a", "b")),
    ]
