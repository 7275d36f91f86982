"""The simulated telemetry is what its docstring says."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from headrace.demo.fleet import SITES, STEPS_A_DAY
from headrace.demo.simulate import SENSORS, Simulation, SimulationArgumentError, simulate

# Share of readings (of device days for outages, of devices for units) by the docstring.
RATES = {"late": 0.01, "duplicate": 0.005, "dropped": 0.015, "out of range": 0.002}
RANGES = {"temperature": (-40, 200), "pressure": (0, 40), "vibration": (0, 60), "load": (0, 100)}


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def read(directory: Path) -> pd.DataFrame:
    """All rows of a folder of Parquet files, with the file's name as ``file``."""
    frames = [
        pq.read_table(path).to_pandas().assign(file=path.name) for path in directory.iterdir()
    ]
    rows: pd.DataFrame = pd.concat(frames, ignore_index=True)
    return rows


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """200 devices for six days."""
    return simulate(tmp_path_factory.mktemp("fleet"), days=6)


@pytest.fixture(scope="module")
def telemetry(fleet: Simulation) -> pd.DataFrame:
    return read(fleet.directory / "telemetry")


@pytest.fixture(scope="module")
def failures(fleet: Simulation) -> pd.DataFrame:
    return read(fleet.directory / "failures")


def test_same_arguments_give_the_same_files(tmp_path: Path) -> None:
    simulate(tmp_path / "a", devices=5, days=2, seed=3)
    simulate(tmp_path / "b", devices=5, days=2, seed=3)
    simulate(tmp_path / "c", devices=5, days=2, seed=4)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


@pytest.mark.parametrize("first", [1, 3, 5])
def test_further_days_continue_a_month_that_was_simulated_before(
    tmp_path: Path, first: int
) -> None:
    whole = simulate(tmp_path / "whole", devices=20, days=6)
    earlier = simulate(tmp_path / "parts", devices=20, days=first)
    later = simulate(tmp_path / "parts", devices=20, days=6 - first, first_day=first)
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")
    assert whole.rows == earlier.rows + later.rows
    assert whole.failures == earlier.failures + later.failures
    assert later.begin == earlier.end
    assert whole.defects == {
        name: count + later.defects[name] for name, count in earlier.defects.items()
    }


def test_summary_counts_what_is_in_the_files(
    fleet: Simulation, telemetry: pd.DataFrame, failures: pd.DataFrame
) -> None:
    assert fleet.rows == len(telemetry)
    assert fleet.files == telemetry["file"].nunique() == 6 * 4 * len(SITES)
    assert fleet.failures == len(failures)
    assert pq.read_table(fleet.directory / "devices").num_rows == 200


@pytest.mark.parametrize("defect", sorted(RATES))
def test_defects_come_at_their_rate(fleet: Simulation, defect: str) -> None:
    readings = 200 * 6 * STEPS_A_DAY
    rate = RATES[defect]
    deviation = math.sqrt(rate * (1 - rate) / readings)
    # Repairs and the other losses take up to 6 % of the readings away from a defect.
    assert rate * 0.94 - 4 * deviation < fleet.defects[defect] / readings < rate + 4 * deviation


def test_late_rows_are_in_later_files(fleet: Simulation, telemetry: pd.DataFrame) -> None:
    opened = pd.to_datetime(telemetry["file"].str[:13], format="%Y-%m-%dT%H", utc=True)
    age = opened - telemetry["time"]
    late = age > timedelta(0)
    assert (age > -timedelta(hours=6)).all(), "a row arrived before it was measured"
    assert age.max() <= timedelta(days=2)
    # Some are still under way at the end of the last day; some are sent twice.
    assert 0.8 * fleet.defects["late"] < late.sum() <= 1.02 * fleet.defects["late"]


def test_duplicates_are_equal_in_every_column(telemetry: pd.DataFrame) -> None:
    rows = telemetry.drop(columns="file")
    keys = rows.duplicated(["device_id", "time"]).sum()
    assert keys == rows.duplicated().sum() > 0


def test_files_hold_one_site(fleet: Simulation, telemetry: pd.DataFrame) -> None:
    devices = pq.read_table(fleet.directory / "devices").to_pandas()
    site = telemetry["device_id"].map(devices.set_index("device_id")["site"])
    assert (telemetry["file"].str[14:].str.removesuffix(".parquet") == site).all()


