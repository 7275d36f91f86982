"""Tables that lie where the user says: their rows are never removed unasked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headrace import lakehouse
from headrace.catalog import LocationTakenError, NameTakenError
from headrace.engine.errors import LocationHoldsTableError, UnsupportedStatementError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from headrace.workspace import Workspace


@pytest.fixture
def place(spark: SparkSession, tmp_path: Path) -> Path:
    """A Delta table of five rows that has no name."""
    location = tmp_path / "elsewhere"
    spark.range(5).write.format("delta").save(str(location))
    return location


def count(location: Path) -> int:
    return lakehouse.row_count(location)


@pytest.mark.parametrize("columns", ["", "(id BIGINT)", "(ID bigint)"])
def test_a_table_that_is_there_is_taken_as_it_is(
    spark: SparkSession, place: Path, columns: str
) -> None:
    spark.sql(f"CREATE TABLE gold.t {columns} USING delta LOCATION '{place}'")
    assert spark.table("gold.t").count() == 5
    assert lakehouse.latest_version(place) == 0


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE gold.t USING delta LOCATION '{}' AS SELECT 1 AS id",
        "CREATE TABLE IF NOT EXISTS gold.t LOCATION '{}' AS SELECT 1 AS id",
        "CREATE TABLE gold.t (id STRING) USING delta LOCATION '{}'",
        "CREATE TABLE gold.t (id BIGINT, more INT) USING delta LOCATION '{}'",
    ],
)
def test_rows_that_are_there_stay(
    workspace: Workspace, spark: SparkSession, place: Path, statement: str
) -> None:
    with pytest.raises(LocationHoldsTableError, match=r"main\.gold\.t would replace"):
        spark.sql(statement.format(place))
    assert count(place) == 5
    assert workspace.catalog.find("gold.t") is None


def test_rows_that_are_there_go_when_asked(spark: SparkSession, place: Path) -> None:
    spark.sql(f"CREATE OR REPLACE TABLE gold.t LOCATION '{place}' AS SELECT 1 AS id")
    assert count(place) == 1
    spark.range(2).write.mode("overwrite").option("path", str(place)).saveAsTable("gold.t")
    assert count(place) == 2


def test_the_place_of_another_table_is_not_touched(spark: SparkSession, place: Path) -> None:
    spark.sql(f"CREATE TABLE gold.t USING delta LOCATION '{place}'")
    for statement in ("CREATE TABLE", "CREATE OR REPLACE TABLE"):
        with pytest.raises(LocationTakenError, match=r"main\.gold\.t"):
            spark.sql(f"{statement} gold.u USING delta LOCATION '{place}' AS SELECT 1 AS id")
    assert count(place) == 5


def test_save_as_table_at_a_path(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "mine"
    rows = spark.range(3)
    rows.write.option("path", str(path)).saveAsTable("gold.t")
    rows.write.mode("append").option("path", str(path)).saveAsTable("gold.t")
    rows.writeTo("gold.v").using("delta").option("path", str(tmp_path / "other")).create()
    assert (count(path), count(tmp_path / "other")) == (6, 3)
    with pytest.raises(NameTakenError, match="table in"):
        rows.write.mode("append").option("path", str(tmp_path / "x")).saveAsTable("gold.t")
    spark.sql("DROP TABLE gold.t")
    assert count(path) == 6


def test_save_as_table_where_a_table_lies(spark: SparkSession, place: Path) -> None:
    for mode in ("error", "append", "ignore"):
        with pytest.raises(LocationHoldsTableError):
            spark.range(1).write.mode(mode).option("path", str(place)).saveAsTable("gold.t")
    assert count(place) == 5


def test_addresses_of_other_machines_get_no_name(spark: SparkSession) -> None:
    with pytest.raises(UnsupportedStatementError, match="s3://"):
        spark.sql("CREATE TABLE gold.t (id INT) USING delta LOCATION 's3://bucket/t'")
