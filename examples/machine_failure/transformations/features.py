"""What was known of a machine at each hour: 3 h and 24 h windows, errors, replacements."""

from pyspark import pipelines as dp
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

HOUR = 3600  # seconds
SENSORS = ["volt", "rotate", "pressure", "vibration"]
ERRORS = ["error1", "error2", "error3", "error4", "error5"]
COMPONENTS = ["comp1", "comp2", "comp3", "comp4"]

seconds = F.col("datetime").cast("long")


def past(hours: int) -> Window:
    """The ``hours`` hours up to and with the row's own."""
    machine = Window.partitionBy("machineID").orderBy(seconds)
    return machine.rangeBetween(-(hours - 1) * HOUR, 0)


def sensor_features() -> list[Column]:
    return [
        statistic(sensor).over(past(hours)).alias(f"{sensor}_{name}_{hours}h")
        for hours in (3, 24)
        for sensor in SENSORS
        for name, statistic in (("mean", F.avg), ("sd", F.stddev))
    ]


@dp.materialized_view(
    name="gold.machine_features", comment="One row for each machine and hour, with its label"
)
def machine_features() -> DataFrame:
    hour = ["machineID", "datetime"]
    counts = [
        F.coalesce(F.sum(e).over(past(24)), F.lit(0)).cast("int").alias(f"{e}_24h") for e in ERRORS
    ]
    # Deviations need two readings: the first hour of each machine has none.
    windows = (
        spark.read.table("bronze.telemetry")
        .join(spark.read.table("error_counts"), hour, "left")
        .select(*hour, *sensor_features(), *counts)
        .where(F.col("volt_sd_3h").isNotNull())
    )
    days = [
        ((seconds - F.col(c).cast("long")) / (24 * HOUR)).alias(f"{c}_days") for c in COMPONENTS
    ]
    replacements = spark.read.table("last_replacements").select(*hour, *days)
    label = "fails_within_24h"
    failing = spark.read.table("hours_before_failure").select(*hour, F.lit(1).alias(label))
    return (
        windows.join(replacements, hour)
        .join(spark.read.table("bronze.machines"), "machineID")
        .join(failing, hour, "left")
        .withColumn(label, F.coalesce(label, F.lit(0)))
    )
