"""Batch scoring against the recorded answers, before a version is promoted."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from tests.modelling import feature_rows
from tests.parity.registered import Registered, registered, tamper_with_kernel
from tests.parity.registered import forest as forest
from tests.parity.registered import untouched as untouched

from headrace.gate import rule
from headrace.parity import store
from headrace.promotion import GateSpec, judge, parity_check

if TYPE_CHECKING:
    from tests.modelling import ModelProject

    from headrace.promotion.parity_check import ParityCheck

SWAYED = """
import os

import mlflow.pyfunc
import numpy as np


class Swayed(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        more = 0.25 if {condition} else 0.0
        return 1 / (1 + np.exp(-model_input["heat"])) * 0.5 + more


def train(X, y):
    return Swayed()
"""
KINDS = """
from sklearn.ensemble import HistGradientBoosting{kind}


def train(X, y, *, seed):
    return HistGradientBoosting{kind}(max_iter=8, random_state=seed).fit(X, y)
"""


def reasons(found: ParityCheck) -> tuple[str, ...]:
    """Why the rule refuses it."""
    return tuple(rule._not_as_trained(found.finding))


def test_a_kernel_answers_as_the_forest_did(untouched: Registered) -> None:
    found = parity_check.check(untouched.project.workspace, untouched.version)
    assert reasons(found) == ()
    assert found.batch.agreed
    assert found.batch.rows == 256
    assert (found.batch.by or "").startswith("kernel ")
    assert found.environment is not None
    assert found.environment.serves == "kernel"
    (kept,) = store.reports_of(
        untouched.project.workspace.store, untouched.version.name, untouched.version.version
    )
    assert kept.report == found.batch


@pytest.mark.parametrize(
    ("kind", "label"), [("Classifier", "grade"), ("Regressor", "wear")], ids=["classes", "values"]
)
def test_other_tasks_agree(models: ModelProject, kind: str, label: str) -> None:
    models.write(f"training/{label}.py", KINDS.format(kind=kind))
    made = registered(models, name=label, label=label, train=f"training/{label}.py:train")
    found = parity_check.check(models.workspace, made.version)
    assert reasons(found) == ()
    assert found.batch.rows == 256


def test_a_kernel_that_was_tampered_with_is_found_out(untouched: Registered) -> None:
    tamper_with_kernel(untouched.model)
    found = parity_check.check(untouched.project.workspace, untouched.version)
    (reason,) = reasons(found)
    assert reason.startswith("parity, batch: ")
    example = found.batch.examples[0]
    assert example.output == "score"
    assert repr(example.recorded) in reason
    assert repr(example.answered) in reason
    assert found.batch.disagreements > 100


def test_a_graph_that_is_not_the_proven_one_is_a_reason_too(untouched: Registered) -> None:
    graph = untouched.model / "kernel" / "model.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    found = parity_check.check(untouched.project.workspace, untouched.version)
    assert len(reasons(found)) == 1
    assert not found.batch.agreed


def test_without_a_record_nothing_is_promoted(untouched: Registered) -> None:
    shutil.rmtree(untouched.model / "parity")
    (reason,) = reasons(parity_check.check(untouched.project.workspace, untouched.version))
    assert "headrace run --full" in reason


def test_a_record_that_was_changed_is_refused(untouched: Registered) -> None:
    answers = untouched.model / "parity" / "answers.parquet"
    answers.write_bytes(answers.read_bytes()[:-1] + b"\0")
    (reason, *_) = reasons(parity_check.check(untouched.project.workspace, untouched.version))
    assert "not the file that the training wrote" in reason


def test_a_model_that_reads_a_variable_is_found_out(
    models: ModelProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    condition = 'os.environ.get("SWAY")'
    models.write("training/swayed.py", SWAYED.format(condition=condition))
    made = registered(models, name="swayed", train="training/swayed.py:train")
    assert reasons(parity_check.check(models.workspace, made.version)) == ()
    monkeypatch.setenv("SWAY", "1")
    found = parity_check.check(models.workspace, made.version)
    assert "256 of 256 rows differ" in reasons(found)[0]
    assert found.batch.by == "pyfunc"
    assert found.batch.difference == pytest.approx(0.25)


def test_the_gate_refuses_and_its_numbers_cannot_be_told_otherwise(untouched: Registered) -> None:
    project = untouched.project
    gate = GateSpec(metric="roc_auc", resamples=100, leaks={"label": "skip"})
    good = judge(project.workspace, project.spec(), gate, untouched.version, None)
    assert good.promoted
    assert good.parity is not None
    assert good.parity.rows == 256
    tamper_with_kernel(untouched.model)
    untouched.forget_copies()
    bad = judge(project.workspace, project.spec(), gate, untouched.version, None)
    assert not bad.promoted
    assert bad.reasons[0].startswith("parity, batch: ")
    assert rule.check(gate, bad) == []
    assert bad.parity is not None
    told = bad.model_copy(
        update={
            "promoted": True,
            "reasons": (),
            "parity": bad.parity.model_copy(update={"reason": None}),
        }
    )
    (contradiction,) = rule.check(gate, told)
    assert "the numbers say otherwise" in contradiction


TYPED = """
import mlflow.pyfunc
import numpy as np
import pandas as pd


class Typed(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        X = model_input
        known = X["site"].map({{"north": 0.1, "south": 0.2}}).fillna(0.05).astype("float64")
        return known + X["on"].astype("float64") * 0.3 + {moment} + X["heat"].fillna(9.0) * 1e-3


def train(X, y):
    return Typed()
"""


def typed_rows() -> pa.Table:
    """Texts and numbers with nulls, truth values, times."""
    rows = feature_rows(400)
    site = ["north", "south", None, "elsewhere"] * 100
    heat = [None if at % 7 == 0 else value for at, value in enumerate(rows["heat"].to_pylist())]
    seen = pa.array([3_600_000_000 * (at % 24) for at in range(400)], pa.timestamp("us", "UTC"))
    rows = rows.set_column(rows.column_names.index("heat"), "heat", pa.array(heat))
    rows = rows.append_column("site", pa.array(site)).append_column("seen", seen)
    return rows.append_column("on", pa.array([at % 3 == 0 for at in range(400)]))


@pytest.mark.parametrize(
    ("moment", "agreed"),
    [
        ("X['seen'].dt.hour / 100", True),
        # The count of what a time is counted in: microseconds there, nanoseconds elsewhere.
        ("X['seen'].astype('int64') / 1e15", False),
    ],
    ids=["as a time", "by its bits"],
)
def test_a_model_that_depends_on_how_a_type_is_held(
    models: ModelProject, moment: str, agreed: bool
) -> None:
    models.put(typed_rows(), "gold.typed")
    models.write("training/typed.py", TYPED.format(moment=moment))
    made = registered(
        models,
        name="typed",
        table="gold.typed",
        features=["heat", "site", "seen", "on"],
        train="training/typed.py:train",
    )
    found = parity_check.check(models.workspace, made.version)
    assert found.batch.rows == 100
    assert found.batch.agreed is agreed
    assert (reasons(found) == ()) is agreed
