"""One row for each device and hour."""

from pyspark import pipelines as dp
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

SENSORS = ["temperature", "pressure", "vibration", "load"]


@dp.materialized_view(name="silver.hours", comment="Readings of each device and hour, averaged")
def hours() -> DataFrame:
    means = [F.avg(sensor).alias(sensor) for sensor in SENSORS]
    return (
        spark.read.table("silver.telemetry")
        .groupBy("device_id", F.window("time", "1 hour").alias("hour"))
        .agg(F.count(F.lit(1)).alias("readings"), *means)
        .select("device_id", F.col("hour.end").alias("window_end"), "readings", *SENSORS)
    )
