"""Raw files as they came: every file is read once, nothing is changed."""

from pyspark import pipelines as dp
from pyspark.sql import DataFrame

TELEMETRY = """
    device_id STRING, time TIMESTAMP, temperature DOUBLE, pressure DOUBLE,
    vibration DOUBLE, load DOUBLE, firmware STRING
"""
FAILURES = "device_id STRING, failed_at TIMESTAMP, cause STRING"

raw = spark.conf.get("raw")

dp.create_streaming_table("bronze.telemetry", comment="Sensor readings as received")
dp.create_streaming_table("bronze.failures", comment="Failures as reported")


@dp.append_flow(target="bronze.telemetry")
def telemetry_files() -> DataFrame:
    return spark.readStream.format("parquet").schema(TELEMETRY).load(f"{raw}/telemetry")


@dp.append_flow(target="bronze.failures")
def failure_files() -> DataFrame:
    return spark.readStream.format("parquet").schema(FAILURES).load(f"{raw}/failures")


@dp.materialized_view(name="bronze.devices", comment="The device list as kept by the sites")
def devices() -> DataFrame:
    return spark.read.parquet(f"{raw}/devices")
