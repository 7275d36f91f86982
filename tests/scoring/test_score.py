"""Scoring on the real engine, Delta tables and MLflow models."""

from __future__ import annotations

import fcntl
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from headrace import lakehouse
from headrace.scoring import RECORD_COLUMNS, score, scoring_freshness
from headrace.scoring.errors import ScoringFailedError, ScoringInProgressError

from .conftest import MLFLOW_WARNINGS, Scored, rows

pytestmark = MLFLOW_WARNINGS


def test_each_row_says_what_it_came_from(scored: Scored) -> None:
    done = score(scored.workspace, scored.spec)
    found = scored.predictions()

    assert found.columns.tolist() == ["id", "score", *RECORD_COLUMNS]
    assert found["score"].tolist() == [i * 1.25 for i in range(10)]
    version = scored.workspace.mlflow().get_model_version(scored.model, "1")
    constant = found[[*RECORD_COLUMNS[:7]]].drop_duplicates().to_dict("records")
    assert constant == [
        {
            "model_name": scored.model,
            "model_version": 1,
            "model_id": version.source.removeprefix("models:/"),
            "input_table": f"main.gold.{scored.name}",
            "input_version": 0,
            "run_id": version.run_id,
            "scoring_run": done.id,
        }
    ]
    assert str(found["scored_at"].dt.tz) == "UTC"
    assert found["row_digest"].is_unique
    assert (done.version, done.scored, done.unchanged, done.removed) == (0, 10, 0, 0)


def test_the_lineage_knows_the_columns(scored: Scored) -> None:
    done = score(scored.workspace, scored.spec)
    operation = scored.workspace.lineage.operation(done.id)
    assert operation is not None
    found: dict[str | None, set[tuple[str, str | None, str]]] = {}
    for flow in operation.flows:
        kind = operation.reads[flow.source].kind
        found.setdefault(flow.column, set()).add((kind, flow.source_column, flow.how))
    assert found[None] == {("table", None, "direct")}
    assert found["id"] == {("table", "id", "direct")}
    assert found["score"] == {
        ("table", "a", "direct"),
        ("table", "b", "direct"),
        ("model", None, "direct"),
    }
    assert found["model_version"] == {("model", None, "direct")}
    assert "scored_at" not in found


def test_nothing_changed_commits_nothing(scored: Scored) -> None:
    score(scored.workspace, scored.spec)
    again = score(scored.workspace, scored.spec)
    assert (again.version, again.scored, again.unchanged, again.mode) == (0, 0, 10, None)
    assert scored.versions() == 1


def test_a_new_input_version_with_the_same_rows_commits_nothing(scored: Scored) -> None:
    score(scored.workspace, scored.spec)
    scored.write_input(rows(10).iloc[::-1])
    again = score(scored.workspace, scored.spec)
    assert (again.scored, again.unchanged, again.input_version) == (0, 10, 1)
    assert scored.versions() == 1
    # A version whose rows were looked at is not looked at again.
    assert score(scored.workspace, scored.spec).seconds == 0.0


def test_only_new_and_changed_rows_are_scored(scored: Scored) -> None:
    first = score(scored.workspace, scored.spec)
    changed = pd.concat([rows(8), rows(3, start=20)])
    changed.loc[changed["id"] == 2, "a"] = 100.0
    changed.loc[changed["id"] == 3, "site"] = "elsewhere"  # no input of the model
    scored.write_input(changed)

    second = score(scored.workspace, scored.spec)

    assert (second.scored, second.unchanged, second.removed, second.mode) == (4, 7, 2, "merge")
    found = scored.predictions().set_index("id")
    assert found.index.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 20, 21, 22]
    assert found.loc[2, "score"] == 100.5
    fresh = found.index[found["scoring_run"] == second.id].tolist()
    assert fresh == [2, 20, 21, 22]
    assert set(found.loc[[0, 1, 3], "scoring_run"]) == {first.id}
    assert set(found.loc[fresh, "input_version"]) == {1}
    assert scored.versions() == 2


def test_new_rows_alone_are_appended(scored: Scored) -> None:
    score(scored.workspace, scored.spec)
    scored.write_input(rows(2, start=10), mode="append", replace_schema=False)
    done = score(scored.workspace, scored.spec)
    assert (done.mode, done.scored, done.unchanged) == ("append", 2, 10)
    assert len(scored.predictions()) == 12


def test_a_null_that_moves_to_the_next_column_is_a_change(scored: Scored) -> None:
    frame = rows(2)
    frame["a"], frame["b"] = [None, 1.0], [1.0, 1.0]
    scored.write_input(frame)
    score(scored.workspace, scored.spec)
    frame["a"], frame["b"] = [1.0, 1.0], [None, 1.0]
    scored.write_input(frame)
    assert score(scored.workspace, scored.spec).scored == 1


