"""Reads and writes through the unmodified PySpark API."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import DataFrame, SparkSession, functions

from headrace.catalog import InvalidNameError, Operation, TableNotFoundError
from headrace.engine.errors import (
    InvalidVersionError,
    PathNotFoundError,
    StreamOutsidePipelineError,
    TableExistsError,
    UnsupportedStatementError,
)
from headrace.lakehouse import VersionNotFoundError

if TYPE_CHECKING:
    from headrace.workspace import Workspace


def numbers(spark: SparkSession, count: int) -> DataFrame:
    return spark.range(count).selectExpr("id", "id * 2 AS v")


def last(workspace: Workspace) -> Operation:
    return workspace.lineage.operations(limit=1)[0]


def touched(
    operation: Operation,
) -> tuple[list[tuple[str, int | None]], list[tuple[str, int | None]]]:
    return (
        [(access.name, access.version) for access in operation.reads],
        [(access.name, access.version) for access in operation.writes],
    )


def test_get_or_create_gives_the_same_session(spark: SparkSession) -> None:
    assert SparkSession.builder.getOrCreate() is spark


def test_a_saved_table_is_plain_delta_and_has_lineage(
    workspace: Workspace, spark: SparkSession
) -> None:
    import deltalake

    numbers(spark, 3).write.format("delta").saveAsTable("gold.t")
    spark.table("gold.t").filter("id > 0").write.mode("overwrite").saveAsTable("gold.u")

    entry = workspace.catalog.resolve("gold.u")
    assert deltalake.DeltaTable(str(entry.location)).to_pyarrow_table().num_rows == 2
    operation = last(workspace)
    assert touched(operation) == ([("main.gold.t", 0)], [("main.gold.u", 0)])
    assert operation.kind == "write"
    assert operation.source is not None
    assert operation.source.startswith(__file__)


def test_reads_are_pinned_to_a_version(workspace: Workspace, spark: SparkSession) -> None:
    numbers(spark, 3).write.saveAsTable("gold.t")
    numbers(spark, 5).write.mode("append").saveAsTable("gold.t")

    assert spark.table("gold.t").count() == 8
    assert touched(last(workspace)) == ([("main.gold.t", 1)], [])
    assert spark.read.option("versionAsOf", 0).table("gold.t").count() == 3
    assert touched(last(workspace)) == ([("main.gold.t", 0)], [])
    assert last(workspace).kind == "read"


def test_versions_before_a_checkpoint_are_read(workspace: Workspace, spark: SparkSession) -> None:
    import deltalake

    for _ in range(5):
        numbers(spark, 3).write.mode("append").saveAsTable("gold.t")
    location = str(workspace.catalog.location_for("gold.t"))
    deltalake.DeltaTable(location).create_checkpoint()
    assert spark.read.option("versionAsOf", 2).table("gold.t").count() == 9
    assert spark.sql("SELECT * FROM gold.t VERSION AS OF 3").count() == 12


def test_a_version_that_is_not_there_is_an_error(spark: SparkSession) -> None:
    numbers(spark, 3).write.saveAsTable("gold.t")
    with pytest.raises(VersionNotFoundError):
        spark.read.option("versionAsOf", 7).table("gold.t").count()


def test_a_version_that_is_no_number_is_an_error(workspace: Workspace, spark: SparkSession) -> None:
    numbers(spark, 3).write.saveAsTable("gold.t")
    location = str(workspace.catalog.location_for("gold.t"))
    for name in ("gold.t", "gold.`t`"):
        with pytest.raises(InvalidVersionError, match='"v1"'):
            spark.read.option("versionAsOf", "v1").table(name).count()
    with pytest.raises(InvalidVersionError, match='"v1"'):
        spark.read.option("versionAsOf", "v1").format("delta").load(location).count()


@pytest.mark.parametrize(
    "use",
    [
        lambda spark: spark.table("gold.featurs").columns,
        lambda spark: spark.table("gold.featurs").schema,
        lambda spark: spark.table("gold.featurs").count(),
        lambda spark: spark.sql("SELECT * FROM gold.featurs"),
    ],
    ids=["columns", "schema", "count", "sql"],
)
def test_an_unknown_table_is_named(
    spark: SparkSession, use: Callable[[SparkSession], object]
) -> None:
    numbers(spark, 3).write.saveAsTable("gold.features")
    with pytest.raises(TableNotFoundError, match=r"gold\.featurs") as caught:
        use(spark)
    assert caught.value.why == 'did you mean "gold.features"?'


def test_mode_error_fails_before_anything_runs(workspace: Workspace, spark: SparkSession) -> None:
    numbers(spark, 3).write.saveAsTable("gold.t")
    with pytest.raises(TableExistsError):
        numbers(spark, 3).write.saveAsTable("gold.t")
    numbers(spark, 9).write.mode("ignore").saveAsTable("gold.t")
    assert len(workspace.lineage.operations()) == 1


def test_a_failed_write_leaves_no_name_and_no_lineage(
    workspace: Workspace, spark: SparkSession
) -> None:
    from pyspark.errors import PySparkException

    with pytest.raises(PySparkException):
        spark.range(3).selectExpr("CAST('x' AS INT) / id AS v").write.saveAsTable("gold.t")
    assert workspace.catalog.find("gold.t") is None
    assert workspace.lineage.operations() == []


def test_a_missing_path_is_an_error_not_an_empty_frame(spark: SparkSession) -> None:
    with pytest.raises(PathNotFoundError, match=r"raw/nothing"):
        spark.read.parquet("raw/nothing").count()


def test_raw_files_are_fingerprinted_when_they_flow_into_a_write(
    workspace: Workspace, spark: SparkSession
) -> None:
    numbers(spark, 3).write.parquet("raw/events")
    spark.read.parquet("raw/events").write.saveAsTable("bronze.events")

    operation = last(workspace)
    raw = workspace.paths.root / "raw" / "events"
    assert touched(operation)[0] == [(str(raw), None)]
    assert [file.path for file in operation.files] == [
        str(p) for p in sorted(raw.glob("*.parquet"))
    ]
    assert all(len(file.sha256) == 64 for file in operation.files)


def test_lineage_flows_through_temporary_views(workspace: Workspace, spark: SparkSession) -> None:
    numbers(spark, 6).write.saveAsTable("gold.t")
    spark.table("gold.t").filter("id > 2").createOrReplaceTempView("recent")
    assert spark.sql("SELECT count(*) AS n FROM recent").collect()[0].n == 3
    assert touched(last(workspace)) == ([("main.gold.t", 0)], [])


def test_a_view_over_its_own_name_sees_what_the_name_was(spark: SparkSession) -> None:
    spark.range(5).createOrReplaceTempView("v")
    spark.table("v").filter("id > 2").createOrReplaceTempView("v")
    assert spark.table("v").count() == 2


def test_a_temporary_view_over_a_table_of_its_own_name(spark: SparkSession) -> None:
    numbers(spark, 5).write.saveAsTable("t")
    spark.table("t").filter("id > 2").createOrReplaceTempView("t")
    assert spark.sql("SELECT count(*) AS n FROM t").collect()[0].n == 2
    spark.sql("CREATE OR REPLACE TEMP VIEW t AS SELECT * FROM t WHERE id > 3")
    assert spark.table("t").count() == 1
    spark.catalog.dropTempView("t")
    assert spark.table("t").count() == 5


def test_a_temporary_view_keeps_the_tables_it_was_made_over(spark: SparkSession) -> None:
    numbers(spark, 5).write.saveAsTable("gold.t")
    numbers(spark, 1).write.saveAsTable("t")
    numbers(spark, 1).write.mode("append").saveAsTable("gold.t")
    spark.sql("USE gold")
    spark.sql("CREATE TEMP VIEW now AS SELECT * FROM t")
    spark.sql("CREATE TEMP VIEW before AS SELECT * FROM t VERSION AS OF 0")
    spark.read.option("versionAsOf", 0).table("t").createTempView("first")
    spark.sql("USE default")
    numbers(spark, 9).createTempView("t")
    assert [spark.table(name).count() for name in ("now", "before", "first")] == [6, 5, 5]


def test_a_temporary_view_has_no_schema(spark: SparkSession) -> None:
    numbers(spark, 5).write.saveAsTable("gold.t")
    with pytest.raises(InvalidNameError, match="no schema"):
        numbers(spark, 1).createOrReplaceTempView("gold.t")
    with pytest.raises(InvalidNameError, match="no schema"):
        spark.sql("CREATE TEMP VIEW gold.t AS SELECT 1 AS id")
    assert spark.table("gold.t").count() == 5


def test_functions_that_the_server_would_answer_for_itself(spark: SparkSession) -> None:
    with pytest.raises(UnsupportedStatementError, match=r"current_schema\(\)"):
        spark.range(1).select(functions.current_schema()).collect()


def test_a_recording_collects_and_may_leave_the_lineage_alone(
    workspace: Workspace, spark: SparkSession
) -> None:
    numbers(spark, 3).write.saveAsTable("gold.t")
    with workspace.engine.recording("refresh", "main.gold.u", persist=False) as recording:
        spark.table("gold.t").write.saveAsTable("gold.u")
    assert [(each.name, each.version) for each in recording.reads] == [("main.gold.t", 0)]
    assert [(each.name, each.version) for each in recording.writes] == [("main.gold.u", 0)]
    assert recording.operations[0].kind == "refresh"
    assert len(workspace.lineage.operations()) == 1


def test_definitions_name_tables_that_do_not_exist(
    workspace: Workspace, spark: SparkSession
) -> None:
    with workspace.engine.analysis():
        df = spark.sql("SELECT a.x FROM silver.later a JOIN STREAM(raw.events) e ON a.x = e.x")
        other = spark.readStream.format("json").schema("x LONG").load("raw/in")
        found = workspace.engine.references(df.join(other, "x"))
    assert [(each.kind, each.name, each.streaming) for each in found] == [
        ("table", "silver.later", False),
        ("table", "raw.events", True),
        ("path", str(workspace.paths.root / "raw" / "in"), True),
    ]
    with pytest.raises(TableNotFoundError, match=r"silver\.later"):
        _ = df.columns


def test_streams_become_reads_of_the_given_files(workspace: Workspace, spark: SparkSession) -> None:
    from headrace import lakehouse
    from headrace.engine import StreamBatch

    numbers(spark, 3).write.saveAsTable("raw.events")
    numbers(spark, 2).write.mode("append").saveAsTable("raw.events")
    location = str(workspace.catalog.resolve("raw.events").location)
    new = lakehouse.added_files(location, 0, 1)
    assert new is not None

    df = spark.readStream.table("raw.events")
    assert df.columns == ["id", "v"]
    with pytest.raises(StreamOutsidePipelineError):
        df.collect()
    bound = workspace.engine.with_streams(df, {"raw.events": StreamBatch(new, 1)})
    assert bound.count() == 2
    assert touched(last(workspace)) == ([("main.raw.events", 1)], [])
    nothing = workspace.engine.with_streams(df, {"raw.events": StreamBatch([], 1)})
    assert nothing.columns == ["id", "v"]
    assert nothing.count() == 0


def test_streams_of_partitions_and_of_paths(workspace: Workspace, spark: SparkSession) -> None:
    from headrace import lakehouse
    from headrace.engine import StreamBatch

    parts = numbers(spark, 4).selectExpr("id", "v", "CAST(id % 2 AS STRING) AS p")
    parts.write.partitionBy("p").saveAsTable("raw.parts")
    location = str(workspace.catalog.resolve("raw.parts").location)
    numbers(spark, 3).coalesce(1).write.parquet("raw/in")
    (file,) = (workspace.paths.root / "raw" / "in").glob("*.parquet")

    table = spark.sql("SELECT id, p FROM STREAM(raw.parts)")
    path = spark.readStream.schema("id LONG, v LONG").parquet("raw/in")
    both = table.join(path, "id")
    bindings = {
        "raw.parts": StreamBatch(lakehouse.files(location), 0),
        str(workspace.paths.root / "raw" / "in"): StreamBatch([file]),
    }
    assert {each.name for each in workspace.engine.references(both)} == set(bindings)
    assert (both.isStreaming, spark.table("raw.parts").isStreaming) == (True, False)
    bound = workspace.engine.with_streams(both, bindings)
    bound.write.saveAsTable("gold.t")
    assert sorted((row.id, row.p) for row in spark.table("gold.t").collect()) == [
        (0, "0"),
        (1, "1"),
        (2, "0"),
    ]
    operation = workspace.lineage.operations(kind="write", limit=1)[0]
    assert touched(operation)[0] == [
        ("main.raw.parts", 0),
        (str(workspace.paths.root / "raw" / "in"), None),
    ]
    assert [each.path for each in operation.files] == [str(file)]
