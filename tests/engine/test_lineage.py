"""What operations say beside tables: models, runs, files, lines of code."""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
import tempfile
import types
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from headrace.catalog import Access, Operation
from headrace.engine import models, reads_of_run

if TYPE_CHECKING:
    from headrace.workspace import Workspace

START = datetime(2026, 1, 1, tzinfo=UTC)


def reads(workspace: Workspace) -> list[tuple[str, str]]:
    return [(each.kind, each.name) for each in workspace.lineage.operations(limit=1)[0].reads]


def test_the_line_that_ran_it_is_recorded(workspace: Workspace, spark: SparkSession) -> None:
    frame = inspect.currentframe()
    assert frame is not None
    spark.range(3).write.saveAsTable("gold.t")
    assert workspace.lineage.operations(limit=1)[0].source == f"{__file__}:{frame.f_lineno - 1}"


def test_models_inside_python_functions(workspace: Workspace, spark: SparkSession) -> None:
    uri = "models:/wear/3"

    def predict(x: pd.Series) -> pd.Series:
        return x + len(uri)

    def rows(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            yield frame.assign(n=len("models:/m-0123456789abcdef"))

    spark.range(3).write.saveAsTable("gold.t")
    made = f.pandas_udf(predict, "long")
    spark.table("gold.t").select(made("id")).collect()
    assert reads(workspace) == [("table", "main.gold.t"), ("model", uri)]
    spark.table("gold.t").mapInPandas(rows, "id LONG, n LONG").collect()
    assert reads(workspace) == [
        ("table", "main.gold.t"),
        ("model", "models:/m-0123456789abcdef"),
    ]
    spark.udf.register("wear", made)
    spark.sql("SELECT wear(id) FROM gold.t").collect()
    assert reads(workspace) == [("table", "main.gold.t"), ("model", uri)]
    spark.table("gold.t").selectExpr("wear(id) AS w").collect()
    assert reads(workspace) == [("table", "main.gold.t"), ("model", uri)]


@pytest.mark.parametrize(
    ("pickled", "found"),
    [
        (b"\x8c\x0emodels:/wear/3\x94", ["models:/wear/3"]),
        (b"\x8c\x14models:/wear@champion\x94\x8c\x01x", ["models:/wear@champion"]),
        (b"models:/a/1\x94models:/a/1\x94models:/b/2\x00", ["models:/a/1", "models:/b/2"]),
        (b"no models here", []),
    ],
)
def test_model_uris(pickled: bytes, found: list[str]) -> None:
    assert models.uris(pickled) == found


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where MLflow looks for its copy of ``models:/wear@champion`` in this process."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    digest = hashlib.sha1(b"models:/wear@champion").hexdigest()
    return tmp_path / "scratch" / "mlflow" / digest / str(os.getpid())


class Client:
    """A registry whose alias ``champion`` of ``wear`` is at ``version``."""

    version = "7"
    home: Path

    def get_model_version_by_alias(self, name: str, alias: str) -> types.SimpleNamespace:
        assert (name, alias) == ("wear", "champion")
        return types.SimpleNamespace(version=self.version)

    def get_model_version_download_uri(self, name: str, version: str) -> str:
        assert name == "wear"
        return f"models:/m-{version}"

    def get_logged_model(self, model_id: str) -> types.SimpleNamespace:
        return types.SimpleNamespace(artifact_location=(self.home / model_id).as_uri())


def test_a_moved_alias_is_recorded_and_loaded_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept: Path
) -> None:
    """MLflow keeps a copy by the URI alone, which would be the model of the old version."""
    fake = types.SimpleNamespace(MlflowClient=Client, is_tracking_uri_set=lambda: True)
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.setattr(Client, "home", tmp_path, raising=False)
    for version in ("7", "8"):
        monkeypatch.setattr(Client, "version", version)
        (tmp_path / f"m-{version}" / "data").mkdir(parents=True)
        (tmp_path / f"m-{version}" / "MLmodel").write_text(version)
        assert models.named("models:/wear@champion") == f"models:/wear/{version}"
        models.keep("models:/wear@champion")
        assert (kept / "MLmodel").read_text() == version
        (kept / "data" / "written by MLflow").touch()
        assert not list((tmp_path / f"m-{version}" / "data").iterdir())
    assert models.named("models:/wear/3") == "models:/wear/3"