def test_a_moved_alias_rescores_with_the_new_model_in_the_same_process(
    scored: Scored, log_model: Callable[..., int]
) -> None:
    score(scored.workspace, scored.spec)
    scored.promote(log_model(scored.model, "pd.DataFrame({'score': model_input['a'] * 100})"))

    done = score(scored.workspace, scored.spec)

    assert (done.model, done.scored, done.unchanged) == (f"{scored.model}/2", 10, 0)
    assert scored.predictions()["score"].tolist() == [i * 100.0 for i in range(10)]
    scored.promote(1)
    score(scored.workspace, scored.spec)
    assert scored.predictions()["score"].tolist() == [i * 1.25 for i in range(10)]


def test_a_version_may_be_named_instead_of_an_alias(scored: Scored) -> None:
    spec = scored.spec.model_copy(update={"model": f"{scored.model}/1"})
    assert score(scored.workspace, spec).model == f"{scored.model}/1"


@pytest.mark.parametrize("change", ["changed", "doubled", "removed"])
def test_what_somebody_else_wrote_does_not_stay(scored: Scored, change: str) -> None:
    from deltalake import DeltaTable

    score(scored.workspace, scored.spec)
    honest = scored.predictions()["score"]
    location = str(scored.workspace.catalog.resolve(scored.spec.table).location)
    table = DeltaTable(location)
    if change == "changed":
        table.update(updates={"score": "-1.0"}, predicate="id = 3")
    elif change == "doubled":
        lakehouse.write(location, lakehouse.read(location))
    else:
        table.delete("id < 5")
    done = score(scored.workspace, scored.spec)
    assert (done.scored, done.mode) == (10, "overwrite")
    assert scored.predictions()["score"].tolist() == honest.tolist()
    assert not scoring_freshness(scored.workspace, scored.spec).stale


def test_another_key_of_the_same_columns_starts_anew(scored: Scored) -> None:
    spec = scored.spec.model_copy(update={"key": ["id", "site"]})
    scored.write_input(pd.concat([rows(4), rows(4).assign(site="elsewhere")]))
    score(scored.workspace, spec)
    scored.write_input(rows(4))
    score(scored.workspace, scored.spec.model_copy(update={"columns": ["site"]}))
    assert len(scored.predictions()) == 4


def test_full_scores_every_row_again(scored: Scored) -> None:
    score(scored.workspace, scored.spec)
    done = score(scored.workspace, scored.spec, full=True)
    assert (done.scored, done.unchanged, done.removed, done.mode) == (10, 0, 0, "overwrite")
    assert set(scored.predictions()["scoring_run"]) == {done.id}


def test_full_counts_the_rows_that_are_gone(scored: Scored) -> None:
    score(scored.workspace, scored.spec)
    scored.write_input(rows(6))
    done = score(scored.workspace, scored.spec, full=True)
    assert (done.scored, done.unchanged, done.removed) == (6, 0, 4)


def test_columns_are_carried_and_changes_of_them_count(scored: Scored) -> None:
    score(scored.workspace, scored.spec)
    spec = scored.spec.model_copy(update={"columns": ["site"]})
    done = score(scored.workspace, spec)
    assert (done.scored, done.mode) == (10, "overwrite")
    assert scored.predictions()["site"].tolist() == rows(10)["site"].tolist()
    frame = rows(10)
    frame.loc[4, "site"] = "elsewhere"
    scored.write_input(frame)
    assert score(scored.workspace, spec).scored == 1


def test_an_empty_input_makes_an_empty_table_and_empties_a_full_one(scored: Scored) -> None:
    scored.write_input(pa.Table.from_pandas(rows(10), preserve_index=False).slice(0, 0))
    assert score(scored.workspace, scored.spec).scored == 0
    assert scored.predictions().columns.tolist() == ["id", "score", *RECORD_COLUMNS]
    scored.write_input(rows(3))
    assert score(scored.workspace, scored.spec).scored == 3
    scored.write_input(pa.Table.from_pandas(rows(3), preserve_index=False).slice(0, 0))
    done = score(scored.workspace, scored.spec)
    assert (done.scored, done.removed) == (0, 3)
    assert scored.predictions().empty


def test_a_key_of_several_columns_and_types(scored: Scored) -> None:
    frame = rows(6).assign(
        day=pd.date_range("2026-01-01", periods=6, tz="UTC").astype("datetime64[us, UTC]"),
        part=[True, False] * 3,
    )
    frame["id"] = 7
    spec = scored.spec.model_copy(update={"key": ["id", "day", "part"]})
    scored.write_input(frame)
    score(scored.workspace, spec)
    frame.loc[0, "a"] = 9.0
    scored.write_input(frame.iloc[:5])
    done = score(scored.workspace, spec)
    assert (done.scored, done.unchanged, done.removed) == (1, 4, 1)


