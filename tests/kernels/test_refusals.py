"""What a kernel does not answer, and models that get none."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import mlflow.pyfunc
import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler, TargetEncoder
from tests.kernels.conftest import Data, columns

from headrace.kernels import RefusedValueError, compile_model, load_kernel, read_report

if TYPE_CHECKING:
    import pandas as pd
    from tests.kernels.conftest import Save

    from headrace.kernels import Kernel


def compiled(save_model: Save, model: Any, X: pd.DataFrame, task: str) -> tuple[Kernel, Any]:
    home = save_model(model, X, task)
    report = compile_model(home, X)
    assert report.proven, report.reason
    kernel = load_kernel(home)
    assert kernel is not None
    return kernel, mlflow.pyfunc.load_model(str(home))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_a_linear_model_refuses(save_model: Save, data: Data, value: float) -> None:
    X = data.numbers[list("abcd")]
    model = LinearRegression().fit(X, data.labels["regression"])
    kernel, original = compiled(save_model, model, X, "regression")
    rows = X.head(3).copy()
    rows.loc[1, "c"] = value
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        original.predict(rows)
    with pytest.raises(RefusedValueError, match='column "c", row 1') as refusal:
        kernel.predict(columns(rows), len(rows))
    assert (refusal.value.column, refusal.value.row) == ("c", 1)
    with pytest.raises(RefusedValueError, match='column "c", row 0'):
        kernel.predict(columns(rows.iloc[[1]]), 1)


# scikit-learn casts the number before it refuses it.
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_the_largest_number_of_a_forest(save_model: Save, data: Data) -> None:
    X = data.numbers[list("abcd")]
    model = RandomForestRegressor(5, max_depth=3).fit(X, data.labels["regression"])
    kernel, original = compiled(save_model, model, X, "regression")
    limit = 3.4028235677973362e38  # rounds to the largest float32; the next float64 to infinity
    for value, is_taken in ((limit, True), (np.nextafter(limit, np.inf), False)):
        rows = X.head(1).assign(b=value)
        if is_taken:
            score = kernel.predict(columns(rows), 1)["score"]
            assert np.array_equal(score, original.predict(rows)["score"])
            continue
        with pytest.raises(ValueError, match="too large"):
            original.predict(rows)
        with pytest.raises(RefusedValueError, match="too large"):
            kernel.predict(columns(rows), 1)


def test_an_unseen_text_and_a_null_are_refused_by_name(save_model: Save, data: Data) -> None:
    X = data.mixed[["a", "city"]].fillna({"a": 0.0})
    encoded = make_column_transformer((OneHotEncoder(), ["city"]), ("passthrough", ["a"]))
    model = make_pipeline(encoded, LinearRegression()).fit(X, data.labels["regression"])
    kernel, _ = compiled(save_model, model, X, "regression")
    assert len(kernel.predict(columns(X), len(X))["score"]) == len(X)
    for value, words in (("paris", "not trained on this text"), (None, "no nulls")):
        rows = X.head(2).assign(city=np.array(["oslo", value], object))
        with pytest.raises(RefusedValueError, match=f'column "city", row 1: .*{words}'):
            kernel.predict(columns(rows), 2)
    with pytest.raises(RefusedValueError, match="3 is no text"):
        kernel.predict({"a": np.zeros(1), "city": np.array([3], object)}, 1)


class Doubled(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """A model of the project's own."""

    def fit(self, X: Any, y: Any) -> Doubled:
        self.width_ = np.shape(X)[1]
        return self

    def predict(self, X: Any) -> Any:
        return np.asarray(X)[:, 0] * 2


class Shifted(LinearRegression):  # type: ignore[misc]  # scikit-learn is untyped
    """A subclass that predicts something else."""

    def predict(self, X: Any) -> Any:
        return super().predict(X) + 1


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Doubled(), "Doubled is a class of its own"),
        (Shifted(), "Shifted is a class of its own"),
        (
            make_pipeline(FunctionTransformer(np.cbrt), LinearRegression()),
            "FunctionTransformer of cbrt has no converter",
        ),
        (
            GradientBoostingRegressor(init=LinearRegression(), n_estimators=2),
            "it starts from another model",
        ),
        (KNeighborsRegressor(), "scores differ by"),
    ],
    ids=lambda part: part if isinstance(part, str) else type(part).__name__,
)
def test_models_without_a_kernel_say_why(
    save_model: Save, data: Data, model: Any, reason: str
) -> None:
    X = data.numbers[list("abcd")]
    home = save_model(model.fit(X, data.labels["regression"]), X, "regression")
    report = compile_model(home, X)
    assert report.status == "refused"
    assert reason in (report.reason or "")
    assert report.summary.startswith("none: ")
    assert not (home / "kernel" / "model.onnx").exists()
    assert load_kernel(home) is None
    assert read_report(home) == report


def test_a_target_encoder_of_several_classes(save_model: Save, data: Data) -> None:
    encoded = make_column_transformer((TargetEncoder(), ["city"]))
    model = make_pipeline(encoded, LogisticRegression())
    model.fit(data.mixed[["city"]], data.labels["multiclass"])
    report = compile_model(save_model(model, data.mixed[["city"]], "multiclass"))
    assert "TargetEncoder of several classes" in (report.reason or "")


def test_a_wrong_graph_does_not_pass(
    save_model: Save, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A converter that moves one threshold by one step of float32 is found out."""
    from headrace.kernels import forests

    right = forests.tree_of

    def wrong(*args: Any, **options: Any) -> Any:
        tree = right(*args, **options)
        threshold = tree.threshold.copy()  # it is the original's own
        threshold[0] = np.nextafter(np.float32(threshold[0]), np.float32(np.inf))
        return dataclasses.replace(tree, threshold=threshold)

    X = data.numbers[list("abcd")]
    model = RandomForestRegressor(3, max_depth=3, random_state=0).fit(X, data.labels["regression"])
    home = save_model(model, X, "regression")
    monkeypatch.setattr(forests, "tree_of", wrong)
    report = compile_model(home, X)
    assert report.status == "refused"
    assert "steps" in (report.reason or "")


def test_rows_are_generated_where_none_are_given(save_model: Save, data: Data) -> None:
    X = data.mixed
    numbers = [*"abcd", "count", "flag"]
    scaled = make_pipeline(StandardScaler(), FunctionTransformer())
    encoded = make_column_transformer(
        (scaled, numbers[2:]), (OneHotEncoder(handle_unknown="ignore"), ["city", "kind"])
    )
    model = make_pipeline(encoded, RandomForestRegressor(4)).fit(X, data.labels["regression"])
    report = compile_model(save_model(model, X, "regression"))
    assert report.proven, report.reason
    found = {check.name: check for check in report.checks}
    assert found["rows"].rows == 500
    assert found["infinities"].refused > 0
    assert {"nulls", "texts", "extreme values", "a row of nulls", "no rows"} <= set(found)
    assert any("float32 was rejected" in note for note in report.notes)
