"""Projects whose tables hold raw files, and one in which everything has run once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.pipeline.conftest import Project
from tests.trace.conftest import loop as loop

TABLES = """
from pyspark import pipelines as dp
from pyspark.sql import functions as F

raw = spark.conf.get("raw")


@dp.table(name="bronze.events")
def events():
    return spark.readStream.format("parquet").schema("id bigint, value double").load(f"{raw}/events")


@dp.table(name="silver.events")
def doubled():
    return spark.readStream.table("bronze.events").withColumn("double", F.col("value") * 2)


@dp.materialized_view(name="gold.sums")
def sums():
    return spark.read.table("silver.events").groupBy("id").agg(F.sum("double").alias("total"))


@dp.materialized_view(name="gold.sites")
def sites():
    return spark.read.schema("id bigint, site string").parquet(f"{raw}/sites")


@dp.materialized_view(name="gold.report")
def report():
    return spark.read.table("gold.sums").join(spark.read.table("gold.sites"), "id", "left")
"""


def make_events(project: Project) -> Project:
    """Streams over raw files and over each other, and views; refreshed once."""
    project.write("headrace.yaml", "name: test\npipeline: spark-pipeline.yml\n")
    project.write("transformations/tables.py", TABLES)
    for day in (1, 2, 3):
        rows = {"id": [1, 2, 3], "value": [float(day), 10.0 * day, 100.0 * day]}
        project.parquet(f"raw/events/{day}.parquet", **rows)
        if day == 2:
            # The rows of the third day come in a batch of their own.
            project.parquet("raw/sites/all.parquet", id=[1, 2], site=["north", "south"])
            project.run()
    project.run()
    return project


@pytest.fixture
def make_events_project(tmp_path: Path) -> Iterator[Callable[..., Project]]:
    """A factory of such projects, which are closed afterwards."""
    made: list[Project] = []

    def make(name: str = "project") -> Project:
        made.append(make_events(Project(tmp_path / name)))
        return made[-1]

    yield make
    for project in made:
        project.workspace.close()


@pytest.fixture
def events(make_events_project: Callable[..., Project]) -> Project:
    """One of them."""
    return make_events_project()


def recall_in_a_process(root: Path, what: str, **environment: str) -> int:
    """``headrace recall WHAT --apply`` in a process of its own; its exit status."""
    done = subprocess.run(
        [sys.executable, "-m", "headrace", "recall", what, "--apply", "--yes"],
        cwd=root,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=180,
    )
    return done.returncode
