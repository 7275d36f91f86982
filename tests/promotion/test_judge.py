"""The gate over real versions: trained, registered, scored from their immutable addresses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, recall_score
from tests.modelling import feature_rows

from headrace.promotion import GateSpec, Verdict, judge
from headrace.promotion.errors import (
    MetricTaskError,
    MetricUndefinedError,
    ModelInputError,
    ModelNotLoadableError,
    NoHoldoutError,
    NoSignatureError,
    TooManySlicesError,
)
from headrace.registry import ModelVersion, register, resolve
from headrace.tracking import TrainingSpec, load_holdout, load_model, train
from headrace.tracking.data import frame_for
from headrace.tracking.errors import HoldoutLostError, ModelCannotPredictError
from headrace.tracking.holdout import holdout_path
from headrace.tracking.mlflow_store import on_store

if TYPE_CHECKING:
    from tests.modelling import ModelProject

GATE = GateSpec(metric="average_precision", resamples=300)


def built(models: ModelProject, **changes: Any) -> tuple[TrainingSpec, ModelVersion]:
    spec = models.spec(**changes)
    return spec, register(models.workspace, spec, train(models.workspace, spec))


@pytest.fixture(scope="module")
def weak(models: ModelProject) -> ModelVersion:
    return built(models, params={"depth": 1, "trees": 2}, features=["shake", "noise"])[1]


@pytest.fixture(scope="module")
def strong(models: ModelProject) -> ModelVersion:
    return built(models, params={"depth": 6, "trees": 30})[1]


def gate(**changes: Any) -> GateSpec:
    return GateSpec(**{"metric": "average_precision", "resamples": 300, **changes})


def on_holdout(models: ModelProject, version: ModelVersion) -> tuple[np.ndarray, pd.DataFrame]:
    held = load_holdout(
        models.workspace, version.tags["headrace.holdout_digest"], ["heat", "shake", "noise"]
    )
    types = dict.fromkeys(["heat", "shake", "noise"], "double")
    frame = frame_for(held.rows, types, "m", "t")
    model = load_model(models.workspace, version.model_id)
    return held.y.to_numpy(), model.predict(frame)


def test_a_first_model_needs_its_bounds_only(models: ModelProject, weak: ModelVersion) -> None:
    verdict = judge(models.workspace, models.spec(), gate(), weak, None)
    assert verdict.promoted
    assert (verdict.champion, verdict.difference, verdict.reasons) == (None, None, ())
    assert verdict.summary.startswith("version 1 promoted: average_precision 0.")


def test_the_figures_are_those_of_the_frozen_rows(
    models: ModelProject, weak: ModelVersion, strong: ModelVersion
) -> None:
    verdict = judge(models.workspace, models.spec(), gate(min={"recall": 0.0}), strong, weak)
    truth, ours = on_holdout(models, strong)
    assert verdict.rows == len(truth)
    assert verdict.candidate == pytest.approx(average_precision_score(truth, ours["score"]))
    assert verdict.bounds[0].value == pytest.approx(recall_score(truth, ours["label"]))
    assert verdict.difference is not None
    assert verdict.difference.units == 30
    assert verdict.difference.grouped_by == "device"
    assert verdict.difference.gain == pytest.approx(verdict.candidate - verdict.difference.champion)


def test_the_better_model_is_promoted(
    models: ModelProject, weak: ModelVersion, strong: ModelVersion
) -> None:
    verdict = judge(models.workspace, models.spec(), gate(), strong, weak)
    assert verdict.promoted
    assert verdict.difference is not None
    assert 0 < verdict.difference.low < verdict.difference.gain < verdict.difference.high
    assert f"over version {weak.version}" in verdict.summary


def test_the_worse_model_is_refused_and_told_by_how_much(
    models: ModelProject, weak: ModelVersion, strong: ModelVersion
) -> None:
    verdict = judge(models.workspace, models.spec(), gate(), weak, strong)
    assert not verdict.promoted
    (reason,) = verdict.reasons
    assert verdict.difference is not None
    assert verdict.difference.high < 0
    assert f"not better with certainty than version {strong.version}'s 0." in reason
    assert "95 % interval -0." in reason


def test_a_model_does_not_beat_itself(models: ModelProject, strong: ModelVersion) -> None:
    _, twin = built(models, params={"depth": 6, "trees": 30}, lookback="1h")
    verdict = judge(models.workspace, models.spec(), gate(), twin, strong)
    assert not verdict.promoted
    assert verdict.difference is not None
    assert (verdict.difference.gain, verdict.difference.low, verdict.difference.high) == (0, 0, 0)


def test_a_gain_on_a_few_groups_is_not_certain(
    models: ModelProject, weak: ModelVersion, strong: ModelVersion
) -> None:
    few = models.spec(group="model", key=["device", "at"])
    verdict = judge(models.workspace, few, gate(), strong, weak)
    assert verdict.difference is not None
    assert verdict.difference.low > 0
    assert verdict.reasons == (
        "the hold-out has 3 values of model with the rarer class; "
        "a gain that is certain at 95 % needs 6 or more",
    )
    assert not verdict.promoted
    assert judge(models.workspace, few, gate(confidence=0.6), strong, weak).promoted


def test_a_small_gain_may_not_be_enough(
    models: ModelProject, weak: ModelVersion, strong: ModelVersion
) -> None:
    verdict = judge(models.workspace, models.spec(), gate(min_gain=0.9), strong, weak)
    assert "not better by more than 0.9" in verdict.reasons[0]


def test_a_loss_is_better_when_smaller(
    models: ModelProject, weak: ModelVersion, strong: ModelVersion
) -> None:
    rule = gate(metric="log_loss", min={"log_loss": 0.001, "brier": 0.9})
    verdict = judge(models.workspace, models.spec(), rule, strong, weak)
    assert verdict.difference is not None
    assert verdict.difference.gain > 0
    assert verdict.candidate < verdict.difference.champion
    assert [bound.met for bound in verdict.bounds] == [False, True]
    assert verdict.reasons == (f"log_loss {verdict.candidate:.4g} is above 0.001",)


def test_bounds_that_fail_are_named_overall_and_by_slice(
    models: ModelProject, strong: ModelVersion
) -> None:
    rule = gate(min={"recall": 0.99}, slices=["model"], slice_min={"precision": 0.999})
    verdict = judge(models.workspace, models.spec(), rule, strong, None)
    assert not verdict.promoted
    assert len(verdict.slices) == 3
    assert all(each.judged and each.positives for each in verdict.slices)
    assert sum(each.rows for each in verdict.slices) == verdict.rows
    assert verdict.reasons[0].startswith("recall 0.")
    assert any("where model = m" in reason for reason in verdict.reasons)
    assert {bound.slice for bound in verdict.bounds} == {None, "m0", "m1", "m2"}


def test_a_slice_with_too_few_positives_is_not_judged(
    models: ModelProject, strong: ModelVersion
) -> None:
    rule = gate(slices=["device"], slice_min={"recall": 1.0}, min_positives=8)
    verdict = judge(models.workspace, models.spec(), rule, strong, None)
    unjudged = [each for each in verdict.slices if not each.judged]
    assert unjudged
    assert all(min(each.positives or 0, each.rows - (each.positives or 0)) < 8 for each in unjudged)
    judged = {bound.slice for bound in verdict.bounds}
    assert not judged & {each.slice for each in unjudged}


def test_a_verdict_survives_json(models: ModelProject, strong: ModelVersion) -> None:
    rule = gate(slices=["device"], min={"recall": 0.2})
    verdict = judge(models.workspace, models.spec(), rule, strong, strong)
    body = verdict.as_json()
    assert body["summary"] == verdict.summary
    back = Verdict.from_json(body)
    assert back.model_copy(update={"judged_at": verdict.judged_at}) == verdict


def test_the_same_question_has_the_same_answer(
    models: ModelProject, weak: ModelVersion, strong: ModelVersion
) -> None:
    one, two = (judge(models.workspace, models.spec(), gate(), strong, weak) for _ in range(2))
    assert one.difference == two.difference
    assert one.id != two.id


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        ({"metric": "rmse"}, MetricTaskError, "no metric of a binary model"),
        ({"min": {"r2": 0.1}}, MetricTaskError, "for binary there are average_precision"),
        ({"slices": ["heat"]}, TooManySlicesError, "slices may have 50"),
    ],
)
def test_a_gate_that_does_not_fit_the_model(
    models: ModelProject,
    strong: ModelVersion,
    rule: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        judge(models.workspace, models.spec(), gate(**rule), strong, None)


def test_a_margin_has_no_log_loss(models: ModelProject) -> None:
    models.write(
        "training/margin.py",
        "from sklearn.svm import LinearSVC\ndef train(X, y): return LinearSVC().fit(X, y)\n",
    )
    _, margin = built(models, name="margin", train="training/margin.py:train")
    assert judge(models.workspace, models.spec(name="margin"), gate(), margin, None).promoted
    with pytest.raises(MetricUndefinedError, match="no probabilities"):
        judge(models.workspace, models.spec(), gate(min={"log_loss": 1}), margin, None)


def test_a_regression_is_judged_by_its_errors(models: ModelProject) -> None:
    models.write(
        "training/wear.py",
        """
        from sklearn.linear_model import Ridge
        def train(X, y, *, alpha): return Ridge(alpha=alpha).fit(X, y)
        """,
    )
    train_it = {"name": "wear", "label": "wear", "train": "training/wear.py:train"}
    spec, poor = built(models, **train_it, params={"alpha": 1e5})
    _, good = built(models, **train_it, params={"alpha": 1.0})
    rule = gate(metric="rmse", min={"r2": 0.5, "rmse": 8}, slices=["model"])
    verdict = judge(models.workspace, spec, rule, good, poor)
    assert verdict.promoted
    assert all(each.positives is None and each.judged for each in verdict.slices)
    assert not judge(models.workspace, spec, rule, poor, good).promoted


@pytest.mark.parametrize(
    ("first", "then", "metric"),
    [
        ({"positive": True}, {"positive": False}, "average_precision"),
        ({"label": "wear_of_two"}, {"label": "wear_of_two", "task": "regression"}, "rmse"),
    ],
)
def test_the_gate_reads_the_labels_as_the_training_did(
    make_models: Callable[..., ModelProject],
    first: dict[str, Any],
    then: dict[str, Any],
    metric: str,
) -> None:
    rows = feature_rows(600)
    two = pa.array(np.asarray(rows["wear"]) > 5).cast("int64")
    models = make_models(rows=rows.append_column("wear_of_two", two))
    built(models, **first)
    spec = models.spec(**then)
    trained = train(models.workspace, spec)
    verdict = judge(
        models.workspace, spec, gate(metric=metric), register(models.workspace, spec, trained), None
    )
    assert verdict.candidate == pytest.approx(trained.metrics[f"holdout_{metric}"])


def test_several_classes_are_judged_by_their_labels(models: ModelProject) -> None:
    spec, grade = built(models, name="grade", label="grade")
    rule = gate(metric="f1", min={"accuracy": 0.5})
    assert judge(models.workspace, spec, rule, grade, None).promoted


def log_foreign(
    models: ModelProject,
    columns: list[str],
    signature: bool = True,
    named: list[str] | None = None,
) -> ModelVersion:
    """A version that somebody registered from a notebook; its signature can name other columns."""
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, len(columns))), columns=columns)
    model = LogisticRegression().fit(frame, frame[columns[0]] > 0)
    with on_store(models.workspace):
        mlflow.set_experiment("notebook")
        with mlflow.start_run():
            mlflow.sklearn.log_model(
                model,
                name="model",
                signature=mlflow.models.infer_signature(
                    frame.set_axis(named or columns, axis=1), model.predict(frame)
                )
                if signature
                else None,
                pip_requirements=[],
                pyfunc_predict_fn="predict_proba",
                registered_model_name="failure",
            )
    return resolve(models.workspace, "failure")


def test_a_champion_from_a_notebook_can_be_beaten(
    models: ModelProject, strong: ModelVersion
) -> None:
    foreign = log_foreign(models, ["noise"])
    verdict = judge(models.workspace, models.spec(), gate(), strong, foreign)
    assert verdict.promoted
    assert verdict.champion == foreign.version
    with pytest.raises(NoHoldoutError, match="no frozen hold-out"):
        judge(models.workspace, models.spec(), gate(), foreign, None)


def test_a_champion_without_signature_or_columns(
    models: ModelProject, strong: ModelVersion
) -> None:
    bare = log_foreign(models, ["noise"], signature=False)
    with pytest.raises(NoSignatureError, match="infer_signature"):
        judge(models.workspace, models.spec(), gate(), strong, bare)
    other = log_foreign(models, ["heat", "colour"])
    with pytest.raises(ModelInputError, match="lacks its inputs colour"):
        judge(models.workspace, models.spec(), gate(), strong, other)


def test_a_champion_that_cannot_predict_or_whose_files_are_gone(
    models: ModelProject, strong: ModelVersion
) -> None:
    # What it was fitted on is not what its signature says.
    confused = log_foreign(models, ["noise"], named=["heat"])
    with pytest.raises(ModelCannotPredictError, match="feature names") as caught:
        judge(models.workspace, models.spec(), gate(), strong, confused)
    assert caught.value.where == f"models:/{confused}"
    logged = models.workspace.mlflow().get_logged_model(confused.model_id)
    shutil.rmtree(logged.artifact_location.removeprefix("file://"))
    with pytest.raises(ModelNotLoadableError, match=f"{confused} cannot be loaded"):
        judge(models.workspace, models.spec(), gate(), strong, confused)


def test_a_lost_hold_out_is_an_error_and_no_verdict(models: ModelProject) -> None:
    spec, version = built(models, name="lost", holdout={"last": "30%"})
    digest = version.tags["headrace.holdout_digest"]
    holdout_path(models.workspace.paths, "lost", digest).unlink()
    with pytest.raises(HoldoutLostError, match="the file is gone"):
        judge(models.workspace, spec, gate(), version, None)
