"""The writers of a DataFrame: every mode, what is refused, and what conflicts leave behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from headrace import lakehouse
from headrace.catalog import TableNotFoundError
from headrace.engine.errors import (
    NotATableError,
    RowsOutsideError,
    SchemaMismatchError,
    TableExistsError,
    UnsupportedStatementError,
)

if TYPE_CHECKING:
    from headrace.workspace import Workspace


def numbers(spark: SparkSession, count: int) -> DataFrame:
    return spark.range(count).selectExpr("id", "id * 2 AS v")


def rows(spark: SparkSession, table: str) -> list[tuple[object, ...]]:
    return sorted(tuple(row) for row in spark.table(table).collect())


def versions(workspace: Workspace) -> list[tuple[str, int | None]]:
    """What the last operation wrote."""
    return [(each.name, each.version) for each in workspace.lineage.operations(limit=1)[0].writes]


def test_append_matches_columns_by_name(spark: SparkSession) -> None:
    numbers(spark, 1).write.saveAsTable("gold.t")
    spark.sql("SELECT 9 AS V, 5 AS id").write.mode("append").saveAsTable("gold.t")
    assert rows(spark, "gold.t") == [(0, 0), (5, 9)]


def test_append_fills_missing_columns_with_null(spark: SparkSession) -> None:
    numbers(spark, 1).write.saveAsTable("gold.t")
    spark.sql("SELECT 5 AS id").write.mode("append").saveAsTable("gold.t")
    assert spark.sql("SELECT v FROM gold.t WHERE id = 5").collect()[0].v is None


def test_append_of_an_unknown_column_needs_merge_schema(spark: SparkSession) -> None:
    numbers(spark, 1).write.saveAsTable("gold.t")
    wider = spark.sql("SELECT 5 AS id, 'x' AS name")
    with pytest.raises(SchemaMismatchError, match="not in the table: name") as caught:
        wider.write.mode("append").saveAsTable("gold.t")
    assert "mergeSchema" in str(caught.value.next)
    wider.write.mode("append").option("mergeSchema", "true").saveAsTable("gold.t")
    assert spark.table("gold.t").columns == ["id", "v", "name"]
    assert spark.sql("SELECT * FROM gold.t WHERE id = 5").collect() == [(5, None, "x")]


def test_text_does_not_become_a_number(spark: SparkSession) -> None:
    numbers(spark, 1).write.saveAsTable("gold.t")
    with pytest.raises(SchemaMismatchError, match=r"id \(string to bigint\)"):
        spark.sql("SELECT 'x' AS id, 1 AS v").write.mode("append").saveAsTable("gold.t")


def test_overwrite_with_other_columns_needs_overwrite_schema(spark: SparkSession) -> None:
    numbers(spark, 1).write.saveAsTable("gold.t")
    other = spark.sql("SELECT 'x' AS name")
    with pytest.raises(SchemaMismatchError, match="name") as caught:
        other.write.mode("overwrite").saveAsTable("gold.t")
    assert "overwriteSchema" in str(caught.value.next)
    assert rows(spark, "gold.t") == [(0, 0)]
    other.write.mode("overwrite").option("overwriteSchema", "true").saveAsTable("gold.t")
    assert rows(spark, "gold.t") == [("x",)]


def test_a_table_may_be_overwritten_from_itself(workspace: Workspace, spark: SparkSession) -> None:
    numbers(spark, 4).write.saveAsTable("gold.t")
    spark.table("gold.t").filter("id > 1").write.mode("overwrite").saveAsTable("gold.t")
    assert rows(spark, "gold.t") == [(2, 4), (3, 6)]
    assert versions(workspace) == [] or versions(workspace) == [("main.gold.t", 1)]


def test_a_table_made_from_rows_takes_nulls_later(spark: SparkSession) -> None:
    spark.range(2).write.saveAsTable("gold.t")
    assert spark.table("gold.t").schema.fields[0].nullable
    spark.sql("SELECT CAST(NULL AS BIGINT) AS id").write.mode("append").saveAsTable("gold.t")
    assert spark.table("gold.t").count() == 3


def test_partitions(workspace: Workspace, spark: SparkSession) -> None:
    numbers(spark, 4).withColumn("p", f.col("id") % 2).write.partitionBy("p").saveAsTable("gold.p")
    location = Path(str(workspace.catalog.resolve("gold.p").location))
    assert {each.name for each in location.glob("p=*")} == {"p=0", "p=1"}
    one = spark.sql("SELECT 7L AS id, 7L AS v, 1L AS p")
    one.writeTo("gold.p").overwritePartitions()
    assert rows(spark, "gold.p") == [(0, 0, 0), (2, 4, 0), (7, 7, 1)]
    zero = spark.sql("SELECT 8L AS id, 8L AS v, 0L AS p")
    zero.write.mode("overwrite").option("replaceWhere", "p = 0").saveAsTable("gold.p")
    assert rows(spark, "gold.p") == [(7, 7, 1), (8, 8, 0)]
    with pytest.raises(RowsOutsideError, match="p = 0"):
        one.write.mode("overwrite").option("replaceWhere", "p = 0").saveAsTable("gold.p")
    dynamic = one.filter("false").write.mode("overwrite")
    dynamic.option("partitionOverwriteMode", "dynamic").saveAsTable("gold.p")
    assert rows(spark, "gold.p") == [(7, 7, 1), (8, 8, 0)]


def test_an_overwritten_part_leaves_the_other_writers(
    workspace: Workspace, spark: SparkSession
) -> None:
    numbers(spark, 4).withColumn("p", f.col("id") % 2).write.partitionBy("p").saveAsTable("gold.p")
    spark.sql("SELECT 7L AS id, 7L AS v, 1L AS p").writeTo("gold.p").overwritePartitions()
    zero = spark.sql("SELECT 8L AS id, 8L AS v, 0L AS p")
    zero.write.mode("overwrite").option("replaceWhere", "p = 0").saveAsTable("gold.p")
    modes = [each.mode for each in workspace.lineage.producers("gold.p", 2)]
    assert modes == ["overwrite_part", "overwrite_part", "overwrite"]


def test_partitions_of_several_columns_of_any_type(spark: SparkSession) -> None:
    keyed = spark.sql(
        "SELECT id, IF(id = 0, NULL, concat('it\\'s ', id)) AS s, date_add(DATE'2026-01-01', id) AS d "
        "FROM (SELECT CAST(id AS INT) AS id FROM range(3))"
    )
    keyed.write.partitionBy("s", "d").saveAsTable("gold.p")
    before = spark.table("gold.p").count()
    keyed.filter("id < 2").withColumn("id", f.lit(9)).writeTo("gold.p").overwritePartitions()
    assert spark.table("gold.p").count() == before == 3
    assert sorted(row.id for row in spark.table("gold.p").collect()) == [2, 9, 9]


def test_insert_into_matches_by_position(spark: SparkSession) -> None:
    numbers(spark, 1).write.saveAsTable("gold.t")
    spark.sql("SELECT 5 AS v, 6 AS id").write.insertInto("gold.t")
    assert rows(spark, "gold.t") == [(0, 0), (5, 6)]
    spark.sql("SELECT 7, 8").write.insertInto("gold.t", overwrite=True)
    assert rows(spark, "gold.t") == [(7, 8)]
    with pytest.raises(TableNotFoundError):
        numbers(spark, 1).write.insertInto("gold.nope")


def test_write_to(workspace: Workspace, spark: SparkSession) -> None:
    numbers(spark, 1).writeTo("gold.t").using("delta").create()
    with pytest.raises(TableExistsError):
        numbers(spark, 1).writeTo("gold.t").create()
    numbers(spark, 2).writeTo("gold.t").append()
    assert versions(workspace) == [("main.gold.t", 1)]
    assert spark.table("gold.t").count() == 3
    spark.sql("SELECT 'x' AS name").writeTo("gold.t").replace()
    assert rows(spark, "gold.t") == [("x",)]
    spark.sql("SELECT 1 AS k").writeTo("gold.t").createOrReplace()
    assert rows(spark, "gold.t") == [(1,)]
    spark.sql("SELECT 2 AS k").writeTo("gold.t").overwrite(f.lit(True))
    assert rows(spark, "gold.t") == [(2,)]
    with pytest.raises(TableNotFoundError):
        numbers(spark, 1).writeTo("gold.nope").append()
    with pytest.raises(TableNotFoundError):
        numbers(spark, 1).writeTo("gold.nope").replace()
    numbers(spark, 1).writeTo("gold.new").createOrReplace()
    assert rows(spark, "gold.new") == [(0, 0)]


def test_merge_into(workspace: Workspace, spark: SparkSession) -> None:
    numbers(spark, 2).write.saveAsTable("gold.t")
    numbers(spark, 4).write.saveAsTable("gold.changes")
    changes = spark.table("gold.changes").filter("id > 0").alias("c")
    (
        changes.mergeInto("gold.t", f.expr("t.id = c.id"))
        .whenMatched()
        .update({"v": f.col("c.v") + f.col("gold.t.v")})
        .whenNotMatched()
        .insertAll()
        .merge()
    )
    assert rows(spark, "gold.t") == [(0, 0), (1, 4), (2, 4), (3, 6)]
    operation = workspace.lineage.operations(kind="write", limit=1)[0]
    assert [(each.name, each.version) for each in operation.reads] == [
        ("main.gold.t", 0),
        ("main.gold.changes", 0),
    ]
    assert [(each.name, each.version) for each in operation.writes] == [("main.gold.t", 1)]
    assert operation.mode == "merge"


def test_a_path_of_a_table_is_the_table(workspace: Workspace, spark: SparkSession) -> None:
    numbers(spark, 1).write.saveAsTable("gold.t")
    location = str(workspace.catalog.resolve("gold.t").location)
    numbers(spark, 1).write.format("delta").mode("append").save(location)
    assert versions(workspace) == [("main.gold.t", 1)]
    numbers(spark, 1).write.format("delta").save("warehouse/main/gold/direct")
    assert versions(workspace) == [("main.gold.direct", 0)]
    assert rows(spark, "gold.direct") == [(0, 0)]
    spark.read.format("delta").option("versionAsOf", 0).load(location).collect()
    read = workspace.lineage.operations(limit=1)[0].reads[0]
    assert (read.kind, read.name, read.version) == ("table", "main.gold.t", 0)


def test_a_delta_path_elsewhere_has_versions_too(workspace: Workspace, spark: SparkSession) -> None:
    numbers(spark, 1).write.format("delta").save("elsewhere")
    numbers(spark, 1).write.format("delta").mode("append").save("elsewhere")
    place = str(workspace.paths.root / "elsewhere")
    assert versions(workspace) == [(place, 1)]
    assert spark.sql("SELECT count(*) AS n FROM delta.`elsewhere`").collect()[0].n == 2
    read = workspace.lineage.operations(limit=1)[0].reads[0]
    assert (read.kind, read.name, read.version) == ("path", place, 1)
    with pytest.raises(TableExistsError):
        numbers(spark, 1).write.format("delta").save("elsewhere")


@pytest.mark.parametrize("form", ["parquet", "csv", "json"])
def test_plain_files_are_recorded_as_paths(
    workspace: Workspace, spark: SparkSession, form: str
) -> None:
    numbers(spark, 3).write.format(form).save("out")
    assert versions(workspace) == [(str(workspace.paths.root / "out"), None)]
    again = spark.read.format(form).schema("id LONG, v LONG").load("out")
    assert again.count() == 3


@pytest.mark.parametrize(
    ("write", "names"),
    [
        (lambda df: df.write.format("parquet").saveAsTable("gold.n"), "parquet"),
        (lambda df: df.write.bucketBy(2, "id").saveAsTable("gold.n"), "bucketBy"),
        (lambda df: df.write.clusterBy("id").saveAsTable("gold.n"), "clusterBy"),
        (lambda df: df.writeTo("gold.n").using("parquet").create(), "parquet"),
        (lambda df: df.writeTo("gold.n").tableProperty("a", "b").create(), "tableProperty"),
        (
            lambda df: df.writeTo("gold.n").partitionedBy(f.partitioning.days("id")).create(),
            "partitionedBy",
        ),
        (lambda df: df.writeTo("gold.t").overwrite(f.col("id") > 1), "overwrite"),
        (lambda df: df.localCheckpoint(), "checkpoint"),
    ],
)
def test_refused_by_name(
    workspace: Workspace, spark: SparkSession, write: object, names: str
) -> None:
    numbers(spark, 1).write.saveAsTable("gold.t")
    with pytest.raises(UnsupportedStatementError, match=names):
        write(numbers(spark, 1))  # type: ignore[operator]
    assert workspace.catalog.find("gold.n") is None
    assert len(workspace.lineage.operations()) == 1


def test_a_view_takes_no_rows(spark: SparkSession) -> None:
    numbers(spark, 1).write.saveAsTable("gold.t")
    spark.sql("CREATE VIEW gold.v AS SELECT * FROM gold.t")
    spark.range(1).createOrReplaceTempView("tv")
    for name in ("gold.v", "tv"):
        with pytest.raises(NotATableError, match="view"):
            numbers(spark, 1).write.mode("append").saveAsTable(name)


def test_a_table_that_a_killed_process_left_unnamed_is_replaced(
    workspace: Workspace, spark: SparkSession
) -> None:
    """The commit was made and the process ended before the name was registered."""
    import pyarrow

    location = workspace.catalog.location_for("gold.t")
    lakehouse.write(location, pyarrow.table({"other": ["half"]}))
    numbers(spark, 2).write.saveAsTable("gold.t")
    assert rows(spark, "gold.t") == [(0, 0), (1, 2)]
    assert versions(workspace) == []  # the last operation is the read
    assert [
        (each.name, each.version) for each in workspace.lineage.operations(kind="write")[0].writes
    ] == [("main.gold.t", 1)]


def test_the_version_is_this_writes_own(workspace: Workspace, spark: SparkSession) -> None:
    """Another writer commits between this commit and the look-up of its version."""
    numbers(spark, 1).write.saveAsTable("gold.t")
    location = str(workspace.catalog.resolve("gold.t").location)
    original = lakehouse.commit_of

    def delayed(place: str, marker: str, after: int = -1) -> int | None:
        table = lakehouse.read(location)
        lakehouse.write(location, table.slice(0, 0))
        return original(place, marker, after)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lakehouse, "commit_of", delayed)
        numbers(spark, 1).write.mode("append").saveAsTable("gold.t")
    assert versions(workspace) == [("main.gold.t", 1)]
    assert lakehouse.latest_version(location) == 2


def test_appends_of_many_threads_all_arrive(workspace: Workspace, spark: SparkSession) -> None:
    from concurrent.futures import ThreadPoolExecutor

    numbers(spark, 1).write.saveAsTable("gold.t")
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda _: numbers(spark, 1).write.mode("append").saveAsTable("gold.t"), range(8)
            )
        )
    assert spark.table("gold.t").count() == 9
    made = [each.writes[0].version for each in workspace.lineage.operations(kind="write")]
    assert sorted(version for version in made if version is not None) == list(range(9))


def test_one_of_many_creators_wins(workspace: Workspace, spark: SparkSession) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def create(_: int) -> str:
        try:
            numbers(spark, 2).write.saveAsTable("gold.t")
        except TableExistsError:
            return "exists"
        return "made"

    with ThreadPoolExecutor(4) as pool:
        outcomes = sorted(pool.map(create, range(6)))
    assert outcomes == ["exists"] * 5 + ["made"]
    assert lakehouse.latest_version(str(workspace.catalog.resolve("gold.t").location)) == 0


def test_a_lost_race_is_a_conflict_and_loses_no_update(
    workspace: Workspace, spark: SparkSession
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    spark.sql("SELECT 1 AS id, 0 AS n").write.saveAsTable("gold.t")

    def add(_: int) -> int:
        try:
            spark.sql("UPDATE gold.t SET n = n + 1 WHERE id = 1")
        except lakehouse.DeltaConflictError:
            return 0
        return 1

    with ThreadPoolExecutor(4) as pool:
        done = sum(pool.map(add, range(8)))
    assert done >= 1
    assert rows(spark, "gold.t") == [(1, done)]


KILLED = """
import headrace
spark = headrace.spark()
spark.range(3).write.saveAsTable("gold.t")
"""


def test_a_process_killed_after_its_commit(tmp_path: Path) -> None:
    """The name is missing, and the rerun makes the table as if nothing had been."""
    import os
    import subprocess
    import sys

    from headrace.workspace import open_workspace

    (tmp_path / "headrace.yaml").write_text("name: killed\n")
    command = [sys.executable, "-c", KILLED]
    keep = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    killed = subprocess.run(
        command, cwd=tmp_path, env={**keep, "HEADRACE_CRASH_AT": "engine.committed"}, timeout=120
    )
    assert killed.returncode == 137
    again = subprocess.run(command, cwd=tmp_path, env=keep, timeout=120)
    assert again.returncode == 0
    opened = open_workspace(tmp_path)
    try:
        entry = opened.catalog.resolve("gold.t")
        assert lakehouse.row_count(str(entry.location)) == 3
        assert len(opened.lineage.operations(kind="write")) == 1
    finally:
        opened.close()
