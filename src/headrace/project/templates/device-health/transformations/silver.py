"""Readings one can trust: one row for each device and time, in one unit, in hours."""

from pyspark import pipelines as dp
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

SENSORS = ["temperature", "pressure", "vibration", "load"]


@dp.materialized_view(name="silver.telemetry", comment="Readings, each once, in Celsius")
def telemetry() -> DataFrame:
    fahrenheit = F.col("firmware") == "2.1.0"
    celsius = (F.col("temperature") - 32) * 5 / 9
    return (
        spark.read.table("bronze.telemetry")
        .withColumn("temperature", F.when(fahrenheit, celsius).otherwise(F.col("temperature")))
        .drop("firmware")
        .distinct()  # a reading that was sent twice is the same in every column
    )


@dp.materialized_view(name="silver.hours", comment="Readings of each device and hour")
def hours() -> DataFrame:
    means = [F.avg(sensor).alias(sensor) for sensor in SENSORS]
    return (
        spark.read.table("silver.telemetry")
        .groupBy("device_id", F.window("time", "1 hour").alias("hour"))
        .agg(F.count(F.lit(1)).alias("readings"), *means)
        .select("device_id", F.col("hour.end").alias("window_end"), "readings", *SENSORS)
    )
