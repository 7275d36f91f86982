"""What `pin` and `prepare` make of tables, good and bad. No MLflow is involved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.modelling import ModelProject, feature_rows

from headrace.catalog import TableNotFoundError
from headrace.tracking import TrainingSpec
from headrace.tracking.data import Source, frame_for, pin, prepare
from headrace.tracking.errors import (
    DuplicateKeyError,
    EmptyTrainingSetError,
    HoldoutOneClassError,
    LabelError,
    MissingColumnError,
    NotATableError,
    NotATimeError,
    NullKeyError,
    TrainingError,
    UnsupportedFeatureError,
)

ROWS = feature_rows(300, 10)


def spec(**changes: Any) -> TrainingSpec:
    fields: dict[str, Any] = {
        "name": "failure",
        "train": "training/model.py:train",
        "table": "gold.features",
        "label": "fails",
        "time": "at",
        "group": "device",
        "features": ["heat", "shake", "noise"],
        "holdout": {"last": "25%"},
    }
    return TrainingSpec(**(fields | changes))


def source(rows: pa.Table, wanted: TrainingSpec) -> Source:
    columns = tuple(rows.column_names)
    return Source("main.gold.features", "/nowhere", 3, tuple(wanted.features or ()), columns)


def column(name: str, values: Any, rows: pa.Table = ROWS) -> pa.Table:
    if name in rows.column_names:
        return rows.set_column(rows.column_names.index(name), name, pa.array(values))
    return rows.append_column(name, pa.array(values))


def test_features_are_all_columns_but_those_with_a_role(models: ModelProject) -> None:
    found = pin(models.workspace, spec(features=None, exclude=["grade", "wear"]))
    assert found.features == ("model", "heat", "shake", "noise")
    assert found.name == "main.gold.features"


@pytest.mark.parametrize(
    ("changes", "role", "hint"),
    [
        ({"label": "failz"}, "label", 'did you mean "fails"?'),
        ({"time": "when"}, "time", "its columns are"),
        ({"group": "devize"}, "group", 'did you mean "device"?'),
        ({"key": ["id"]}, "key", "its columns are"),
        ({"features": ["heat", "shak"]}, "features", 'did you mean "shake"?'),
        ({"exclude": ["nois"]}, "exclude", 'did you mean "noise"?'),
    ],
)
def test_a_column_that_vanished_is_named(
    models: ModelProject, changes: dict[str, Any], role: str, hint: str
) -> None:
    with pytest.raises(MissingColumnError) as caught:
        pin(models.workspace, spec(**changes))
    assert caught.value.role == role
    assert hint in str(caught.value)
    assert "main.gold.features at version" in str(caught.value)


def test_a_view_has_no_versions_to_train_on(models: ModelProject) -> None:
    models.workspace.catalog.create_view("gold.view", "SELECT * FROM gold.features", replace=True)
    with pytest.raises(NotATableError, match="is a view"):
        pin(models.workspace, spec(table="gold.view"))


def test_an_unknown_table_has_a_suggestion(models: ModelProject) -> None:
    with pytest.raises(TableNotFoundError, match=r"gold\.featurez"):
        pin(models.workspace, spec(table="gold.featurez"))


def one_class_at_the_end() -> pa.Table:
    last = np.arange(300) >= 220
    return column("fails", np.where(last, False, ROWS.column("fails").to_numpy()))


@pytest.mark.parametrize(
    ("rows", "changes", "error", "message"),
    [
        (ROWS.slice(0, 0), {}, EmptyTrainingSetError, "table is empty"),
        (ROWS, {"holdout": {"after": "1960-01-01"}}, EmptyTrainingSetError, "to train on"),
        (ROWS, {"holdout": {"after": "2060-01-01"}}, EmptyTrainingSetError, "to measure on"),
        (column("fails", [None] * 300), {}, LabelError, "null in 300 of 300 rows"),
        (column("fails", [True] * 299 + [None]), {}, LabelError, "null in 1 of 300 rows"),
        (column("fails", [True] * 300), {}, LabelError, "True in every row"),
        (column("fails", [4] * 300), {}, LabelError, "4 in every row"),
        (column("wear", [1.5] * 300), {"label": "wear"}, LabelError, "1.5 in all 220 rows"),
        (
            column("wear", [float("nan"), float("inf"), *range(298)]),
            {"label": "wear"},
            LabelError,
            "NaN or infinite in 2 of 300 rows",
        ),
        (column("wear", [[1.0]] * 300), {"label": "wear"}, LabelError, "is a list<item: double>"),
        (column("at", ["monday"] * 300), {"key": ["heat"]}, NotATimeError, "monday"),
        (ROWS, {"label": "grade", "task": "regression"}, LabelError, "is a string"),
        (ROWS, {"positive": "yes"}, LabelError, "not one of two classes"),
        (ROWS, {"label": "grade", "positive": "bad"}, LabelError, "not one of two classes"),
        (one_class_at_the_end(), {}, HoldoutOneClassError, "is False in every row"),
        (column("device", [None] * 300), {}, NullKeyError, "null in 300 rows"),
        (
            ROWS,
            {"key": ["device"]},
            DuplicateKeyError,
            "300 rows share a key, for example device=d",
        ),
        (
            column("heat", [[1.0]] * 300),
            {},
            UnsupportedFeatureError,
            '"heat" of main.gold.features',
        ),
    ],
)
def test_bad_rows_are_refused_with_the_reason(
    rows: pa.Table, changes: dict[str, Any], error: type[TrainingError], message: str
) -> None:
    wanted = spec(**changes)
    with pytest.raises(error, match=message) as caught:
        prepare(rows, wanted, source(rows, wanted))
    assert caught.value.next
    assert caught.value.model == "failure"


@pytest.mark.parametrize("kind", [pa.string(), pa.date32()])
def test_a_time_can_be_a_date_or_a_text(kind: pa.DataType) -> None:
    days = [f"2026-01-{1 + row % 20:02}" for row in range(300)]
    values = pa.array(days) if kind == pa.string() else pa.array(days).cast(kind)
    rows = column("at", values)
    wanted = spec(key=["heat"], holdout={"after": "2026-01-16"})
    data = prepare(rows, wanted, source(rows, wanted))
    assert len(data.holdout.y) == 75


def test_rows_come_in_the_order_of_their_key() -> None:
    shuffled = ROWS.take(np.random.default_rng(1).permutation(300))
    straight = prepare(ROWS, spec(), source(ROWS, spec()))
    mixed = prepare(shuffled, spec(), source(ROWS, spec()))
    assert straight.train.X.equals(mixed.train.X)
    assert straight.holdout.y.equals(mixed.holdout.y)
    assert straight.holdout.key.equals(mixed.holdout.key)


def test_rows_without_a_key_are_identified_by_what_they_hold() -> None:
    wanted = spec(time=None, group=None, holdout={"hash": "30%"})
    doubled = pa.concat_tables([ROWS, ROWS.slice(0, 20)])
    data = prepare(doubled, wanted, source(doubled, wanted))
    mixed = doubled.take(np.random.default_rng(1).permutation(320))
    again = prepare(mixed, wanted, source(doubled, wanted))
    assert data.hashed == tuple(ROWS.column_names)
    assert data.holdout.key.equals(again.holdout.key)
    assert data.train.X.equals(again.train.X)
    assert list(data.train.key) == ["row_digest", "occurrence"]


def test_numbers_become_doubles_and_nulls_nan() -> None:
    rows = column("noise", pa.array([None, *range(299)], pa.int32()))
    data = prepare(rows, spec(), source(rows, spec()))
    assert [str(kind) for kind in data.train.X.dtypes] == ["float64"] * 3
    assert data.train.X["noise"].isna().sum() == 1


def test_booleans_stay_booleans_while_none_is_null() -> None:
    whole = column("hot", [True, False] * 150)
    holed = column("hot", [True, None] * 150)
    wanted = spec(features=["hot"])
    assert str(prepare(whole, wanted, source(whole, wanted)).train.X["hot"].dtype) == "bool"
    assert str(prepare(holed, wanted, source(holed, wanted)).train.X["hot"].dtype) == "float64"


@pytest.mark.parametrize(
    ("label", "values", "task", "labels"),
    [
        ("fails", None, "binary", (False, True)),
        ("fails", [0, 1] * 150, "binary", (0, 1)),
        ("fails", [3, 7] * 150, "binary", (3, 7)),
        ("fails", ["no", "yes"] * 150, "binary", ("no", "yes")),
        ("fails", [0, 1, 2] * 100, "multiclass", (0, 1, 2)),
        ("fails", list(range(300)), "regression", None),
        ("fails", [0.0, 1.0] * 150, "regression", None),
        ("grade", None, "multiclass", ("bad", "fair", "good")),
        ("wear", None, "regression", None),
    ],
)
def test_the_label_tells_the_task(
    label: str, values: Any, task: str, labels: tuple[Any, ...] | None
) -> None:
    rows = ROWS if values is None else column(label, values)
    wanted = spec(label=label)
    data = prepare(rows, wanted, source(rows, wanted))
    assert (data.task, data.labels) == (task, labels)


def test_the_spec_can_say_the_task() -> None:
    rows = column("fails", [0.0, 1.0] * 150)
    wanted = spec(task="classification")
    assert prepare(rows, wanted, source(rows, wanted)).task == "binary"
    counts = column("fails", [1, 2, 3] * 100)
    wanted = spec(task="regression")
    assert prepare(counts, wanted, source(counts, wanted)).train.y.dtype == "float64"


def test_the_positive_label_can_be_chosen() -> None:
    rows = column("fails", ["broken", "fine"] * 150)
    data = prepare(rows, spec(positive="broken"), source(rows, spec()))
    assert data.labels == ("fine", "broken")
    assert (data.train.raw_label[data.train.y == 1] == "broken").all()


def test_a_frame_for_a_model_has_the_types_of_its_signature() -> None:
    rows = pa.table({"a": pa.array([1, 2], pa.int64()), "b": pa.array([1.0, 2.0]), "c": ["x", "y"]})
    types = {"b": "float", "a": "long", "c": "string"}
    frame = frame_for(rows, types, "failure", "main.t")
    assert [str(kind) for kind in frame.dtypes] == ["float32", "int64", "object"]
    with pytest.raises(UnsupportedFeatureError, match="no double"):
        frame_for(rows, {"c": "double"}, "failure", "main.t")
