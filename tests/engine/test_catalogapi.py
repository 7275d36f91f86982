"""``spark.catalog``, ``SHOW`` and ``DESCRIBE`` speak of the project's catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from headrace.catalog import TableNotFoundError
from headrace.engine.errors import SchemaNotEmptyError, UnsupportedStatementError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from headrace.workspace import Workspace


@pytest.fixture
def tables(workspace: Workspace, spark: SparkSession) -> Workspace:
    """A partitioned table, a view over it, a temporary view."""
    spark.range(3).selectExpr("id AS p", "id * 2 AS v").write.partitionBy("p").saveAsTable("gold.t")
    spark.sql("CREATE VIEW gold.seen AS SELECT v FROM gold.t")
    spark.range(1).createOrReplaceTempView("passing")
    return workspace


def shown(spark: SparkSession, text: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in spark.sql(text).collect()]


def test_current_names(tables: Workspace, spark: SparkSession) -> None:
    catalog = spark.catalog
    assert (catalog.currentCatalog(), catalog.currentDatabase()) == ("main", "default")
    assert not catalog.tableExists("t")
    catalog.setCurrentDatabase("gold")
    assert catalog.tableExists("t")
    assert spark.table("t").count() == 3
    catalog.setCurrentCatalog("other")
    assert not catalog.tableExists("t")
    with pytest.raises(TableNotFoundError, match=r"other\.gold\.t"):
        spark.table("t").collect()


def test_tables(tables: Workspace, spark: SparkSession) -> None:
    found = spark.catalog.listTables("gold")
    assert [(each.name, each.tableType, each.isTemporary) for each in found] == [
        ("seen", "VIEW", False),
        ("t", "MANAGED", False),
        ("passing", "TEMPORARY", True),
    ]
    assert [each.name for each in spark.catalog.listTables("gold", "T|x*")] == ["t"]
    assert spark.catalog.getTable("gold.t").namespace == ["gold"]
    assert spark.catalog.tableExists("passing")
    assert not spark.catalog.tableExists("gold.nope")
    assert [each.name for each in spark.catalog.listDatabases()] == ["default", "gold"]
    assert spark.catalog.databaseExists("gold")
    assert not spark.catalog.databaseExists("nope")


def test_columns(tables: Workspace, spark: SparkSession) -> None:
    found = {each.name: each for each in spark.catalog.listColumns("gold.t")}
    assert {name: each.isPartition for name, each in found.items()} == {"p": True, "v": False}
    assert found["v"].dataType == "bigint"
    assert [each.name for each in spark.catalog.listColumns("gold.seen")] == ["v"]
    assert [each.name for each in spark.catalog.listColumns("passing")] == ["id"]
    with pytest.raises(TableNotFoundError):
        spark.catalog.listColumns("gold.nope")


def test_temporary_views(tables: Workspace, spark: SparkSession) -> None:
    spark.range(2).createGlobalTempView("everywhere")
    assert spark.table("global_temp.everywhere").count() == 2
    assert spark.catalog.dropGlobalTempView("everywhere")
    assert spark.catalog.dropTempView("passing")
    assert not spark.catalog.dropTempView("passing")
    with pytest.raises(TableNotFoundError, match="passing"):
        spark.table("passing").collect()


def test_created_and_dropped(tables: Workspace, spark: SparkSession) -> None:
    spark.catalog.createTable("gold.u", schema=spark.table("gold.t").schema, description="new")
    assert spark.table("gold.u").count() == 0
    assert spark.catalog.getTable("gold.u").description == "new"
    spark.catalog.dropTable("gold.u")
    assert not spark.catalog.tableExists("gold.u")
    spark.catalog.createDatabase("bronze")
    assert spark.catalog.databaseExists("bronze")
    with pytest.raises(SchemaNotEmptyError):
        spark.catalog.dropDatabase("gold")


def test_an_external_table(tables: Workspace, spark: SparkSession) -> None:
    spark.range(4).write.format("delta").save("elsewhere")
    spark.sql("CREATE TABLE gold.e USING delta LOCATION 'elsewhere'")
    assert spark.table("gold.e").count() == 4
    assert spark.catalog.getTable("gold.e").tableType == "EXTERNAL"
    spark.sql("DROP TABLE gold.e")
    assert spark.read.format("delta").load("elsewhere").count() == 4


def test_what_needs_no_doing(tables: Workspace, spark: SparkSession) -> None:
    spark.catalog.refreshTable("gold.t")
    spark.catalog.cacheTable("gold.t")
    assert not spark.catalog.isCached("gold.t")
    with pytest.raises(TableNotFoundError):
        spark.catalog.refreshTable("gold.nope")
    with pytest.raises(UnsupportedStatementError, match="getTableProperties"):
        spark.catalog.getTableProperties("gold.t")


def test_show_and_describe(tables: Workspace, spark: SparkSession) -> None:
    spark.sql("CREATE TABLE gold.n (id BIGINT NOT NULL COMMENT 'the key', d DECIMAL(10, 2))")
    assert shown(spark, "DESCRIBE gold.n") == [
        ("id", "bigint", "the key"),
        ("d", "decimal(10,2)", None),
    ]
    assert not spark.table("gold.n").schema["id"].nullable
    assert shown(spark, "SHOW TABLES IN gold LIKE 'n'") == [("gold", "n", False)]
    assert ("gold",) in shown(spark, "SHOW SCHEMAS")
    assert shown(spark, "SHOW COLUMNS IN gold.seen") == [("v",)]
    created = shown(spark, "SHOW CREATE TABLE gold.n")[0][0]
    assert "`id` BIGINT NOT NULL" in str(created)
    spark.sql("INSERT INTO gold.n VALUES (1, 2.5)")
    history = spark.sql("DESCRIBE HISTORY gold.n").collect()
    assert [row.version for row in history] == [1, 0]
    assert history[0].userMetadata.startswith("op_")
    detail = spark.sql("DESCRIBE DETAIL gold.n").collect()[0]
    assert (detail.name, detail.version, detail.numFiles) == ("main.gold.n", 1, 1)
