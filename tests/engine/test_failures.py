"""What goes wrong, and that it is said: files, servers, definitions that do too much."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headrace.catalog import TableNotFoundError
from headrace.engine import sail
from headrace.engine.errors import (
    AnalysisOnlyError,
    PathNotFoundError,
    UnreadableFileError,
    ViewCycleError,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from headrace.workspace import Workspace


def numbers(spark: SparkSession, count: int) -> DataFrame:
    return spark.range(count).selectExpr("id", "id * 2 AS v")


def with_bad_file(root: Path, spark: SparkSession, content: bytes) -> Path:
    numbers(spark, 3).write.parquet("raw")
    bad = root / "raw" / "bad.parquet"
    bad.write_bytes(content)
    return bad


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text that is no Parquet file",
        b"PAR1 cut off, so that the length is wrong PAR1",
        # The ends are right and the footer is none: found after the engine has failed.
        b"PAR1" + bytes(40) + (40).to_bytes(4, "little") + b"PAR1",
    ],
)
def test_a_corrupt_file_among_good_ones_is_named(
    workspace: Workspace, spark: SparkSession, content: bytes
) -> None:
    bad = with_bad_file(workspace.paths.root, spark, content)
    with pytest.raises(UnreadableFileError) as read:
        spark.read.schema("id LONG, v LONG").parquet("raw").collect()
    assert read.value.path == str(bad)
    with pytest.raises(UnreadableFileError):
        _ = spark.read.parquet("raw").columns
    with pytest.raises(UnreadableFileError):
        spark.read.schema("id LONG, v LONG").parquet("raw").write.saveAsTable("bronze.t")
    assert workspace.catalog.find("bronze.t") is None
    assert len(workspace.lineage.operations()) == 1


@pytest.mark.parametrize("path", ["nothing", "nothing/*.parquet", "empty", "{a,b}"])
def test_nothing_to_read(workspace: Workspace, spark: SparkSession, path: str) -> None:
    (workspace.paths.root / "empty").mkdir()
    (workspace.paths.root / "empty" / "_SUCCESS").touch()
    with pytest.raises(PathNotFoundError) as caught:
        spark.read.parquet(path).count()
    assert caught.value.path == path


def test_globs_and_several_paths(workspace: Workspace, spark: SparkSession) -> None:
    for name in "abc":
        numbers(spark, 2).write.parquet(f"raw/{name}")
    assert spark.read.parquet("raw/*").count() == 6
    assert spark.read.parquet("raw/a", "raw/b").count() == 4
    spark.read.parquet("raw/a", "raw/c").write.saveAsTable("bronze.t")
    files = workspace.lineage.operations(limit=1)[0].files
    assert {Path(each.path).parent.name for each in files} == {"a", "c"}


def test_a_view_that_reads_itself(spark: SparkSession) -> None:
    numbers(spark, 1).write.saveAsTable("gold.t")
    spark.sql("CREATE VIEW gold.a AS SELECT * FROM gold.t")
    spark.sql("CREATE VIEW gold.b AS SELECT * FROM gold.a")
    with pytest.raises(ViewCycleError, match=r"gold\.a -> main\.gold\.b -> main\.gold\.a"):
        spark.sql("CREATE OR REPLACE VIEW gold.a AS SELECT * FROM gold.b")
    with pytest.raises(ViewCycleError, match=r"gold\.a -> main\.gold\.a"):
        spark.sql("CREATE OR REPLACE VIEW gold.a AS SELECT * FROM gold.a")
    assert spark.table("gold.b").count() == 1


def test_views_that_read_each_other(workspace: Workspace, spark: SparkSession) -> None:
    """Two processes that replace a view each can still make them."""
    workspace.catalog.create_view("gold.a", "SELECT * FROM main.gold.b")
    workspace.catalog.create_view("gold.b", "SELECT * FROM main.gold.a")
    with pytest.raises(ViewCycleError, match=r"gold\.a -> main\.gold\.b -> main\.gold\.a"):
        spark.table("gold.a").collect()


def test_definitions_may_not_write(workspace: Workspace, spark: SparkSession) -> None:
    numbers(spark, 1).write.saveAsTable("gold.t")
    with workspace.engine.analysis():
        assert spark.sql("SELECT * FROM gold.t").columns == ["id", "v"]
        with pytest.raises(AnalysisOnlyError):
            numbers(spark, 1).write.saveAsTable("gold.u")
        with pytest.raises(AnalysisOnlyError, match="INSERT"):
            spark.sql("INSERT INTO gold.t VALUES (1, 2)")
        with pytest.raises(AnalysisOnlyError, match="CREATE"):
            spark.sql("CREATE TABLE gold.u AS SELECT 1 AS x")
        lazy = spark.sql("SELECT x FROM gold.later")
        lazy.createOrReplaceTempView("soon")
        with pytest.raises(TableNotFoundError, match=r"gold\.later"):
            _ = spark.table("soon").columns
    spark.sql("SELECT 1 AS x").write.saveAsTable("gold.later")
    assert spark.table("soon").collect() == [(1,)]


def test_references_read_nothing(workspace: Workspace, spark: SparkSession) -> None:
    numbers(spark, 1).write.saveAsTable("gold.t")
    spark.sql("CREATE VIEW gold.seen AS SELECT * FROM gold.t")
    before = len(workspace.lineage.operations())
    with workspace.engine.analysis():
        df = spark.sql(
            "WITH w AS (SELECT * FROM gold.seen) SELECT * FROM w "
            "WHERE id IN (SELECT id FROM silver.x) UNION ALL SELECT * FROM json.`in/*.json`"
        ).join(spark.read.format("csv").option("header", "true").load("in.csv"), "id")
        found = workspace.engine.references(df)
    root = workspace.paths.root
    assert [(each.kind, each.name, each.format) for each in found] == [
        ("table", "main.gold.t", None),
        ("table", "silver.x", None),
        ("path", str(root / "in/*.json"), "json"),
        ("path", str(root / "in.csv"), "csv"),
    ]
    assert found[-1].options["header"] == "true"
    assert len(workspace.lineage.operations()) == before


def test_two_projects_in_one_process(
    workspace: Workspace, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from headrace.workspace import open_workspace

    root = tmp_path_factory.mktemp("other")
    (root / "headrace.yaml").write_text("name: other\n")
    other = open_workspace(root)
    try:
        theirs = other.engine.session()
        numbers(spark, 1).write.saveAsTable("gold.t")
        numbers(theirs, 2).write.saveAsTable("gold.t")
        assert (spark.table("gold.t").count(), theirs.table("gold.t").count()) == (1, 2)
    finally:
        other.close()
    assert spark.table("gold.t").count() == 1


def test_a_remote_engine(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any Spark Connect server will do; here it is a second one of the embedded kind."""
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer(ip="127.0.0.1", port=0)
    server.start(background=True)
    host, port = server.listening_address
    monkeypatch.setenv("HEADRACE_ENGINE", f"sc://{host}:{port}")
    monkeypatch.setattr(sail, "address", pytest.fail)
    try:
        spark = workspace.engine.session()
        numbers(spark, 3).write.saveAsTable("gold.t")
        assert spark.table("gold.t").count() == 3
        assert [each.kind for each in workspace.lineage.operations()] == ["read", "write"]
        workspace.engine.stop()
    finally:
        server.stop()


