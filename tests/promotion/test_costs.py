"""Latency, size, slices and fairness of real versions, as the gate judges them."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from headrace.endpoints import records
from headrace.environments import Environment
from headrace.gate import rule
from headrace.promotion import GateSpec, Verdict, judge
from headrace.promotion.costs import model_directory
from headrace.promotion.errors import ModelElsewhereError
from headrace.registry import ModelVersion, register
from headrace.tracking import train

if TYPE_CHECKING:
    from tests.modelling import ModelProject


@pytest.fixture(scope="module")
def strong(models: ModelProject) -> ModelVersion:
    spec = models.spec(params={"depth": 6, "trees": 30})
    return register(models.workspace, spec, train(models.workspace, spec))


@pytest.fixture(scope="module")
def weak(models: ModelProject) -> ModelVersion:
    spec = models.spec(params={"depth": 1, "trees": 2}, features=["shake", "noise"])
    return register(models.workspace, spec, train(models.workspace, spec))


def judged(
    models: ModelProject,
    candidate: ModelVersion,
    champion: ModelVersion | None = None,
    spec: dict[str, Any] | None = None,
    **gate: Any,
) -> Verdict:
    wanted = GateSpec.model_validate({"metric": "average_precision", "resamples": 300, **gate})
    found = judge(models.workspace, models.spec(**(spec or {})), wanted, candidate, champion)
    assert rule.check(wanted, found) == []
    return found


def test_the_kernel_s_latency_and_the_size_are_measured(
    models: ModelProject, strong: ModelVersion
) -> None:
    verdict = judged(models, strong, latency_p99="10s", max_size="50MiB")
    assert verdict.promoted
    assert verdict.latency is not None
    assert verdict.latency.subject == "kernel"
    assert 0 < verdict.latency.p50 <= verdict.latency.p99 == min(verdict.latency.rounds)
    assert (len(verdict.latency.rounds), verdict.latency.rows) == (5, 300)
    home = model_directory(models.workspace, strong)
    assert verdict.size is not None
    assert verdict.size.bytes == sum(f.stat().st_size for f in home.rglob("*") if f.is_file())
    assert verdict.size.bytes > (home / "kernel" / "model.onnx").stat().st_size


def test_a_version_that_is_too_slow_or_too_large_is_refused(
    models: ModelProject, strong: ModelVersion
) -> None:
    verdict = judged(models, strong, latency_p99=timedelta(microseconds=1), max_size="1KiB")
    assert [reason.partition(" ")[0] for reason in verdict.reasons] == ["99", "the"]
    assert "in the kernel, 0.001 ms are allowed" in verdict.reasons[0]
    assert "MiB, 0.0009766 MiB are allowed" in verdict.reasons[1]


def test_a_version_without_a_kernel_is_measured_in_its_worker(
    models: ModelProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.write(
        "training/plain.py",
        """
        from sklearn.gaussian_process import GaussianProcessClassifier


        def train(X, y):
            return GaussianProcessClassifier().fit(X[:100], y[:100])
        """,
    )
    spec = models.spec(name="plain", train="training/plain.py:train")
    version = register(models.workspace, spec, train(models.workspace, spec))
    assert version.tags["headrace.kernel"].startswith("none: ")
    # The environment of this process: what is measured is how, and not how one is built.
    here = Environment(Path(sys.executable), "ab" * 32, current=True)
    monkeypatch.setattr("headrace.environments.ensure", lambda lock: here)
    verdict = judged(models, version, latency_p99="10s", spec={"name": "plain"})
    assert verdict.latency is not None
    assert verdict.latency.subject == "worker"
    assert len(verdict.latency.rounds) == 3


def test_files_that_are_elsewhere_cannot_be_measured(
    models: ModelProject, strong: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "model_directory", lambda store, model_id: None)
    with pytest.raises(ModelElsewhereError, match="not on this machine") as caught:
        model_directory(models.workspace, strong)
    assert caught.value.location == "another machine"


def test_slices_in_which_a_candidate_is_worse_refuse_it(
    models: ModelProject, weak: ModelVersion, strong: ModelVersion
) -> None:
    verdict = judged(models, weak, strong, slices=["model"], min_positives=5)
    assert [each.test is not None and each.test.worse for each in verdict.slices] == [True] * 3
    worse = [reason for reason in verdict.reasons if "after Holm's correction" in reason]
    assert len(worse) == 3
    assert f"is worse than version {strong.version}'s 0." in worse[0]
    told = judged(models, weak, strong, slices=["model"], slice_worse="report")
    assert len(told.reasons) == 1
    better = judged(models, strong, weak, slices=["model"])
    assert better.promoted
    assert all(each.test and each.test.p_value == 1 for each in better.slices)


def test_a_share_of_independent_rows_is_tested_exactly(
    models: ModelProject, weak: ModelVersion, strong: ModelVersion
) -> None:
    alone = {"group": None, "key": ["device", "at"]}
    verdict = judged(models, strong, weak, alone, metric="recall", slices=["model"])
    assert verdict.promoted
    assert verdict.difference is not None
    assert verdict.difference.pairs is not None
    assert verdict.difference.pairs.wins > verdict.difference.pairs.losses
    assert all(each.test and each.test.pairs for each in verdict.slices)
    refused = judged(models, weak, strong, alone, metric="accuracy", min_gain=0)
    assert "of the rows on which one is right it is that one in" in refused.reasons[0]
    grouped = judged(models, strong, weak, metric="recall")
    assert grouped.difference is not None
    assert grouped.difference.pairs is None
    above = judged(models, strong, weak, alone, metric="recall", min_gain=0.01)
    assert above.difference is not None
    assert above.difference.pairs is None


def test_groups_that_lie_apart_are_refused_if_asked(
    models: ModelProject, strong: ModelVersion
) -> None:
    rules = [
        {"column": "model", "metric": "recall", "max_gap": 1.0},
        {"column": "model", "metric": "false_positive_rate", "max_gap": 0.0},
    ]
    verdict = judged(models, strong, fairness=rules)
    wide, narrow = verdict.fairness
    assert wide.met
    assert not narrow.met
    assert [each.slice for each in wide.values] == ["m0", "m1", "m2"]
    (reason,) = verdict.reasons
    assert reason.startswith("false_positive_rate is 0")
    assert "apart, 0 is allowed" in reason


def test_calibration_is_told_and_can_be_bounded(
    models: ModelProject, weak: ModelVersion, strong: ModelVersion
) -> None:
    verdict = judged(models, strong, weak, min={"calibration_error": 0.0001})
    assert verdict.calibration is not None
    assert verdict.champion_calibration is not None
    assert verdict.bounds[0].value == pytest.approx(verdict.calibration.error)
    assert "calibration_error 0." in verdict.reasons[0]
    assert "is above 0.0001" in verdict.reasons[0]
