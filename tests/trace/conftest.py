"""The whole way once a module: raw files, tables, a trained and registered model, predictions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.modelling import put_alias

from headrace.scoring import PredictionSpec, Scoring, score
from headrace.workspace import Workspace, open_workspace

MLFLOW_WARNINGS = [
    # MLflow's own use of SQLAlchemy, and its classes when they are imported.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
    pytest.mark.filterwarnings("ignore:(?s).*Any type hint is inferred as AnyType"),
]

TRAIN = """
from sklearn.linear_model import LogisticRegression


def train(X, y, *, seed):
    return LogisticRegression(random_state=seed).fit(X, y)
"""

START = pd.Timestamp("2026-01-01", tz="UTC")
DEVICES = 12


def write_raw(root: Path, day: int) -> list[Path]:
    """Two Parquet files a day, of devices with even and with odd numbers; a reading each 10 min."""
    times = pd.date_range(START + pd.Timedelta(days=day), periods=144, freq="10min")
    made = []
    for gateway in (0, 1):
        devices = np.arange(gateway, DEVICES, 2)
        rng = np.random.default_rng([day, gateway])
        frame = pd.DataFrame(
            {
                "device_id": np.repeat(devices, len(times)),
                "ts": np.tile(times, len(devices)),
                "temperature": rng.normal(60, 5, len(devices) * len(times)),
            }
        )
        frame["ts"] = frame["ts"].astype("datetime64[us, UTC]")
        path = root / "raw" / "telemetry" / f"day-{day}-gateway-{gateway}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path, index=False)
        made.append(path)
    return made


@dataclass
class Loop:
    """A project in which everything has run once."""

    workspace: Workspace
    spec: PredictionSpec
    scoring: Scoring
    run_id: str

    @property
    def root(self) -> Path:
        """The project directory."""
        return self.workspace.paths.root


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """Raw Parquet and CSV -> silver (two appends) -> gold -> model -> predictions."""
    root = tmp_path_factory.mktemp("device-health")
    (root / "headrace.yaml").write_text("name: trace\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SPARK_REMOTE", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.setenv(name, "")
            patch.delenv(name)
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", (root / "artifacts").as_uri())
        workspace = open_workspace(root)
        make_tables(workspace)
        run_id = make_model(workspace)
        spec = PredictionSpec(
            table="gold.predictions",
            model="failure@production",
            input="gold.features",
            key=["device_id", "window_end"],
        )
        yield Loop(workspace, spec, score(workspace, spec), run_id)
        workspace.close()


def make_tables(workspace: Workspace) -> None:
    """``silver.telemetry``, appended twice, and ``gold.features``: 3 hours back from each hour."""
    from pyspark.sql import functions as f

    root, spark = workspace.paths.root, workspace.spark()
    pd.DataFrame({"device_id": range(DEVICES), "site": "north"}).to_csv(
        _made(root / "raw" / "devices.csv"), index=False
    )
    for day in range(3):
        paths = [str(path) for path in write_raw(root, day)]
        spark.read.parquet(*paths).write.mode("append").saveAsTable("silver.telemetry")
    devices = spark.read.option("header", True).option("inferSchema", True)
    sites = devices.csv(str(root / "raw" / "devices.csv"))
    hours = spark.table("silver.telemetry").withColumn(
        "window_end", f.date_trunc("hour", f.col("ts")) + f.expr("INTERVAL 1 HOUR")
    )
    hourly = hours.groupBy("device_id", "window_end").agg(
        f.avg("temperature").alias("temperature_mean"),
        f.max("temperature").alias("temperature_max"),
    )
    hourly.join(sites, "device_id").withColumn(
        "fails", (f.col("temperature_max") > 68).cast("int")
    ).write.saveAsTable("gold.features")


def make_model(workspace: Workspace) -> str:
    """Train and register ``failure`` and promote it; the run."""
    from headrace.registry import register
    from headrace.tracking import TrainingSpec, train

    source = _made(workspace.paths.root / "training" / "failure.py")
    source.write_text(TRAIN)
    spec = TrainingSpec.model_validate(
        {
            "name": "failure",
            "train": "training/failure.py:train",
            "table": "gold.features",
            "label": "fails",
            "task": "classification",
            "key": ["device_id", "window_end"],
            "time": "window_end",
            "group": "device_id",
            "exclude": ["site"],
            "holdout": {"last": "25%"},
            "lookback": "1h",
        }
    )
    version = register(workspace, spec, train(workspace, spec))
    put_alias(workspace, "failure", version.version)
    return str(version.run_id)


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