def test_a_copy_of_an_unknown_model_is_removed(kept: Path) -> None:
    kept.mkdir(parents=True)
    models.keep("models:/wear@champion")  # MLflow is not asked: it knows no store
    assert not kept.exists()


def test_operations_carry_the_active_run(
    workspace: Workspace, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = types.SimpleNamespace(info=types.SimpleNamespace(run_id="abc"))
    fake = types.SimpleNamespace(active_run=lambda: run)
    spark.range(3).write.saveAsTable("gold.t")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "mlflow", fake)
        spark.table("gold.t").collect()
        with workspace.engine.recording(run_id="given"):
            spark.table("gold.t").collect()
    spark.table("gold.t").collect()
    found = [each.run_id for each in workspace.lineage.operations(kind="read")]
    assert found == [None, "given", "abc"]


def operation(minute: int, run_id: str | None = None, *, writes: bool = False) -> Operation:
    moment = START + timedelta(minutes=minute)
    access = Access("table", f"main.gold.t{minute}", 0)
    return Operation(
        f"op{minute}", "write" if writes else "read", None, "s", run_id, moment, moment,
        reads=(access,), writes=(access,) if writes else (),
    )  # fmt: skip


def test_rows_collected_before_a_run_belong_to_it() -> None:
    """Runs: a from minute 3 to 5, b from minute 8."""
    made = [
        operation(1),
        operation(2, writes=True),
        operation(4, "a"),
        operation(6),
        operation(7, writes=True),
        operation(9, "b"),
        operation(10),
    ]

    def names(run_id: str, started: int, ended: int | None) -> list[str]:
        since = None if ended is None else START + timedelta(minutes=ended)
        found = reads_of_run(made, run_id, START + timedelta(minutes=started), since)
        return [each.id for each in found]

    assert names("a", 3, None) == ["op1", "op4"]
    assert names("b", 8, 5) == ["op6", "op9"]


def test_reads_of_several_actions_are_merged(workspace: Workspace, spark: SparkSession) -> None:
    spark.range(3).selectExpr("id", "id AS a", "id AS b").write.saveAsTable("gold.t")
    with workspace.engine.recording(persist=False) as recording:
        spark.table("gold.t").select("a").collect()
        spark.table("gold.t").select("b").collect()
    assert [each.columns for each in recording.reads] == [("a", "b")]
    assert len(recording.operations) == 2


def test_an_abandoned_iterator_records_nothing(workspace: Workspace, spark: SparkSession) -> None:
    spark.range(100_000).write.saveAsTable("gold.t")
    rows = spark.table("gold.t").toLocalIterator()
    next(rows)
    rows.close()
    assert workspace.lineage.operations(kind="read") == []


def test_rows_from_the_driver(workspace: Workspace, spark: SparkSession) -> None:
    frame = pd.DataFrame({"id": range(50_000), "text": "x" * 100})
    spark.createDataFrame(frame).write.saveAsTable("gold.t")
    assert workspace.lineage.operations(limit=1)[0].reads == ()
    assert spark.table("gold.t").count() == 50_000


def test_arguments_and_given_frames(workspace: Workspace, spark: SparkSession) -> None:
    spark.range(5).write.saveAsTable("gold.t")
    spark.range(3).write.saveAsTable("gold.u")
    named = spark.sql("SELECT id FROM gold.t WHERE id > :low", args={"low": 2})
    assert named.count() == 2
    assert spark.sql("SELECT id FROM gold.t WHERE id > ?", args=[3]).count() == 1
    u = spark.table("gold.u")
    both = spark.sql("SELECT t.id FROM gold.t JOIN {u} AS u ON t.id = u.id", u=u)
    assert both.count() == 3
    assert sorted(reads(workspace)) == [("table", "main.gold.t"), ("table", "main.gold.u")]
    spark.sql("INSERT INTO gold.u SELECT id FROM gold.t WHERE id = :id", args={"id": 4})
    assert sorted(row.id for row in u.collect()) == [0, 1, 2, 4]