def test_impossible_values_and_nulls(fleet: Simulation, telemetry: pd.DataFrame) -> None:
    unique = telemetry.drop_duplicates(["device_id", "time"])
    impossible = sum(
        int(((unique[sensor] < low) | (unique[sensor] > high)).sum())
        for sensor, (low, high) in RANGES.items()
    )
    nulls = int(unique[list(SENSORS)].isna().sum().sum())
    # Late rows that are still under way are counted but not yet written; a null can hide a spike.
    assert 0.98 * fleet.defects["out of range"] < impossible <= fleet.defects["out of range"]
    assert 0.98 * fleet.defects["null"] < nulls <= fleet.defects["null"]


def test_one_firmware_reports_fahrenheit(fleet: Simulation, telemetry: pd.DataFrame) -> None:
    plausible = telemetry[telemetry["temperature"].between(-40, 250)]
    by_firmware = plausible.groupby("firmware")["temperature"].median()
    assert abs(by_firmware["2.1.0"] - (by_firmware["2.0.4"] * 9 / 5 + 32)) < 15
    faulty = telemetry[telemetry["firmware"] == "2.1.0"]
    assert 1 <= faulty["device_id"].nunique() <= 15
    assert fleet.defects["wrong unit"] > 0
    span = faulty.groupby("device_id")["time"].agg(lambda times: times.max() - times.min())
    assert span.max() < timedelta(days=2)


def test_a_failed_device_is_silent_while_it_is_repaired(
    telemetry: pd.DataFrame, failures: pd.DataFrame
) -> None:
    for device, moment in failures[["device_id", "failed_at"]].itertuples(index=False):
        times = telemetry.loc[telemetry["device_id"] == device, "time"]
        silence = times[(times > moment) & (times < moment + timedelta(hours=2))]
        assert silence.empty, f"{device} sent readings during its repair of {moment}"


@pytest.mark.parametrize(
    ("cause", "sensor", "change"),
    [("bearing", "vibration", 0.4), ("leak", "pressure", -0.3), ("cooling", "temperature", 3.0)],
)
def test_wear_shows_before_the_failure_it_causes(
    telemetry: pd.DataFrame, failures: pd.DataFrame, cause: str, sensor: str, change: float
) -> None:
    low, high = RANGES[sensor]
    clean = telemetry[telemetry[sensor].between(low, high) & (telemetry["firmware"] != "2.1.0")]

    def mean_before(device: str, moment: pd.Timestamp, hours: int, length: int) -> float:
        until = moment - timedelta(hours=hours)
        rows = clean[(clean["device_id"] == device) & (clean["time"] <= until)]
        return float(rows.loc[rows["time"] > until - timedelta(hours=length), sensor].mean())

    # Whole days apart, so that the daily wave of the load is no difference.
    changes = [
        mean_before(device, moment, 0, 4) - mean_before(device, moment, 48, 4)
        for device, moment, why in failures[["device_id", "failed_at", "cause"]].itertuples(
            index=False
        )
        if why == cause
    ]
    middle = pd.Series(changes).dropna().median()
    assert middle / change >= 1, f"{sensor} changed by {middle:.2f} before a {cause} failure"


def test_start_and_days_set_the_time(tmp_path: Path) -> None:
    start = datetime(2025, 1, 31, tzinfo=UTC)
    made = simulate(tmp_path, devices=3, days=2, start=start, first_day=1)
    assert (made.begin, made.end) == (start + timedelta(days=1), start + timedelta(days=3))
    names = sorted(path.name for path in (tmp_path / "telemetry").iterdir())
    assert names[0].startswith("2025-02-01T00-")
    assert names[-1].startswith("2025-02-02T18-")


@pytest.mark.parametrize(
    "arguments", [{"devices": 0}, {"days": 0}, {"days": -1}, {"first_day": -1}]
)
def test_arguments_that_make_no_fleet(tmp_path: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(SimulationArgumentError, match=next(iter(arguments))):
        simulate(tmp_path / "raw", **arguments)
    assert not (tmp_path / "raw").exists()


def test_a_full_disk_leaves_only_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table, calls = pq.write_table, 0

    def fills_up(table: Any, where: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            Path(where).write_bytes(b"PAR1 half a file")
            raise OSError(28, "No space left on device")
        write_table(table, where, **options)

    monkeypatch.setattr(pq, "write_table", fills_up)
    with pytest.raises(OSError, match="No space left"):
        simulate(tmp_path, devices=5, days=1)
    monkeypatch.undo()
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(left) == 3
    assert all(pq.read_table(path).num_rows > 0 for path in left)
    simulate(tmp_path, devices=5, days=1)
    simulate(tmp_path / "again", devices=5, days=1)
    again = contents(tmp_path / "again")
    assert {name: contents(tmp_path)[name] for name in again} == again
