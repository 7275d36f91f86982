"""The shape of predictions, for models as they come out of training functions."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.svm import LinearSVC

from headrace.tracking.scorer import Scorer

X = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 3)), columns=["a", "b", "c"])
STRAIN = X["a"] + X["b"]
BINARY = (STRAIN > 0.5).astype("int64")
SEVERAL = pd.cut(STRAIN, [-np.inf, -0.5, 0.5, np.inf], labels=False).astype("int64")


def test_the_score_is_the_positive_class_s_probability() -> None:
    model = RandomForestClassifier(10, random_state=0).fit(X, BINARY)
    frame = Scorer(model, "binary", ["fine", "broken"], None).predict(X)
    assert list(frame) == ["score", "label"]
    assert (frame["score"] == model.predict_proba(X)[:, 1]).all()
    assert ((frame["label"] == "broken") == (frame["score"] >= 0.5)).all()


def test_the_threshold_decides_the_label() -> None:
    model = LogisticRegression().fit(X, BINARY)
    strict = Scorer(model, "binary", [False, True], 0.9).predict(X)
    assert (strict["label"] == (strict["score"] >= 0.9)).all()
    assert strict["label"].dtype == bool


def test_a_tuned_threshold_of_the_model_is_kept() -> None:
    tuned = TunedThresholdClassifierCV(LogisticRegression(), scoring="f1", cv=3).fit(X, BINARY)
    assert Scorer(tuned, "binary", [0, 1], None).threshold == tuned.best_threshold_
    assert (Scorer(tuned, "binary", [0, 1], None).predict(X)["label"] == tuned.predict(X)).all()
    fixed = FixedThresholdClassifier(LogisticRegression(), threshold=0.2).fit(X, BINARY)
    assert Scorer(fixed, "binary", [0, 1], None).threshold == 0.2


def test_a_margin_is_cut_at_zero() -> None:
    model = LinearSVC(random_state=0).fit(X, BINARY)
    frame = Scorer(model, "binary", [0, 1], None).predict(X)
    assert frame["score"].min() < 0
    assert (frame["label"] == model.predict(X)).all()


def test_several_classes_give_the_likeliest_and_its_probability() -> None:
    model = RandomForestClassifier(10, random_state=0).fit(X, SEVERAL)
    frame = Scorer(model, "multiclass", ["low", "mid", "high"], None).predict(X)
    assert (frame["score"] == model.predict_proba(X).max(axis=1)).all()
    expected = np.array(["low", "mid", "high"])[model.predict(X)]
    assert (frame["label"] == expected).all()


def test_a_class_that_training_did_not_see_shifts_nothing() -> None:
    seen = SEVERAL != 1
    model = LogisticRegression().fit(X[seen], SEVERAL[seen])
    frame = Scorer(model, "multiclass", ["low", "mid", "high"], None).predict(X)
    assert set(frame["label"]) == {"low", "high"}


def test_several_classes_without_probabilities() -> None:
    class Decides:
        def predict(self, data: pd.DataFrame) -> Any:
            return np.full(len(data), 2)

    frame = Scorer(Decides(), "multiclass", ["low", "mid", "high"], None).predict(X)
    assert set(frame["label"]) == {"high"}


def test_a_regression_gives_a_score_alone() -> None:
    model = RandomForestRegressor(5, random_state=0).fit(X, STRAIN)
    frame = Scorer(model, "regression", None, None).predict(X)
    assert list(frame) == ["score"]
    assert (frame["score"] == model.predict(X)).all()


def test_a_booster_of_several_classes() -> None:
    data = lightgbm.Dataset(X, SEVERAL)
    booster = lightgbm.train(
        {"objective": "multiclass", "num_class": 3, "verbose": -1, "num_threads": 1}, data, 5
    )
    frame = Scorer(booster, "multiclass", ["low", "mid", "high"], None).predict(X)
    assert (frame["score"] == booster.predict(X).max(axis=1)).all()


@pytest.mark.parametrize(
    "answer",
    [
        pd.DataFrame({"score": [0.2, 0.8], "other": [1, 2]}, index=[5, 6]),
        pd.Series([0.2, 0.8], index=[5, 6]),
        np.array([0.2, 0.8]),
        [0.2, 0.8],
        np.array([[0.8, 0.2], [0.2, 0.8]]),
        np.array([[0.2], [0.8]]),
    ],
    ids=["frame", "series", "array", "list", "two columns", "one column"],
)
def test_what_a_python_model_may_return(answer: Any) -> None:
    class Fixed:
        def predict(self, data: Any) -> Any:
            return answer

    frame = Scorer(Fixed(), "binary", ["no", "yes"], None).predict(X.head(2))
    assert frame["score"].tolist() == [0.2, 0.8]
    assert frame["label"].tolist() == ["no", "yes"]


def test_a_python_model_may_decide_itself() -> None:
    class Decides:
        def predict(self, data: Any) -> pd.DataFrame:
            return pd.DataFrame({"label": ["yes", "yes"], "score": [0.1, 0.2]})

    frame = Scorer(Decides(), "binary", ["no", "yes"], None).predict(X.head(2))
    assert frame.to_dict("list") == {"score": [0.1, 0.2], "label": ["yes", "yes"]}
