from __future__ import annotations

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from headrace.tracking.data import Part
from headrace.tracking.importance import Importance, importance, rows_to_permute
from headrace.tracking.scorer import Scorer

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(3000, 3)), columns=["strong", "weak", "idle"])
VALUE = 2 * X["strong"] + 0.3 * X["weak"]
BINARY = (VALUE + RNG.normal(size=3000) > 2.5).astype("int64")


def part(y: pd.Series) -> Part:
    return Part(X, y, X[["idle"]], None, None, y)


def of(model: object, y: pd.Series = BINARY, task: str = "binary") -> Importance:
    labels = (0, 1) if task == "binary" else None
    scorer = Scorer(model, task, [0, 1] if labels else None, None)
    return importance(model, scorer.predict, part(y), task, labels, seed=1)  # type: ignore[arg-type]


def test_a_model_s_own_account_is_taken() -> None:
    model = RandomForestClassifier(10, random_state=0).fit(X, BINARY)
    found = of(model)
    assert found.method == "model"
    assert found.table["feature"].tolist() == ["strong", "weak", "idle"]
    assert found.table["importance"].max() == model.feature_importances_.max()


@pytest.mark.parametrize("kind", ["lightgbm", "xgboost"])
def test_boosters_give_their_gain(kind: str) -> None:
    if kind == "lightgbm":
        settings = {"objective": "binary", "verbose": -1, "num_threads": 1}
        model = lightgbm.train(settings, lightgbm.Dataset(X, BINARY), 5)
    else:
        model = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(X, BINARY), 5)
    found = of(model)
    assert found.method == "model"
    assert found.table["feature"].iloc[0] == "strong"
    assert set(found.table["feature"]) == {"strong", "weak", "idle"}


def test_a_pipeline_s_account_has_the_names_of_its_steps() -> None:
    y = BINARY
    forest = RandomForestClassifier(10, random_state=0)
    found = of(make_pipeline(StandardScaler().set_output(transform="pandas"), forest).fit(X, y))
    assert found.method == "model"
    assert found.table["feature"].iloc[0] == "strong"


def test_steps_that_make_new_columns_are_named_too() -> None:
    frame = pd.DataFrame({"kind": ["a", "b"] * 50})
    y = pd.Series([0, 1] * 50)
    model = make_pipeline(OneHotEncoder(), RandomForestClassifier(5, random_state=0)).fit(frame, y)
    held = Part(frame, y, frame, None, None, y)
    found = importance(
        model, Scorer(model, "binary", [0, 1], None).predict, held, "binary", (0, 1), 1
    )
    assert set(found.table["feature"]) == {"kind_a", "kind_b"}


def test_permutation_ranks_by_what_is_lost() -> None:
    class Sum:
        def predict(self, data: pd.DataFrame) -> np.ndarray:
            return np.asarray(1 / (1 + np.exp(-(2 * data["strong"] + 0.3 * data["weak"] - 2.5))))

    found = of(Sum())
    assert found.method == "permutation"
    assert found.unit == "average_precision lost when the column is shuffled"
    assert found.table["feature"].tolist() == ["strong", "weak", "idle"]
    assert found.table["importance"].iloc[2] == 0
    assert found.table["importance"].iloc[0] > 10 * found.table["importance"].iloc[1] > 0
    assert found.table.equals(of(Sum()).table)


def test_a_regression_loses_error() -> None:
    class Exact:
        def predict(self, data: pd.DataFrame) -> pd.Series:
            return 2 * data["strong"] + 0.3 * data["weak"]

    found = of(Exact(), VALUE, "regression")
    assert found.unit == "rmse added when the column is shuffled"
    assert found.table["feature"].tolist() == ["strong", "weak", "idle"]
    # Shuffling adds the error of a difference of two independent values: 2 * sqrt(2).
    assert found.table["importance"].iloc[0] == pytest.approx(2 * np.sqrt(2), rel=0.1)


def test_an_account_of_other_features_is_not_taken() -> None:
    inner = RandomForestRegressor(5, random_state=0).fit(X[["strong", "weak"]], VALUE)

    class Wraps:
        feature_importances_ = inner.feature_importances_

        def predict(self, data: pd.DataFrame) -> np.ndarray:
            return np.asarray(inner.predict(data[["strong", "weak"]]))

    assert of(Wraps(), VALUE, "regression").method == "permutation"


@pytest.mark.parametrize("features", [1, 16, 17, 57, 500, 5000])
def test_what_is_predicted_is_bounded(features: int) -> None:
    rows = rows_to_permute(features)
    assert 100 <= rows <= 2000
    assert rows == 100 or 3 * features * rows <= 100_000


def test_many_features_are_permuted_on_fewer_rows() -> None:
    wide = pd.DataFrame(RNG.normal(size=(3000, 60)), columns=[f"f{n}" for n in range(60)])
    y = (wide["f7"] > 2).astype("int64")  # one row in forty is positive
    predicted: list[int] = []

    class One:
        def predict(self, data: pd.DataFrame) -> np.ndarray:
            predicted.append(len(data))
            return np.asarray(1 / (1 + np.exp(-data["f7"])))

    held = Part(wide, y, wide[["f0"]], None, None, y)
    found = importance(
        One(), Scorer(One(), "binary", [0, 1], None).predict, held, "binary", (0, 1), 1
    )
    assert found.table["feature"].iloc[0] == "f7"
    assert (found.table["importance"].iloc[1:] == 0).all()
    assert len(predicted) == 1 + 3 * 60
    # The share of the rare class is raised, so a few rows more than asked.
    assert max(predicted) <= rows_to_permute(60) * 1.25
