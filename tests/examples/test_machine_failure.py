"""Machine failure, on the published data, through the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from sklearn.metrics import average_precision_score
from tests.remaking import assert_bit_equal, make_again_after_changes

if TYPE_CHECKING:
    from .conftest import Example

pytestmark = [pytest.mark.data, pytest.mark.slow]

DAY = pd.Timedelta(hours=24)
MARCH = pd.Timestamp("2015-03-01", tz="UTC")
NOT_FEATURES = ["machineID", "datetime", "model", "fails_within_24h"]


@pytest.fixture(scope="module")
def example(copy_example: Callable[[str, str], Example]) -> Example:
    copied = copy_example("machine_failure", "azure_pdm")
    copied.run()
    return copied


@pytest.fixture(scope="module")
def features(example: Example) -> pd.DataFrame:
    rows: pd.DataFrame = example.table("gold.machine_features")
    return rows


def read(example: Example, name: str) -> pd.DataFrame:
    rows = pd.read_csv(example.data / f"{name}.csv", parse_dates=["datetime"])
    return rows.assign(datetime=rows["datetime"].dt.tz_localize("UTC"))


def known(
    table: pd.DataFrame, machine: int, now: pd.Timestamp, hours: int = 10_000
) -> pd.DataFrame:
    """What a table says of a machine within the hours up to now."""
    since = now - pd.Timedelta(hours=hours)
    return table.loc[
        (table["machineID"] == machine) & (table["datetime"] <= now) & (table["datetime"] > since)
    ]


def test_average_precision_of_march(example: Example, features: pd.DataFrame) -> None:
    import mlflow

    mlflow.set_tracking_uri(example.database)
    version = mlflow.MlflowClient().get_model_version_by_alias("machine_failure", "production")
    model = mlflow.pyfunc.load_model(f"models:/{version.name}/{version.version}")
    march = features[features["datetime"] >= MARCH]
    assert len(march) == 20 * 24 * 31 + 20 * 6

    score = model.predict(march[model.metadata.get_input_schema().input_names()])["score"]
    precision = average_precision_score(march["fails_within_24h"], score)
    assert precision >= 0.93

    logged = mlflow.get_run(version.run_id).data.metrics
    same = [name for name, value in logged.items() if value == pytest.approx(precision)]
    assert any("average_precision" in name for name in same), f"{precision} not in {logged}"


def test_labels_are_the_failures_of_the_next_24_hours(
    example: Example, features: pd.DataFrame
) -> None:
    failures = read(example, "PdM_failures")
    expected = set()
    for machine, moment in failures[["machineID", "datetime"]].itertuples(index=False):
        hours = pd.date_range(moment - DAY, periods=24, freq="h")
        expected |= {(machine, hour) for hour in hours}
    keys = set(features[["machineID", "datetime"]].itertuples(index=False, name=None))
    labelled = features[features["fails_within_24h"] == 1]
    positive = set(labelled[["machineID", "datetime"]].itertuples(index=False, name=None))
    assert positive == expected & keys
    assert len(keys) == len(features) == 20 * 24 * 90 - 20  # all but each machine's first hour


def test_features_do_not_look_into_the_future(example: Example, features: pd.DataFrame) -> None:
    telemetry = read(example, "PdM_telemetry_20machines_90days")
    errors = read(example, "PdM_errors")
    maintenance = read(example, "PdM_maint")
    for row in features.sample(60, random_state=1).to_dict("records"):
        machine, now = row["machineID"], row["datetime"]
        for hours in (3, 24):
            window = known(telemetry, machine, now, hours)
            for sensor in ("volt", "rotate", "pressure", "vibration"):
                assert row[f"{sensor}_mean_{hours}h"] == pytest.approx(window[sensor].mean())
                assert row[f"{sensor}_sd_{hours}h"] == pytest.approx(window[sensor].std())
        counts = known(errors, machine, now, 24)["errorID"].value_counts()
        replaced = known(maintenance, machine, now).groupby("comp")["datetime"].max()
        for number in range(1, 6):
            assert row[f"error{number}_24h"] == counts.get(f"error{number}", 0)
        for number in range(1, 5):
            days = (now - replaced[f"comp{number}"]) / DAY
            assert row[f"comp{number}_days"] == pytest.approx(days)


def test_no_training_label_looks_into_march(example: Example) -> None:
    import mlflow

    mlflow.set_tracking_uri(example.database)
    version = mlflow.MlflowClient().get_model_version_by_alias("machine_failure", "production")
    inputs = mlflow.get_run(version.run_id).inputs.dataset_inputs
    assert inputs, "the run names no data set"
    rows = {
        tag.value: entry.dataset.profile
        for entry in inputs
        for tag in entry.tags
        if tag.key == "mlflow.data.context"
    }
    # January and February less the first hour of a machine and the last day: 1,385 hours each.
    assert any("27700" in (profile or "") for profile in rows.values()), rows


def test_a_second_run_does_nothing(example: Example) -> None:
    assert "Nothing to do" in example.run()


def test_the_model_is_made_again_to_the_last_bit(example: Example) -> None:
    found = make_again_after_changes(
        example.root, "machine_failure", "training/machine_failure.py", "gold.machine_features"
    )
    assert_bit_equal(found)
