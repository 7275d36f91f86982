"""Every family and task against its original, on rows that the proof did not use."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import lightgbm
import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn import ensemble, linear_model, svm, tree
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from tests.kernels.conftest import Data, columns

from headrace.kernels import compile_model, load_kernel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kernels.conftest import Save

pytestmark = [
    # MLflow advises on how it saves models, and lightgbm on its own sparse conversions.
    pytest.mark.filterwarnings("ignore::UserWarning:mlflow"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    # It takes them all the same.
    pytest.mark.filterwarnings("ignore:categorical_feature keyword:UserWarning"),
]

NUMBERS = [*"abcd", "count", "flag"]
TEXTS = ["city", "kind"]
EXACT, ROUNDED, SINGLE = 1e-9, 1e-6, 1e-5


def of(name: str, task: str, **options: Any) -> Any:
    """An estimator of scikit-learn, LightGBM or XGBoost for a task."""
    suffix = "Regressor" if task == "regression" else "Classifier"
    if name.startswith(("LGBM", "XGB")):
        home: Any = lightgbm if name.startswith("LGBM") else xgboost
        quiet = {"verbose": -1} if home is lightgbm else {}
        return getattr(home, name + suffix)(**quiet, **options)
    for home in (ensemble, tree):
        if hasattr(home, name + suffix):
            return getattr(home, name + suffix)(**options)
    raise AssertionError(name)


def columnwise(encoder: Any) -> Any:
    """Numbers imputed and scaled, texts encoded."""
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    return make_column_transformer((numbers, NUMBERS), (encoder, TEXTS))


def assert_same(
    home: Path, frame: pd.DataFrame, tolerance: float = EXACT, margin: float = 1e-5
) -> None:
    """Kernel and original on the same rows."""
    kernel = load_kernel(home)
    assert kernel is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = mlflow.pyfunc.load_model(str(home)).predict(frame)
    answer = kernel.predict(columns(frame), len(frame))
    assert list(answer) == list(expected.columns)
    assert answer["score"].dtype == np.float64
    np.testing.assert_allclose(answer["score"], expected["score"], rtol=tolerance, atol=tolerance)
    if "label" in answer:
        differ = answer["label"] != expected["label"].to_numpy()
        near = np.abs(answer["score"] - kernel._threshold) <= margin
        assert not (differ & ~near).any()
        assert type(answer["label"].tolist()[0]) is type(expected["label"].tolist()[0])


def fresh(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows that were not there at training, with the same texts and nulls."""
    rng = np.random.default_rng(1)
    made = frame.apply(lambda column: rng.permutation(column.to_numpy()))
    return made.astype(frame.dtypes.to_dict())


def check(
    save_model: Save, model: Any, X: pd.DataFrame, data: Data, task: str, within: float
) -> None:
    model.fit(X, data.labels[task])
    home = save_model(model, X, task)
    report = compile_model(home, X)
    assert report.proven, report.reason
    assert report.tolerance == within
    assert_same(home, fresh(X), within)


