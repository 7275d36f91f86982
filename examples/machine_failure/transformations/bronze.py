"""The five published files, typed."""

from pyspark import pipelines as dp
from pyspark.sql import DataFrame

data = spark.conf.get("data")


def csv(name: str, schema: str) -> DataFrame:
    return spark.read.csv(f"{data}/{name}.csv", schema=schema, header=True)


@dp.materialized_view(name="bronze.telemetry")
def telemetry() -> DataFrame:
    columns = "datetime TIMESTAMP, machineID INT, volt DOUBLE, rotate DOUBLE, pressure DOUBLE"
    return csv("PdM_telemetry_20machines_90days", f"{columns}, vibration DOUBLE")


@dp.materialized_view(name="bronze.errors")
def errors() -> DataFrame:
    return csv("PdM_errors", "datetime TIMESTAMP, machineID INT, errorID STRING")


@dp.materialized_view(name="bronze.maintenance")
def maintenance() -> DataFrame:
    return csv("PdM_maint", "datetime TIMESTAMP, machineID INT, comp STRING")


@dp.materialized_view(name="bronze.failures")
def failures() -> DataFrame:
    return csv("PdM_failures", "datetime TIMESTAMP, machineID INT, failure STRING")


@dp.materialized_view(name="bronze.machines")
def machines() -> DataFrame:
    return csv("PdM_machines", "machineID INT, model STRING, age INT")
