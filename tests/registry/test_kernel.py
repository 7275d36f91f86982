from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from tests.modelling import ModelProject, feature_rows

from headrace import kernels
from headrace.registry import register
from headrace.tracking import TrainedModel, load_model, train

MakeModels = Callable[..., ModelProject]


@pytest.fixture(scope="module")
def trained(models: ModelProject) -> TrainedModel:
    return train(models.workspace, models.spec())


def directory(project: ModelProject, trained: TrainedModel) -> Path:
    logged = project.workspace.mlflow().get_logged_model(trained.model_id)
    return Path(urlsplit(logged.artifact_location).path)


def test_a_version_has_a_proven_kernel_beside_its_model(
    models: ModelProject, trained: TrainedModel
) -> None:
    version = register(models.workspace, models.spec(), trained)
    assert version.tags["headrace.kernel"] == "onnx float64, within 1e-9"
    home = directory(models, trained)
    report = kernels.read_report(home)
    assert report is not None
    assert next(c.rows for c in report.checks if c.name == "rows") == trained.holdout.rows
    kernel = kernels.load_kernel(home)
    assert kernel is not None
    X = feature_rows().select(["heat", "shake", "noise"]).to_pandas().astype(float)
    expected = load_model(models.workspace, trained.model_id).predict(X)
    answer = kernel.predict({name: X[name].to_numpy() for name in X}, len(X))
    assert np.array_equal(answer["score"], expected["score"])
    assert np.array_equal(answer["label"], expected["label"])


def test_registering_again_compiles_nothing(
    models: ModelProject, trained: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(models.workspace, models.spec(), trained)

    def unexpected(*_: object) -> None:
        raise AssertionError("it was compiled again")

    monkeypatch.setattr(kernels, "compile_model", unexpected)
    again = register(models.workspace, models.spec(), trained)
    assert again.tags["headrace.kernel"].startswith("onnx")


def test_a_model_without_a_kernel_is_registered_all_the_same(make_models: MakeModels) -> None:
    project = make_models()
    project.write(
        "training/model.py",
        """
        from sklearn.base import BaseEstimator, ClassifierMixin


        class Rule(ClassifierMixin, BaseEstimator):
            def fit(self, X, y):
                self.classes_ = [0, 1]
                return self

            def predict_proba(self, X):
                share = 1 / (1 + 2.718 ** -X[["heat"]].to_numpy())
                return [[1 - p, p] for p in share.ravel()]

            def predict(self, X):
                return self.predict_proba(X)


        def train(X, y, *, seed):
            return Rule().fit(X, y)
        """,
    )
    spec = project.spec()
    version = register(project.workspace, spec, train(project.workspace, spec))
    assert version.tags["headrace.kernel"] == "none: Rule is a class of its own"