TASKS = ["binary", "multiclass", "regression"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("name", "options", "holes"),
    [
        ("RandomForest", {"n_estimators": 12, "max_depth": 6}, False),
        ("RandomForest", {"n_estimators": 7}, True),
        ("ExtraTrees", {"n_estimators": 7}, True),
        ("DecisionTree", {}, False),
        ("GradientBoosting", {"n_estimators": 8}, False),
        ("HistGradientBoosting", {"max_iter": 8}, True),
        ("HistGradientBoosting", {"max_iter": 8, "categorical_features": ["count"]}, True),
        ("LGBM", {"n_estimators": 8}, True),
        ("LGBM", {"n_estimators": 8}, False),
        ("LGBM", {"n_estimators": 8, "categorical_feature": [4], "max_cat_to_onehot": 1}, False),
        ("XGB", {"n_estimators": 8, "max_depth": 4}, True),
        ("XGB", {"n_estimators": 8, "missing": 0.0}, False),
    ],
)
def test_trees(
    save_model: Save, data: Data, name: str, options: dict[str, Any], holes: bool, task: str
) -> None:
    X = data.holes if holes else data.numbers
    if "categorical_feature" in options:
        X = X.assign(count=X["count"] + 5)  # LightGBM takes no negative category
    forest = name in ("RandomForest", "ExtraTrees", "DecisionTree")
    within = ROUNDED if forest and task == "multiclass" else SINGLE if name == "XGB" else EXACT
    check(save_model, of(name, task, **options), X, data, task, within)


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(handle_unknown="ignore"),
        OneHotEncoder(),
        OneHotEncoder(drop="if_binary", sparse_output=False),
        OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20, drop="first"),
        OneHotEncoder(handle_unknown="ignore", max_categories=3),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=-2
        ),
        TargetEncoder(),
        make_pipeline(
            SimpleImputer(strategy="most_frequent", missing_values=None),
            OneHotEncoder(handle_unknown="ignore"),
        ),
        make_pipeline(
            SimpleImputer(strategy="constant", fill_value="gone", missing_values=None),
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=99),
        ),
    ],
    ids=lambda encoder: repr(encoder)[:60],
)
def test_encoders(save_model: Save, data: Data, encoder: Any, task: str) -> None:
    final = of("HistGradientBoosting", task, max_iter=5)
    model = make_pipeline(columnwise(encoder), final)
    if task == "binary":
        model = make_pipeline(columnwise(encoder), of("RandomForest", task, n_estimators=5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(save_model, model, data.mixed, data, task, EXACT)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
@pytest.mark.parametrize(
    "scaler",
    [
        StandardScaler(), StandardScaler(with_mean=False), RobustScaler(), MaxAbsScaler(),
        MinMaxScaler(), MinMaxScaler(clip=True), PolynomialFeatures(3), SelectKBest(k=3),
        make_union(StandardScaler(), MinMaxScaler()),
    ],
    ids=lambda scaler: repr(scaler)[:40],
)  # fmt: skip
def test_scalers_before_linear_models(save_model: Save, data: Data, scaler: Any, task: str) -> None:
    last = linear_model.Ridge() if task == "regression" else linear_model.LogisticRegression()
    model = make_pipeline(scaler, StandardScaler(), last)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(save_model, model, data.numbers, data, task, EXACT)


@pytest.mark.parametrize(
    ("task", "model"),
    [
        ("regression", linear_model.LinearRegression()),
        ("regression", linear_model.Lasso(0.01)),
        ("regression", linear_model.ElasticNet(0.01)),
        ("regression", svm.LinearSVR()),
        ("binary", svm.LinearSVC()),
        ("binary", linear_model.LogisticRegression(solver="liblinear")),
        ("multiclass", svm.LinearSVC()),
        ("multiclass", linear_model.RidgeClassifier()),
        ("multiclass", linear_model.SGDClassifier(loss="log_loss", random_state=0)),
        ("binary", ensemble.GradientBoostingClassifier(loss="exponential", n_estimators=5)),
        ("regression", ensemble.HistGradientBoostingRegressor(loss="quantile", quantile=0.9)),
        ("regression", ensemble.BaggingRegressor(n_estimators=4, max_features=0.7)),
        ("multiclass", ensemble.BaggingClassifier(n_estimators=4, max_features=0.7)),
        ("binary", CalibratedClassifierCV(tree.DecisionTreeClassifier(max_depth=4), cv=2)),
        (
            "binary",
            CalibratedClassifierCV(
                ensemble.HistGradientBoostingClassifier(max_iter=4), cv=2, method="isotonic"
            ),
        ),
        (
            "binary",
            FixedThresholdClassifier(tree.DecisionTreeClassifier(max_depth=4), threshold=0.2),
        ),
        ("regression", GridSearchCV(linear_model.Ridge(), {"alpha": [0.1, 1.0]}, cv=2)),
        (
            "binary",
            ensemble.VotingClassifier(
                [("a", tree.DecisionTreeClassifier()), ("b", linear_model.LogisticRegression())],
                voting="soft",
                weights=[2, 1],
            ),
        ),
        (
            "binary",
            ensemble.StackingClassifier(
                [("a", tree.DecisionTreeClassifier()), ("b", svm.LinearSVC())], passthrough=True
            ),
        ),
        (
            "regression",
            ensemble.StackingRegressor(
                [("a", tree.DecisionTreeRegressor()), ("b", linear_model.Ridge())]
            ),
        ),
    ],
    ids=lambda model: repr(model)[:50],
)
def test_others(save_model: Save, data: Data, task: str, model: Any) -> None:
    several = task == "multiclass" and isinstance(model, ensemble.BaggingClassifier)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        X = data.numbers
        if not several and "Stacking" not in repr(model):
            model = make_pipeline(StandardScaler(), model)
        check(save_model, model, X, data, task, EXACT)


@pytest.mark.parametrize("booster", ["lightgbm", "xgboost"])
@pytest.mark.parametrize("task", TASKS)
def test_boosters_of_their_own(save_model: Save, data: Data, booster: str, task: str) -> None:
    X, y = data.numbers.astype(float), data.labels[task]
    if booster == "lightgbm":
        objective = {"binary": "binary", "multiclass": "multiclass", "regression": "poisson"}[task]
        options = {
            "objective": objective,
            "verbose": -1,
            "num_class": 3 if task == "multiclass" else 1,
        }
        model: Any = lightgbm.train(options, lightgbm.Dataset(X, y.abs()), 5)
    else:
        objective = {
            "binary": "binary:logistic",
            "multiclass": "multi:softprob",
            "regression": "count:poisson",
        }[task]
        several = {"num_class": 3} if task == "multiclass" else {}
        model = xgboost.train({"objective": objective, **several}, xgboost.DMatrix(X, y.abs()), 5)
    home = save_model(model, X, task)
    report = compile_model(home, X)
    assert report.proven, report.reason
    assert_same(home, fresh(X), report.tolerance or 0)


def test_single_precision_inputs_are_rounded_as_the_original_rounds(
    save_model: Save, data: Data
) -> None:
    X = data.numbers[list("abcd")].astype("float32")
    scaled = make_pipeline(MinMaxScaler(), of("ExtraTrees", "binary", n_estimators=5))
    check(save_model, scaled, X, data, "binary", EXACT)
    straight = make_pipeline(StandardScaler(), linear_model.LogisticRegression())
    check(save_model, straight, X, data, "binary", SINGLE)


def test_steps_of_skl2onnx_are_proven_as_any_other(save_model: Save, data: Data) -> None:
    from sklearn.neural_network import MLPRegressor

    model = make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(4,), max_iter=5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(save_model, model, data.numbers, data, "regression", ROUNDED)


def test_votes_that_tie_fall_as_in_the_original(save_model: Save) -> None:
    rng = np.random.default_rng(3)
    X = pd.DataFrame(rng.normal(size=(300, 3)), columns=list("abc"))
    y = pd.Series(rng.integers(0, 2, 300))
    model = ensemble.RandomForestClassifier(10, random_state=0).fit(X, y)
    home = save_model(model, X)
    assert compile_model(home, X).proven
    rows = pd.DataFrame(rng.normal(size=(3000, 3)), columns=list("abc"))
    assert (model.predict_proba(rows)[:, 1] == 0.5).sum() > 100
    assert_same(home, rows, 0.0, margin=-1.0)
