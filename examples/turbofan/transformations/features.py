"""Each engine's past at each cycle, and how many cycles it has left."""

from pyspark import pipelines as dp
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

# The other seven sensors of FD001 are constant or nearly so.
SENSORS = [f"s{i}" for i in (2, 3, 4, 7, 8, 9, 11, 12, 13, 14, 15, 17, 20, 21)]
FEATURES = [f"{sensor}_{kind}" for sensor in SENSORS for kind in ("mean", "sd", "change")]
CYCLES = 15
RUL_CAP = 125  # a healthy engine shows no wear; the usual cap of the training label


def history(cycles: DataFrame) -> DataFrame:
    """Rows with the sensors, their last cycles, and their change since the first cycles.

    The first rows of an engine have short windows; deviations of the first row are 0.
    """
    engine = Window.partitionBy("unit").orderBy("cycle")
    recent = engine.rowsBetween(-(CYCLES - 1), 0)
    # The baseline of a row looks back only: early rows have an early, rough baseline.
    early = engine.rowsBetween(Window.unboundedPreceding, 0)
    features = []
    for sensor in SENSORS:
        mean = F.avg(sensor).over(recent)
        first = F.avg(F.when(F.col("cycle") <= CYCLES, F.col(sensor))).over(early)
        features += [
            mean.alias(f"{sensor}_mean"),
            F.coalesce(F.stddev(sensor).over(recent), F.lit(0.0)).alias(f"{sensor}_sd"),
            (mean - first).alias(f"{sensor}_change"),
        ]
    run = F.col("cycle").cast("double").alias("cycles_run")
    return cycles.select("unit", "cycle", run, *SENSORS, *features)


@dp.materialized_view(name="gold.engine_cycles", comment="Training rows: every cycle, labelled")
def engine_cycles() -> DataFrame:
    left = F.max("cycle").over(Window.partitionBy("unit")) - F.col("cycle")
    return history(spark.read.table("bronze.train")).withColumn(
        "rul", F.least(left, F.lit(RUL_CAP)).cast("double")
    )


@dp.materialized_view(name="gold.test_engines", comment="The last cycle of each test engine")
def test_engines() -> DataFrame:
    last = F.max("cycle").over(Window.partitionBy("unit")).alias("last")
    return (
        history(spark.read.table("bronze.test"))
        .select("*", last)
        .where(F.col("cycle") == F.col("last"))
        .select("unit", "cycle", "cycles_run", *SENSORS, *FEATURES)
    )