def test_the_engine_starts_again_after_stop(workspace: Workspace) -> None:
    first = workspace.engine.session()
    numbers(first, 2).write.saveAsTable("gold.t")
    workspace.engine.stop()
    second = workspace.engine.session()
    assert second is not first
    assert second.table("gold.t").count() == 2


def test_views_count_for_the_depth_of_a_plan(spark: SparkSession) -> None:
    """One below the other they would end the process too."""
    from headrace.engine.errors import UnsupportedStatementError
    from headrace.engine.rewrite import MAX_DEPTH

    numbers(spark, 2).write.saveAsTable("gold.t")
    df = spark.table("gold.t")
    for name in ("low", "high"):
        for step in range(MAX_DEPTH // 2):
            df = df.withColumn("w", df["id"] + step)
        df.createTempView(name)
        df = spark.table(name)
    with pytest.raises(UnsupportedStatementError, match="steps"):
        df.collect()
    assert spark.table("low").count() == 2


def test_plans_that_are_too_deep_for_the_engine(spark: SparkSession) -> None:
    """They would end the process; a little less deep, they run."""
    from headrace.engine.errors import UnsupportedStatementError
    from headrace.engine.rewrite import MAX_DEPTH

    numbers(spark, 2).write.saveAsTable("gold.t")
    df = spark.table("gold.t")
    for step in range(MAX_DEPTH - 2):
        df = df.withColumn("w", df["id"] + step)
    df.write.saveAsTable("gold.deep")
    assert spark.table("gold.deep").count() == 2
    for step in range(3):
        df = df.withColumn("w", df["id"] + step)
    with pytest.raises(UnsupportedStatementError, match="withColumns"):
        df.collect()
    with pytest.raises(UnsupportedStatementError, match="steps"):
        _ = df.columns
