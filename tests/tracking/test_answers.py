"""Which rows are recorded with a model, and what is kept of their answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from headrace.parity import record as reader
from headrace.parity import recorded
from headrace.tracking import answers, load_model, train
from headrace.tracking.answers import sample

if TYPE_CHECKING:
    from tests.modelling import ModelProject

NULLS = """
from sklearn.ensemble import HistGradientBoostingClassifier


def train(X, y, *, seed):
    return HistGradientBoostingClassifier(max_iter=5, random_state=seed).fit(X, y)
"""


def frame(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    made = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.normal(size=rows), "t": "x"})
    made.loc[rows - 7, "b"] = np.nan
    made.loc[[5, rows - 2], "t"] = ["aa", "zz"]
    return made


def test_a_small_holdout_is_kept_whole() -> None:
    rows = frame(40)
    assert sample(rows, 1).rows.equals(rows)


def test_the_edges_of_each_column_are_in_the_sample_and_it_is_bounded() -> None:
    rows = frame(5000)
    found = sample(rows, 1)
    assert len(found.rows) == answers.MOST
    assert found.of == 5000
    assert found.rows["a"].min() == rows["a"].min()
    assert found.rows["a"].max() == rows["a"].max()
    assert found.rows["b"].isna().sum() == 1
    assert {"aa", "zz"} <= set(found.rows["t"])
    # In the order of the hold-out, none twice.
    places = rows.reset_index().merge(found.rows, on=["a", "b", "t"])["index"]
    assert places.is_monotonic_increasing
    assert places.is_unique


def test_the_same_seed_draws_the_same_rows() -> None:
    rows = frame(2000)
    assert sample(rows, 4).rows.equals(sample(rows, 4).rows)
    assert not sample(rows, 4).rows.equals(sample(rows, 5).rows)


def test_more_columns_than_rows_leave_room_for_chance() -> None:
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(1000, 400)))
    assert len(sample(rows, 0).rows) == answers.MOST


def test_the_reader_and_the_writer_mean_the_same_files() -> None:
    for name in ("DIRECTORY", "ROWS", "ANSWERS", "FACTS"):
        assert getattr(answers, name) == getattr(reader, name)


def test_training_records_what_the_model_answers(models: ModelProject) -> None:
    models.write("training/nulls.py", NULLS)
    trained = train(models.workspace, models.spec(train="training/nulls.py:train"))
    location = models.workspace.mlflow().get_logged_model(trained.model_id).artifact_location
    home = Path(location.removeprefix("file://"))
    found = recorded(home)
    assert found is not None
    assert found.rows == answers.MOST
    assert found.of == trained.holdout.rows
    assert found.answered_by == "the fitted model"
    assert found.libraries["numpy"] == np.__version__
    assert [str(kind) for kind in found.inputs.schema.types] == ["double"] * 3
    again = load_model(models.workspace, trained.model_id).predict(found.inputs.to_pandas())
    assert again["score"].tolist() == found.scores.tolist()
    assert again["label"].tolist() == found.labels
    assert found.margins is not None
    assert np.allclose(found.margins, np.abs(found.scores - 0.5))


def test_the_record_of_the_same_training_is_the_same_bytes(models: ModelProject) -> None:
    def digest() -> str:
        trained = train(models.workspace, models.spec())
        location = models.workspace.mlflow().get_logged_model(trained.model_id).artifact_location
        found = recorded(Path(location.removeprefix("file://")))
        assert found is not None
        return found.digest

    assert digest() == digest()


def test_a_null_is_kept_as_a_null() -> None:
    class _Column:
        def __init__(self, name: str, kind: str) -> None:
            self.name = name
            self.type = type("Type", (), {"name": kind})

    class _Signature:
        inputs = type("Inputs", (), {"inputs": [_Column("a", "double"), _Column("t", "string")]})

    rows = pd.DataFrame({"a": [1.0, np.nan], "t": [None, "x"]})
    table = answers._typed(rows, _Signature())
    assert table.to_pydict() == {"a": [1.0, None], "t": [None, "x"]}
    assert table.schema.types == [pa.float64(), pa.string()]
