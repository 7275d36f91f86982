"""Features of each device and hour, which look back only, and the label, which looks ahead."""

from pyspark import pipelines as dp
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

HOUR = 3600  # seconds
DAY = F.expr("INTERVAL 24 HOURS")
KEY = ["device_id", "window_end"]
SENSORS = ["temperature", "pressure", "vibration", "load"]
FEATURES = ["days_in_service", *(f"{s}_{span}" for span in ("3h", "24h", "rise") for s in SENSORS)]

window_end = F.col("window_end")
failed_at = F.col("failed_at")


def mean(sensor: str, hours: int) -> Column:
    """Mean of the ``hours`` hours up to and with the row's own, as far as there are readings."""
    past = Window.partitionBy("device_id").orderBy(window_end.cast("long"))
    return F.avg(sensor).over(past.rangeBetween(-(hours - 1) * HOUR, 0))


def failures() -> DataFrame:
    return spark.read.table("bronze.failures").select("device_id", "failed_at")


def last_reading() -> DataFrame:
    return spark.read.table("silver.telemetry").agg(F.max("time").alias("last_reading"))


@dp.temporary_view(name="windows", comment="Features of every window, labelled or not")
def windows() -> DataFrame:
    means = [mean(s, hours).alias(f"{s}_{hours}h") for hours in (3, 24) for s in SENSORS]
    rolling = spark.read.table("silver.hours").select(*KEY, *means)
    last_failure = (
        rolling.select(*KEY)
        .join(failures(), "device_id")
        .where(failed_at <= window_end)
        .groupBy(*KEY)
        .agg(F.max("failed_at").alias("failed_at"))
    )
    # A repair makes a device as good as new: its days in service count from there.
    since = F.coalesce(failed_at, F.col("installed_on").cast("timestamp"))
    days = (window_end.cast("long") - since.cast("long")) / (24 * HOUR)
    # Devices differ, so a level alone says little; the last hours against the last day say more.
    rises = [(F.col(f"{s}_3h") - F.col(f"{s}_24h")).alias(f"{s}_rise") for s in SENSORS]
    return (
        rolling.join(spark.read.table("silver.devices"), "device_id")
        .join(last_failure, KEY, "left")
        .select("*", days.alias("days_in_service"), *rises)
        .select(*KEY, "model", "site", *FEATURES)
    )


@dp.materialized_view(
    name="gold.device_features", comment="Windows whose next 24 hours have been observed"
)
def device_features() -> DataFrame:
    rows = spark.read.table("windows")
    failing = (
        rows.select(*KEY)
        .join(failures(), "device_id")
        .where((failed_at > window_end) & (failed_at <= window_end + DAY))
        .groupBy(*KEY)
        .agg(F.count("failed_at").alias("failures"))
    )
    label = F.when(F.col("failures").isNull(), 0).otherwise(1).alias("fails_within_24h")
    return (
        rows.crossJoin(last_reading())
        .where(window_end + DAY <= F.col("last_reading"))
        .join(failing, KEY, "left")
        .select(*KEY, "model", "site", *FEATURES, label)
    )


@dp.materialized_view(name="gold.device_latest", comment="Windows of the last day, to be scored")
def device_latest() -> DataFrame:
    return (
        spark.read.table("windows")
        .crossJoin(last_reading())
        .where(window_end > F.col("last_reading") - DAY)
        .select(*KEY, "model", "site", *FEATURES)
    )
