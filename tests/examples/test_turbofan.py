"""Remaining life of turbofan engines, on the published data, through the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from tests.remaking import assert_bit_equal, make_again_after_changes

if TYPE_CHECKING:
    from .conftest import Example

pytestmark = [pytest.mark.data, pytest.mark.slow]

SENSORS = [f"s{i}" for i in (2, 3, 4, 7, 8, 9, 11, 12, 13, 14, 15, 17, 20, 21)]


@pytest.fixture(scope="module")
def example(copy_example: Callable[[str, str], Example]) -> Example:
    copied = copy_example("turbofan", "cmapss_fd001")
    copied.run()
    return copied


def published(example: Example, name: str) -> pd.DataFrame:
    """The published file as numpy reads it."""
    columns = ["unit", "cycle", "setting1", "setting2", "setting3"]
    numbers = np.loadtxt(example.data / f"{name}.txt.gz")
    return pd.DataFrame(numbers, columns=[*columns, *(f"s{i}" for i in range(1, 22))])


def test_error_at_the_last_cycle_of_the_test_engines(example: Example) -> None:
    predictions = example.table("gold.test_predictions").sort_values("unit")
    truth = np.loadtxt(example.data / "RUL_FD001.txt.gz")  # not clipped
    assert predictions["unit"].tolist() == list(range(1, 101))
    error = float(np.sqrt(np.mean((predictions["score"].to_numpy() - truth) ** 2)))
    assert error <= 16.14


def test_lines_of_the_rul_file_belong_to_engines_in_order(example: Example) -> None:
    rows = example.table("gold.test_rul").sort_values("unit")
    truth = np.loadtxt(example.data / "RUL_FD001.txt.gz")
    assert rows["unit"].tolist() == list(range(1, 101))
    assert rows["rul"].tolist() == truth.tolist()


@pytest.mark.parametrize(("table", "file"), [("train", "train_FD001"), ("test", "test_FD001")])
def test_files_are_read_to_the_last_number(example: Example, table: str, file: str) -> None:
    order = ["unit", "cycle"]
    rows = example.table(f"bronze.{table}").sort_values(order)
    truth = published(example, file)
    assert np.array_equal(rows[truth.columns].to_numpy(float), truth.sort_values(order).to_numpy())


def test_scored_rows_are_the_last_cycles(example: Example) -> None:
    last = published(example, "test_FD001").groupby("unit")["cycle"].max()
    scored = example.table("gold.test_predictions").set_index("unit")["cycle"].sort_index()
    assert scored.tolist() == last.tolist()


def test_labels_are_capped_and_features_look_back_only(example: Example) -> None:
    truth = published(example, "train_FD001")
    rows = example.table("gold.engine_cycles").set_index(["unit", "cycle"])
    assert len(rows) == len(truth)
    for unit, engine in truth[truth["unit"].isin([1, 42, 100])].groupby("unit"):
        ours = rows.loc[unit].sort_index()
        past = engine.set_index("cycle")[SENSORS]
        mean = past.rolling(15, min_periods=1).mean()
        deviation = past.rolling(15, min_periods=1).std().fillna(0.0)
        first = past.loc[:15].expanding().mean().reindex(past.index).ffill()
        change = mean - first
        for name, frame in (("mean", mean), ("sd", deviation), ("change", change)):
            columns = ours[[f"{sensor}_{name}" for sensor in SENSORS]].to_numpy()
            assert columns == pytest.approx(frame.to_numpy(), abs=1e-6), f"{name} of {unit}"
        left = engine["cycle"].max() - engine["cycle"]
        assert ours["rul"].tolist() == np.minimum(left, 125).tolist()


def test_a_second_run_does_nothing(example: Example) -> None:
    assert "Nothing to do" in example.run()


def test_the_model_is_made_again_to_the_last_bit(example: Example) -> None:
    found = make_again_after_changes(
        example.root, "remaining_life", "training/remaining_life.py", "gold.engine_cycles"
    )
    assert_bit_equal(found)
