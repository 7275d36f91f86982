"""The job that is measured: hourly windows over telemetry, written to Delta.

The same PySpark code runs on Headrace and on Apache Spark; only the session differs. Prints
one JSON object: seconds for the session, for the aggregation alone, and for the whole job.
"""

import json
import sys
import time


def aggregate(frame):
    from pyspark.sql import functions as F

    return frame.groupBy(F.window("ts", "1 hour"), F.col("device_id")).agg(
        F.avg("temperature").alias("temperature_mean"),
        F.max("temperature").alias("temperature_max"),
        F.stddev("vibration").alias("vibration_std"),
        F.avg("pressure").alias("pressure_mean"),
        F.count("*").alias("readings"),
    )


def main(system: str, source: str, target: str) -> None:
    began = time.perf_counter()
    spark = {"headrace": headrace_session, "spark": spark_session}[system]()
    started = time.perf_counter()
    aggregate(spark.read.parquet(source)).agg({"temperature_mean": "sum"}).collect()
    aggregated = time.perf_counter()
    aggregate(spark.read.parquet(source)).write.format("delta").mode("overwrite").save(target)
    written = time.perf_counter()
    print(
        json.dumps(
            {
                "session": started - began,
                "aggregate": aggregated - started,
                "to_delta": written - aggregated,
            }
        )
    )


def headrace_session():
    import headrace

    return headrace.spark()


def spark_session():
    """Apache Spark as Delta's quick start sets it up, with the tuning its guide names for 2 cores."""
    import os
    from pathlib import Path

    from pyspark.sql import SparkSession

    jars = ",".join(sorted(str(jar) for jar in Path(os.environ["DELTA_JARS"]).glob("*.jar")))
    return (
        SparkSession.builder.master("local[2]")
        .config("spark.jars", jars)
        .config("spark.driver.memory", "8g")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config(
            "spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog"
        )
        .getOrCreate()
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
