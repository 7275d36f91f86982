from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.modelling import ModelProject, feature_rows

from headrace import lakehouse
from headrace.tracking import load_holdout, store
from headrace.tracking.data import TrainingData, pin, prepare
from headrace.tracking.errors import HoldoutLostError, MissingColumnError
from headrace.tracking.holdout import freeze, holdout_path

MakeModels = Callable[..., ModelProject]


def frozen(project: ModelProject, **changes: Any) -> tuple[TrainingData, store.HoldoutRecord]:
    spec = project.spec(**changes)
    source = pin(project.workspace, spec)
    rows = lakehouse.read(source.location, version=source.version, columns=list(source.columns))
    data = prepare(rows, spec, source)
    return data, freeze(project.workspace, spec, source, data)


def test_the_frozen_rows_are_read_again_as_they_were(make_models: MakeModels) -> None:
    project = make_models(rows=feature_rows(400))
    data, record = frozen(project)
    # The table moves on; the hold-out does not.
    project.put(feature_rows(400, seed=9))
    held = load_holdout(project.workspace, record.digest, ["heat", "model"])
    assert held.rows.column("heat").to_pylist() == data.holdout.X["heat"].tolist()
    assert held.y.tolist() == data.holdout.y.tolist()
    assert set(held.rows.column_names) == {"device", "at", "heat", "fails", "model"}
    assert record.rows == len(held.y) == len(data.holdout.y) >= 100


def test_rows_without_a_key_are_found_by_what_they_held(make_models: MakeModels) -> None:
    rows = feature_rows(200)
    project = make_models(rows=pa.concat_tables([rows, rows.slice(0, 30)]))
    data, record = frozen(project, time=None, group=None, holdout={"hash": "30%"})
    assert record.key == []
    held = load_holdout(project.workspace, record.digest, ["grade"])
    assert held.rows.column("heat").to_pylist() == data.holdout.X["heat"].tolist()


def test_the_same_rows_give_the_same_digest(make_models: MakeModels) -> None:
    project = make_models(rows=feature_rows(200))
    _, one = frozen(project)
    _, again = frozen(project)
    _, other = frozen(project, holdout={"last": "30%"})
    assert one.digest == again.digest != other.digest


def test_a_file_holds_identities_and_labels_only(make_models: MakeModels) -> None:
    project = make_models(rows=feature_rows(200))
    _, record = frozen(project)
    table = pq.read_table(holdout_path(project.workspace.paths, "failure", record.digest))
    assert table.column_names == ["device", "at", "fails"]


@pytest.mark.parametrize("label", ["fails", "wear", "grade"])
def test_labels_of_every_kind_come_back(make_models: MakeModels, label: str) -> None:
    project = make_models(rows=feature_rows(200))
    data, record = frozen(project, label=label)
    held = load_holdout(project.workspace, record.digest, [])
    assert np.array_equal(held.y, data.holdout.y)
    assert (held.record.labels is None) is (label == "wear")


def test_what_can_be_lost(make_models: MakeModels) -> None:
    project = make_models(rows=feature_rows(200))
    _, record = frozen(project)
    with pytest.raises(HoldoutLostError, match="no such hold-out"):
        load_holdout(project.workspace, "0" * 64, [])
    with pytest.raises(MissingColumnError, match="colour"):
        load_holdout(project.workspace, record.digest, ["colour"])
    path = holdout_path(project.workspace.paths, "failure", record.digest)
    table = pq.read_table(path)
    index = table.column_names.index("device")
    pq.write_table(table.set_column(index, "device", pa.array(["elsewhere"] * 50)), path)
    with pytest.raises(HoldoutLostError, match="50 of 50 frozen rows are not there"):
        load_holdout(project.workspace, record.digest, [])
    flipped = [not value for value in table.column("fails").to_pylist()]
    pq.write_table(table.set_column(2, "fails", pa.array(flipped)), path)
    with pytest.raises(HoldoutLostError, match="labels differ"):
        load_holdout(project.workspace, record.digest, [])
    path.unlink()
    with pytest.raises(HoldoutLostError, match="the file is gone"):
        load_holdout(project.workspace, record.digest, [])
