"""Features of each device and hour, which look back only, and the label, which looks ahead."""

from pyspark import pipelines as dp
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

HOUR = 3600  # seconds
SENSORS = ["temperature", "pressure", "vibration", "load"]
DAY = F.expr("INTERVAL 24 HOURS")

window_end = F.col("window_end")
failed_at = F.col("failed_at")


def mean(sensor: str, hours: int) -> Column:
    """Mean of the ``hours`` hours up to and with the row's own, as far as there are readings."""
    past = Window.partitionBy("device_id").orderBy(window_end.cast("long"))
    return F.avg(sensor).over(past.rangeBetween(-(hours - 1) * HOUR, 0))


def rise(sensor: str) -> Column:
    """The last hours against the last day: devices differ, so a level alone says little."""
    return F.col(f"{sensor}_3h") - F.col(f"{sensor}_24h")


def failures() -> DataFrame:
    return spark.read.table("bronze.failures").select("device_id", "failed_at")


def last_reading() -> DataFrame:
    return spark.read.table("silver.telemetry").agg(F.max("time").alias("last_reading"))


@dp.temporary_view(name="windows", comment="Features of every window, labelled or not")
def windows() -> DataFrame:
    means = [
        mean(sensor, hours).alias(f"{sensor}_{hours}h") for hours in (3, 24) for sensor in SENSORS
    ]
    rolling = spark.read.table("silver.hours").select("device_id", "window_end", *means)
    last_failure = (
        rolling.select("device_id", "window_end")
        .join(failures(), "device_id")
        .where(failed_at <= window_end)
        .groupBy("device_id", "window_end")
        .agg(F.max("failed_at").alias("failed_at"))
    )
    # A repair makes a device as good as new: its days in service count from there.
    in_service = F.coalesce(failed_at, F.col("installed_on").cast("timestamp"))
    days = (window_end.cast("long") - in_service.cast("long")) / (24 * HOUR)
    return (
        rolling.join(spark.read.table("silver.devices"), "device_id")
        .join(last_failure, ["device_id", "window_end"], "left")
        .withColumn("days_in_service", days)
        .drop("installed_on", "failed_at")
        .select("*", *[rise(sensor).alias(f"{sensor}_rise") for sensor in SENSORS])
    )


@dp.materialized_view(
    name="gold.device_features", comment="Windows whose next 24 hours have been observed"
)
def device_features() -> DataFrame:
    rows = spark.read.table("windows")
    failing = (
        rows.select("device_id", "window_end")
        .join(failures(), "device_id")
        .where((failed_at > window_end) & (failed_at <= window_end + DAY))
        .select("device_id", "window_end", F.lit(1).alias("failing"))
        .distinct()
    )
    return (
        rows.crossJoin(last_reading())
        .where(window_end + DAY <= F.col("last_reading"))
        .join(failing, ["device_id", "window_end"], "left")
        .withColumn("fails_within_24h", F.coalesce(F.col("failing"), F.lit(0)))
        .drop("failing", "last_reading")
    )


@dp.materialized_view(name="gold.device_latest", comment="Windows of the last day, to be scored")
def device_latest() -> DataFrame:
    return (
        spark.read.table("windows")
        .crossJoin(last_reading())
        .where(window_end > F.col("last_reading") - DAY)
        .drop("last_reading")
    )
