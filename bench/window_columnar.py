"""The same aggregation in DuckDB and in Polars, as their own guides write it."""

import json
import sys
import time


def duckdb_seconds(source: str) -> float:
    import duckdb

    began = time.perf_counter()
    duckdb.sql("SET threads = 2")
    duckdb.sql(
        f"""
        SELECT sum(temperature_mean) FROM (
            SELECT time_bucket(INTERVAL '1 hour', ts) AS hour, device_id,
                   avg(temperature) AS temperature_mean, max(temperature) AS temperature_max,
                   stddev(vibration) AS vibration_std, avg(pressure) AS pressure_mean,
                   count(*) AS readings
            FROM read_parquet('{source}/*.parquet') GROUP BY ALL)
        """
    ).fetchall()
    return time.perf_counter() - began


def polars_seconds(source: str) -> float:
    import polars as pl

    began = time.perf_counter()
    (
        pl.scan_parquet(f"{source}/*.parquet")
        .group_by(pl.col("ts").dt.truncate("1h"), "device_id")
        .agg(
            pl.col("temperature").mean().alias("temperature_mean"),
            pl.col("temperature").max().alias("temperature_max"),
            pl.col("vibration").std().alias("vibration_std"),
            pl.col("pressure").mean().alias("pressure_mean"),
            pl.len().alias("readings"),
        )
        .select(pl.col("temperature_mean").sum())
        .collect(engine="streaming")
    )
    return time.perf_counter() - began


if __name__ == "__main__":
    system, source = sys.argv[1:3]
    seconds = {"duckdb": duckdb_seconds, "polars": polars_seconds}[system](source)
    print(json.dumps({"aggregate": seconds}))
