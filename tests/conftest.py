"""Fixtures for the whole suite: a small project that runs in seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, settings

from headrace.engine import command_line

# How fast examples are made says more about the machine than about the code.
settings.register_profile("headrace", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("headrace")

# The workers of pytest-xdist run under ``python -c``.
command_line.prepare()

ROOT = Path(__file__).resolve().parent.parent

HEADRACE_YAML = """
name: small
pipeline: spark-pipeline.yml
expectations:
  silver.readings:
    drop: {in_range: "temperature BETWEEN -50 AND 150"}
models:
  failure:
    train: training/failure.py:train
    table: gold.features
    label: fails
    task: classification
    key: [device_id, hour]
    time: hour
    group: device_id
    holdout: {last: 25%}
    params: {c: 1.0}
    gate: {metric: roc_auc, min: {roc_auc: 0.6}, resamples: 200}
endpoints:
  failure: {model: failure@production, key: [device_id]}
predictions:
  gold.failure_predictions: {model: failure@production, table: gold.latest, key: [device_id, hour]}
"""

SPEC = """
name: small
storage: .headrace/pipeline
database: default
configuration: {raw: raw}
libraries:
  - glob: {include: "transformations/**"}
"""

BRONZE = """
from pyspark import pipelines as dp

dp.create_streaming_table("bronze.readings")


@dp.append_flow(target="bronze.readings")
def readings():
    return (
        spark.readStream.format("parquet")
        .schema("device_id bigint, ts timestamp, temperature double, vibration double, fails int")
        .load(spark.conf.get("raw"))
    )
"""

SILVER = """
from pyspark import pipelines as dp
from pyspark.sql import functions as F


@dp.materialized_view(name="silver.readings")
def readings():
    return spark.read.table("bronze.readings").dropDuplicates(["device_id", "ts"])


@dp.materialized_view(name="gold.features")
def features():
    return (
        spark.read.table("silver.readings")
        .groupBy("device_id", F.date_trunc("hour", "ts").alias("hour"))
        .agg(
            F.avg("temperature").alias("temperature_mean"),
            F.max("vibration").alias("vibration_max"),
            F.max("fails").alias("fails"),
        )
    )
"""

LATEST = """
CREATE MATERIALIZED VIEW gold.latest AS
SELECT device_id, hour, temperature_mean, vibration_max
FROM gold.features
WHERE hour >= TIMESTAMP '2026-01-04 00:00:00';
"""

TRAIN = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def train(X, y, *, seed, c=1.0):
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, random_state=seed)).fit(X, y)
"""


@dataclass
class SmallProject:
    """A project directory, and the command line run in it as a process of its own."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text that must be there."""
        path = self.root / name
        text = path.read_text()
        assert old in text, f"{old!r} not in {name}"
        path.write_text(text.replace(old, new))

    def add_raw(self, day: int, *, devices: int = 30, name: str | None = None) -> Path:
        """Write the raw file of one day: 4 readings an hour and device, deterministic."""
        rng = np.random.default_rng(day)
        hours = pd.date_range(f"2026-01-{day:02}", periods=24 * 4, freq="15min", tz="UTC")
        frame = pd.DataFrame(
            {
                "device_id": np.repeat(np.arange(devices), len(hours)),
                "ts": np.tile(hours, devices),
            }
        )
        wear = rng.normal(0, 1, (devices, 24)).repeat(4, axis=1).ravel()
        frame["temperature"] = 60 + 5 * wear + rng.normal(0, 1, len(frame))
        frame["vibration"] = 1 + 0.2 * wear + rng.gamma(2, 0.05, len(frame))
        chance = 1 / (1 + np.exp(-(2 * wear - 1)))
        frame["fails"] = (rng.random((devices, 24)).repeat(4, axis=1).ravel() < chance).astype(
            "int32"
        )
        frame.loc[frame.index[::997], "temperature"] = 999.0
        path = self.root / "raw" / (name or f"day-{day:02}.parquet")
        path.parent.mkdir(exist_ok=True)
        frame["ts"] = frame["ts"].astype("datetime64[us, UTC]")
        frame.to_parquet(path, index=False)
        return path

    def run(
        self, *words: str, check: bool = True, timeout: float = 300, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """``headrace WORDS`` in a fresh process; asserts exit status 0 unless told otherwise."""
        done = subprocess.run(
            [sys.executable, "-m", "headrace", *words],
            cwd=self.root,
            env={**os.environ, **self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check:
            assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done


_MLFLOW_VARIABLES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_EXPERIMENT_ID",
    "_MLFLOW_SERVER_ARTIFACT_ROOT",
)


@pytest.fixture(scope="module", autouse=True)
def fresh_mlflow() -> None:
    """Each test module starts with MLflow pointing nowhere, as a new process does."""
    if "mlflow" in sys.modules:
        import mlflow
        from mlflow.tracking import fluent

        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
        fluent._active_experiment_id = None
    for name in _MLFLOW_VARIABLES:
        os.environ.pop(name, None)


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., SmallProject]:
    """A factory of small projects: ``make_project(days=4)``."""
    made = 0

    def make(days: int = 4, devices: int = 30) -> SmallProject:
        nonlocal made
        made += 1
        return write_small_project(tmp_path / f"project{made}", days, devices)

    return make


def write_small_project(root: Path, days: int = 4, devices: int = 30) -> SmallProject:
    """A small project with raw files: one streaming table, three views, a model, an endpoint."""
    project = SmallProject(root)
    project.write("headrace.yaml", HEADRACE_YAML)
    project.write("spark-pipeline.yml", SPEC)
    project.write("transformations/bronze.py", BRONZE)
    project.write("transformations/silver.py", SILVER)
    project.write("transformations/latest.sql", LATEST)
    project.write("training/failure.py", TRAIN)
    for day in range(1, days + 1):
        project.add_raw(day, devices=devices)
    return project


@pytest.fixture(scope="session")
def write_project() -> Callable[..., SmallProject]:
    """``write_small_project`` for fixtures of a wider scope than a test."""
    return write_small_project