def test_the_numbers_are_those_of_the_model_in_pandas(scored: Scored) -> None:
    """Row by row the same bits, for a forest over columns of several types."""
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(7)
    features = pd.DataFrame(
        {
            "speed": rng.normal(size=5000),
            "load": rng.normal(size=5000).astype("float32"),
            "errors": rng.integers(0, 9, 5000).astype("float64"),
        }
    )
    target = features["speed"] * features["errors"] + features["load"]
    forest = RandomForestRegressor(20, random_state=1, n_jobs=1).fit(features, target)
    workspace = scored.workspace
    mlflow.set_tracking_uri(workspace.tracking_uri)
    with mlflow.start_run():
        logged = mlflow.sklearn.log_model(
            forest,
            name="model",
            signature=infer_signature(features, forest.predict(features)),
            pip_requirements=["scikit-learn"],
            serialization_format="cloudpickle",
            registered_model_name=f"forest_{scored.name}",
        )
    scored.write_input(
        features.astype({"errors": "int16"}).assign(id=np.arange(5000), load=features["load"])
    )
    spec = scored.spec.model_copy(update={"model": f"forest_{scored.name}/1"})
    score(workspace, spec)

    expected = mlflow.pyfunc.load_model(logged.model_uri).predict(features)
    assert scored.predictions()["score"].tolist() == list(expected)


def test_memory_is_bound_by_the_chunk(
    scored: Scored, log_model: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """200,000 rows go through the model in pieces: each answer holds the size of its piece."""
    monkeypatch.setattr("headrace.scoring.scorers.CHUNK_ROWS", 10_000)
    expression = "pd.DataFrame({'score': np.full(len(model_input), float(len(model_input)))})"
    scored.promote(log_model(scored.model, expression))
    scored.write_input(rows(200_000))
    done = score(scored.workspace, scored.spec)
    sizes = scored.predictions()["score"]
    assert done.scored == len(sizes) == 200_000
    assert sizes.max() <= 10_000
    # Pieces of whole batches, but for the last one of each part.
    assert (sizes > 5_000).mean() > 0.9


def test_a_failing_model_leaves_the_table_as_it_was(
    scored: Scored, log_model: Callable[..., int]
) -> None:
    score(scored.workspace, scored.spec)
    before = scored.predictions()
    scored.promote(log_model(scored.model, "1 / 0"))

    with pytest.raises(ScoringFailedError, match="ZeroDivisionError: division by zero") as caught:
        score(scored.workspace, scored.spec)

    assert scored.spec.table in str(caught.value.next)
    pd.testing.assert_frame_equal(scored.predictions(), before)
    location = scored.workspace.catalog.resolve(scored.spec.table).location
    assert lakehouse.latest_version(str(location)) == 0
    scored.promote(1)
    scored.write_input(rows(11))
    assert score(scored.workspace, scored.spec).scored == 1


def test_a_damaged_input_file_is_named(scored: Scored) -> None:
    location = scored.workspace.catalog.resolve(scored.spec.input).location
    file = lakehouse.files(str(location))[0]
    with open(file.path, "r+b") as opened:  # noqa: PTH123  # in place
        opened.truncate(100)
    with pytest.raises(ScoringFailedError) as caught:
        score(scored.workspace, scored.spec)
    assert scored.workspace.catalog.find(scored.spec.table) is None
    assert str(caught.value.why)


def test_one_scoring_of_a_table_at_a_time(scored: Scored) -> None:
    lock = scored.workspace.paths.temporary / f"scoring-main.{scored.spec.table}.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ScoringInProgressError, match=scored.spec.table):
            score(scored.workspace, scored.spec)
    assert score(scored.workspace, scored.spec).scored == 10


def test_the_lineage_has_the_input_the_model_and_the_output(scored: Scored) -> None:
    done = score(scored.workspace, scored.spec)
    [operation] = scored.workspace.lineage.producers(scored.spec.table, done.version)
    assert (operation.id, operation.kind, operation.subject) == (
        done.id,
        "score",
        f"main.{scored.spec.table}",
    )
    reads = [(access.kind, access.name, access.version) for access in operation.reads]
    assert reads == [
        ("table", f"main.{scored.spec.input}", 0),
        ("model", f"models:/{done.model_id}", None),
    ]
    assert operation.reads[0].columns == ("id", "a", "b")
    assert [(a.name, a.version) for a in operation.writes] == [(f"main.{scored.spec.table}", 0)]


def test_readers_without_us_see_a_plain_delta_table(scored: Scored) -> None:
    from deltalake import DeltaTable

    score(scored.workspace, scored.spec)
    location = scored.workspace.catalog.resolve(scored.spec.table).location
    assert len(DeltaTable(str(location)).to_pyarrow_table()) == 10
    assert scored.workspace.spark().table(scored.spec.table).count() == 10
