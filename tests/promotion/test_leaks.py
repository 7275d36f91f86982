"""Leaks planted in a table are found by the gate, and its own projects are clean."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from tests.modelling import feature_rows

from headrace.gate import rule
from headrace.gate.conditions import leak_state
from headrace.promotion import GateSpec, Verdict, judge
from headrace.registry import register
from headrace.tracking import train

if TYPE_CHECKING:
    from tests.modelling import ModelProject

    from headrace.gate.findings import LeakCheck

GATE = GateSpec(metric="average_precision")
#: It is given times and takes a number of them.
CLASSIFY = """
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def train(X, y):
    chosen = make_column_transformer(("passthrough", ["heat"]))
    return make_pipeline(chosen, LogisticRegression()).fit(X, y)
"""


def judged(models: ModelProject, gate: GateSpec = GATE, **spec: Any) -> Verdict:
    """The verdict on a model trained on the table as it is; every one of them holds."""
    wanted = models.spec(**spec)
    version = register(models.workspace, wanted, train(models.workspace, wanted))
    found = judge(models.workspace, wanted, gate, version, None)
    assert rule.check(gate, found) == []
    return found


def of(verdict: Verdict, name: str) -> LeakCheck:
    (found,) = [each for each in verdict.leaks if each.check == name]
    return found


def test_rows_without_a_leak_pass_every_check(models: ModelProject) -> None:
    verdict = judged(models)
    assert verdict.promoted
    assert (of(verdict, "rows").value, of(verdict, "rows").of) == (0, verdict.rows)
    label = of(verdict, "label")
    assert label.columns == ("heat",)
    assert 0.8 < (label.value or 0) < 0.95
    assert of(verdict, "groups").advisory  # the same devices before and after
    assert of(verdict, "groups").value == 30
    assert of(verdict, "times").note == "no feature is a time"
    assert "the name fails tells none" in str(of(verdict, "horizon").note)


def test_a_copy_of_the_label_among_the_features(make_models: Callable[..., ModelProject]) -> None:
    rows = feature_rows()
    told = pa.array(np.asarray(rows["fails"]) * 3.0 + 1)
    models = make_models(rows=rows.append_column("repair_cost", told))
    columns = ["heat", "shake", "repair_cost"]
    verdict = judged(models, features=columns)
    assert verdict.reasons == (
        "leak: repair_cost alone tells the label (area under the ROC curve 1)",
    )
    accepted = GATE.model_validate({**GATE.model_dump(), "leaks": {"accept": ["repair_cost"]}})
    verdict = judged(models, accepted, features=columns, seed=8)
    assert verdict.promoted
    assert of(verdict, "label").note == "accepted: repair_cost"


def test_rows_of_the_hold_out_that_were_ingested_before(
    make_models: Callable[..., ModelProject],
) -> None:
    rows = feature_rows()
    features = ["heat", "shake", "noise", "fails"]
    late = {name: np.asarray(rows[name]).copy() for name in features}
    for values in late.values():
        values[1100:1150] = values[100:150]  # 50 of the last 300 rows say what earlier ones said
    again = rows
    for name, values in late.items():
        at = rows.column_names.index(name)
        again = again.set_column(at, name, pa.array(values, rows.schema.field(name).type))
    verdict = judged(make_models(rows=again))
    (reason,) = verdict.reasons
    assert reason.startswith("leak: 16.7 % of the hold-out's rows are in training too")
    assert of(verdict, "rows").note == "16.7 % agree in all columns but one"


def test_coarse_features_agree_by_coincidence(make_models: Callable[..., ModelProject]) -> None:
    rows = feature_rows()
    for name in ("heat", "shake", "noise"):
        coarse = np.round(np.asarray(rows[name], float) * (0.5 if name == "noise" else 3))
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(coarse))
    verdict = judged(make_models(rows=rows))
    found = of(verdict, "rows")
    assert (found.value or 0) > GATE.leaks.max_shared
    assert found.advisory
    assert "by coincidence" in str(found.note)
    assert verdict.promoted


def test_a_group_on_both_sides_of_a_hold_out_by_hash(models: ModelProject) -> None:
    spec: dict[str, Any] = {"holdout": {"hash": "25%"}, "key": ["device", "at"]}
    (reason,) = judged(models, **spec).reasons
    assert reason == "leak: 30 of 30 groups of device are in training and in the hold-out"
    assert judged(models, holdout={"group": "40%"}).promoted
    lenient = GateSpec.model_validate({**GATE.model_dump(), "leaks": {"groups": "warn"}})
    assert judged(models, lenient, seed=9, **spec).promoted


def test_a_time_among_the_features_that_is_later_than_the_row_s(
    make_models: Callable[..., ModelProject],
) -> None:
    rows = feature_rows()
    at = np.asarray(rows["at"].cast(pa.int64()))
    known = at - 3_600_000_000
    repaired = np.where(np.arange(len(at)) % 10 == 0, at + 1, known)
    stamp = pa.timestamp("us", "UTC")
    models = make_models(
        rows=rows.append_column("repaired_at", pa.array(repaired, stamp)).append_column(
            "seen_at", pa.array(known, stamp)
        )
    )
    models.write("training/classify.py", CLASSIFY)
    verdict = judged(
        models,
        train="training/classify.py:train",
        features=["heat", "seen_at", "repaired_at"],
    )
    assert verdict.reasons == (
        "leak: repaired_at is later than the row's time in 120 of 1,200 rows",
    )


def test_training_rows_whose_label_looks_into_the_hold_out(
    make_models: Callable[..., ModelProject],
) -> None:
    rows = feature_rows()
    models = make_models(
        rows=rows.rename_columns(
            [{"fails": "fails_within_3h"}.get(name, name) for name in rows.column_names]
        )
    )
    verdict = judged(models, label="fails_within_3h")
    found = of(verdict, "horizon")
    assert verdict.promoted  # the name may deceive: it is told, and refuses nothing
    assert found.value == 30 * 2  # 30 devices an hour; the third hour before is 3 h away
    assert leak_state(GATE, found) == "warned"
    assert of(judged(models, label="fails_within_3h", embargo="3h"), "horizon").value == 0
    strict = GateSpec.model_validate({**GATE.model_dump(), "leaks": {"horizon": "3h"}})
    (reason,) = judged(models, strict, label="fails_within_3h", seed=8).reasons
    assert reason.startswith("leak: the label looks 10800 s ahead, and 60 of 900 training rows")


def test_checks_that_are_skipped_are_not_made(models: ModelProject) -> None:
    skip = dict.fromkeys(("rows", "groups", "label", "times"), "skip")
    verdict = judged(models, GateSpec.model_validate({**GATE.model_dump(), "leaks": skip}))
    assert [each.check for each in verdict.leaks] == ["horizon"]


@pytest.mark.parametrize(
    "spec",
    [
        {"label": "wear", "name": "wear", "train": "training/wear.py:train"},
        {"label": "grade", "name": "grade"},
    ],
)
def test_other_labels_are_checked_by_their_own_measure(
    models: ModelProject, spec: dict[str, Any]
) -> None:
    models.write(
        "training/wear.py",
        "from sklearn.linear_model import Ridge\ndef train(X, y): return Ridge().fit(X, y)\n",
    )
    metric = "rmse" if spec["label"] == "wear" else "f1"
    found = of(judged(models, GateSpec(metric=metric), **spec), "label")
    assert found.columns == ("heat",)
    assert 0.25 < (found.value or 0) < 0.9
