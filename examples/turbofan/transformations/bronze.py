"""The published files: numbers with spaces between them, gzipped, without a header."""

from pyspark import pipelines as dp
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

COLUMNS = ["unit", "cycle", *(f"setting{i}" for i in (1, 2, 3)), *(f"s{i}" for i in range(1, 22))]

data = spark.conf.get("data")


def cycles(name: str) -> DataFrame:
    fields = F.split(F.trim("value"), " +")
    lines = spark.read.text(f"{data}/{name}.txt.gz").where(F.trim("value") != "")
    return lines.select(
        *[
            fields[i].cast("int" if column in ("unit", "cycle") else "double").alias(column)
            for i, column in enumerate(COLUMNS)
        ]
    )


@dp.materialized_view(name="bronze.train", comment="100 engines, each run to failure")
def train() -> DataFrame:
    return cycles("train_FD001")


@dp.materialized_view(name="bronze.test", comment="100 engines, each cut before failure")
def test() -> DataFrame:
    return cycles("test_FD001")


@dp.materialized_view(name="gold.test_rul", comment="Cycles left at the last row of each engine")
def test_rul() -> DataFrame:
    # The file has no engine numbers: line n belongs to engine n. A gzipped file is one partition,
    # within which these numbers are consecutive.
    return (
        spark.read.text(f"{data}/RUL_FD001.txt.gz")
        .where(F.trim("value") != "")
        .select(
            (F.monotonically_increasing_id() + 1).cast("int").alias("unit"),
            F.trim("value").cast("double").alias("rul"),
        )
    )
