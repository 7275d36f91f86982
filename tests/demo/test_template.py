"""The device-health template, run on a small simulated fleet."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from tests.remaking import assert_bit_equal, make_again_after_changes

from headrace.demo.simulate import Simulation, simulate
from headrace.project import init

pytestmark = pytest.mark.slow

DAY = pd.Timedelta(hours=24)
SENSORS = ["temperature", "pressure", "vibration", "load"]
TABLES = ["silver.devices", "gold.device_features", "gold.device_latest"]


@dataclass(frozen=True)
class Template:
    """The template's project with the raw files of a fleet."""

    root: Path
    fleet: Simulation

    def run(self, *words: str) -> str:
        """``headrace run`` in a fresh process; its output."""
        command = [sys.executable, "-m", "headrace", "run", *words]
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def table(self, name: str) -> pd.DataFrame:
        """A table's rows, read from Delta without Headrace."""
        location = self.root / "warehouse" / "main" / name.replace(".", "/")
        rows: pd.DataFrame = DeltaTable(location).to_pandas()
        return rows

    def raw(self, name: str) -> pd.DataFrame:
        """The rows of a folder of raw files."""
        rows: pd.DataFrame = pq.read_table(self.root / "raw" / name).to_pandas()
        return rows


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    root = tmp_path_factory.mktemp("template") / "health"
    init(root, "device-health")
    made = Template(root, simulate(root / "raw", devices=40, days=9))
    made.run(*TABLES)
    return made


@pytest.fixture(scope="module")
def readings(template: Template) -> pd.DataFrame:
    """What silver.telemetry should hold, made from the raw files with pandas alone."""
    rows = template.raw("telemetry").drop_duplicates(["device_id", "time"])
    faulty = rows["firmware"] == "2.1.0"
    rows.loc[faulty, "temperature"] = (rows.loc[faulty, "temperature"] - 32) * 5 / 9
    limits = {
        "temperature": (-40, 200),
        "pressure": (0, 40),
        "vibration": (0, 60),
        "load": (0, 100),
    }
    for sensor, (low, high) in limits.items():
        rows = rows[rows[sensor].isna() | rows[sensor].between(low, high)]
    return rows.drop(columns="firmware")


def test_silver_holds_each_plausible_reading_once(
    template: Template, readings: pd.DataFrame
) -> None:
    order = ["device_id", "time"]
    ours = template.table("silver.telemetry").sort_values(order, ignore_index=True)
    theirs = readings.sort_values(order, ignore_index=True)
    pd.testing.assert_frame_equal(ours[theirs.columns], theirs, check_dtype=False)


def test_features_look_back_only(template: Template, readings: pd.DataFrame) -> None:
    hours = readings.assign(window_end=readings["time"].dt.floor("h") + DAY / 24)
    hourly = hours.groupby(["device_id", "window_end"])[SENSORS].mean().reset_index()
    failures = template.raw("failures")
    devices = template.table("silver.devices").set_index("device_id")
    assert set(devices["model"]) <= {"P-100", "P-200", "P-300"}
    features = template.table("gold.device_features")
    assert len(features) > 40 * 24 * 7
    for row in features.sample(80, random_state=3).to_dict("records"):
        device, now = row["device_id"], row["window_end"]
        past = hourly[(hourly["device_id"] == device) & (hourly["window_end"] <= now)]
        for sensor in SENSORS:
            recent = past.loc[past["window_end"] > now - DAY / 8, sensor].mean()
            day = past.loc[past["window_end"] > now - DAY, sensor].mean()
            assert row[f"{sensor}_3h"] == pytest.approx(recent)
            assert row[f"{sensor}_24h"] == pytest.approx(day)
            assert row[f"{sensor}_rise"] == pytest.approx(recent - day, abs=1e-9)
        own = failures.loc[failures["device_id"] == device, "failed_at"]
        installed = pd.Timestamp(devices.loc[device, "installed_on"], tz="UTC")
        since = max([moment for moment in own if moment <= now], default=installed)
        assert row["days_in_service"] == pytest.approx((now - since) / DAY)


def test_labels_are_the_failures_of_the_next_24_hours(
    template: Template, readings: pd.DataFrame
) -> None:
    features = template.table("gold.device_features")
    failures = template.raw("failures")
    joined = features.merge(failures, on="device_id")
    ahead = joined["failed_at"] - joined["window_end"]
    near = joined[(ahead > pd.Timedelta(0)) & (ahead <= DAY)]
    key = ["device_id", "window_end"]
    expected = set(near[key].itertuples(index=False, name=None))
    labelled = features[features["fails_within_24h"] == 1]
    assert set(labelled[key].itertuples(index=False, name=None)) == expected != set()
    assert not features.duplicated(key).any()
    # A row whose next 24 hours are not over has no label yet.
    assert features["window_end"].max() <= readings["time"].max() - DAY


def test_rows_to_score_are_those_of_the_last_day(
    template: Template, readings: pd.DataFrame
) -> None:
    latest = template.table("gold.device_latest")
    end = readings["time"].max()
    assert latest["window_end"].min() > end - DAY
    assert latest["window_end"].max() >= end
    assert (
        latest["device_id"].nunique()
        == readings.loc[readings["time"] > end - DAY, "device_id"].nunique()
    )
    features = template.table("gold.device_features")
    assert set(features.columns) - set(latest.columns) == {"fails_within_24h"}


def test_two_more_days_are_appended_and_nothing_is_read_twice(template: Template) -> None:
    before = len(template.table("bronze.telemetry"))
    assert before == template.fleet.rows
    more = simulate(template.root / "raw", devices=40, days=2, first_day=9)
    template.run(*TABLES)
    after = template.table("bronze.telemetry")
    assert len(after) == before + more.rows
    assert after["time"].max() > pd.Timestamp(more.begin)
    raw = template.raw("telemetry")
    assert after.groupby("device_id").size().equals(raw.groupby("device_id").size())


def test_its_model_is_made_again_to_the_last_bit(template: Template) -> None:
    # Whether this small fleet's model is any good is not the question here.
    yaml = template.root / "headrace.yaml"
    yaml.write_text(yaml.read_text().replace("min: { roc_auc: 0.65 }", "min: { roc_auc: 0.0 }"))
    template.run("device_failure")
    found = make_again_after_changes(
        template.root, "device_failure", "training/device_failure.py", "gold.device_features"
    )
    assert_bit_equal(found)
