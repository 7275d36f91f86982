"""Predictions traced back through a real run of everything: files, tables, training, scoring."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from headrace import clock, lakehouse
from headrace.catalog import TableNotFoundError
from headrace.ids import new_id
from headrace.promotion import take_away
from headrace.requestlog.spool import SpoolWriter
from headrace.requestlog.tables import request_rows
from headrace.scoring import score
from headrace.trace import Trace, trace_prediction, trace_row
from headrace.trace.errors import (
    InvalidKeyError,
    NoLineageError,
    PredictionNotFoundError,
    RowNotFoundError,
)
from headrace.trace.row import NotATableError

from .conftest import MLFLOW_WARNINGS, Loop

pytestmark = [*MLFLOW_WARNINGS, pytest.mark.slow]

KEY = "device_id=5,window_end=2026-01-02T10:00:00Z"


def titles(trace: Trace, kind: Any, branch: Any = None) -> list[str]:
    return [node.title for node in trace.of_kind(kind, branch)]


def names(group: Any) -> dict[str, int | None]:
    """File names of a node of kind ``files``, with the rows counted."""
    return {Path(file["path"]).name: file.get("rows") for file in group.facts["files"]}


@pytest.fixture
def log_requests(loop: Loop) -> Callable[..., list[str]]:
    """``log_requests(inputs, ...)`` writes answered requests to the endpoint's log; their ids."""

    def log(*requests: dict[str, Any], at: str | None = None) -> list[str]:
        ids = [new_id("pred") for _ in requests]
        record = {
            "request_id": new_id("req"),
            "endpoint": "failure",
            "deployment": "dep_1",
            "colour": "green",
            "model_name": "failure",
            "model_version": 1,
            "model_id": loop.scoring.model_id,
            "latency_ms": 1.5,
            "status": 200,
            "params": None,
            "at": at or clock.iso(clock.now()),
            "rows": [
                {
                    "id": prediction_id,
                    "key": "5",
                    "request": json.dumps(inputs),
                    "prediction": json.dumps({"score": 0.5, "label": 0}),
                    "score": 0.5,
                }
                for prediction_id, inputs in zip(ids, requests, strict=True)
            ],
        }
        entry = loop.workspace.catalog.create_table("ops.failure_requests")
        lakehouse.write(str(entry.location), request_rows([record]))
        return ids

    return log


def feature_row(loop: Loop) -> dict[str, Any]:
    """The inputs of one feature row as a client sends them: key and features."""
    location = str(loop.workspace.catalog.resolve("gold.features").location)
    row = lakehouse.read(
        location, filter="device_id = 5 AND window_end = '2026-01-02T10:00:00Z'"
    ).to_pylist()[0]
    columns = ("device_id", "temperature_mean", "temperature_max")
    return {name: row[name] for name in columns} | {"window_end": "2026-01-02T10:00:00+00:00"}


def test_a_row_leads_to_its_model_and_to_both_branches_of_data(loop: Loop) -> None:
    trace = trace_row(loop.workspace, "gold.predictions", KEY)

    root = trace.node(trace.root)
    assert root.facts["key"] == {"device_id": 5, "window_end": "2026-01-02T10:00:00.000Z"}
    assert set(root.facts["values"]) == {"score", "label"}
    assert root.facts["scoring_run"] == loop.scoring.id
    assert titles(trace, "model") == ["failure/1"]
    assert titles(trace, "run") == [f"run {loop.run_id}"]
    assert titles(trace, "code") == ["code training/failure.py:train"]
    assert len(trace.of_kind("environment")) == 1
    # Pinning the version that was trained on made version 1, of the same rows.
    for branch, version in (("training", 0), ("scoring", 1)):
        assert titles(trace, "table", branch) == [
            f"main.gold.features@{version}",
            "main.silver.telemetry@2",
        ]
    assert [relation for relation, _ in trace.causes(trace.root)] == ["scored by", "scored on"]
    run = trace.of_kind("run")[0]
    assert [relation for relation, _ in trace.causes(run.id)] == ["ran", "in", "trained on"]


def test_the_raw_files_are_narrowed_to_the_device_and_the_lookback(loop: Loop) -> None:
    trace = trace_row(loop.workspace, "gold.predictions", KEY)

    telemetry, devices = trace.of_kind("files", "scoring")
    assert names(telemetry) == {"day-1-gateway-1.parquet": 6}
    assert telemetry.facts["left_out"] == 5
    assert names(devices) == {"devices.csv": 1}
    [file] = telemetry.facts["files"]
    content = (loop.root / file["path"]).read_bytes()
    assert file["size"] == len(content)
    assert file["sha256"] == hashlib.sha256(content).hexdigest()
    assert file["status"] == "unchanged"
    frame = pd.read_parquet(loop.root / file["path"])
    end = pd.Timestamp("2026-01-02T10:00", tz="UTC")
    inside = frame[
        (frame.device_id == 5) & (frame.ts <= end) & (frame.ts > end - timedelta(hours=1))
    ]
    assert len(inside) == 6
    assert {Path(f["path"]).name for f in trace.raw_files} == {*names(telemetry), "devices.csv"}

    learned, _ = trace.of_kind("files", "training")
    assert (learned.facts["count"], learned.facts["narrowed"]) == (6, False)
    assert learned.facts["how"] == "not narrowed: the model learned from all of them"


def test_a_raw_file_that_changed_or_went_is_told(loop: Loop) -> None:
    path = loop.root / "raw" / "telemetry" / "day-1-gateway-1.parquet"
    content = path.read_bytes()
    try:
        path.write_bytes(content + b"\0")
        changed = trace_row(loop.workspace, "gold.predictions", KEY)
        path.unlink()
        gone = trace_row(loop.workspace, "gold.predictions", KEY)
    finally:
        path.write_bytes(content)
    for trace, state in ((changed, "changed since"), (gone, "gone")):
        files = {Path(file["path"]).name: file for file in trace.raw_files}
        assert files["day-1-gateway-1.parquet"]["status"] == state
        assert trace.of_kind("files", "training")[0].facts["status"] == {"unchanged": 5, state: 1}


def test_a_later_scoring_leaves_a_row_its_own_input_version(loop: Loop) -> None:
    spark = loop.workspace.spark()
    spec = loop.spec.model_copy(update={"table": "gold.later", "input": "gold.latest"})
    rows = spark.table("gold.features").filter("device_id < 6")
    rows.write.saveAsTable("gold.latest")
    score(loop.workspace, spec)
    spark.table("gold.features").filter("device_id >= 6").write.mode("append").saveAsTable(
        "gold.latest"
    )
    assert score(loop.workspace, spec).mode == "append"

    early = trace_row(loop.workspace, "gold.later", KEY)
    late = trace_row(loop.workspace, "gold.later", KEY.replace("=5", "=8"))

    assert titles(early, "table", "scoring")[0] == "main.gold.latest@0"
    assert titles(late, "table", "scoring")[0] == "main.gold.latest@1"
    assert names(late.of_kind("files", "scoring")[0]) == {"day-1-gateway-0.parquet": 6}


def test_a_row_of_any_table_leads_to_its_sources(loop: Loop) -> None:
    trace = trace_row(loop.workspace, "gold.features", KEY)
    assert trace.of_kind("model") == []
    assert titles(trace, "table") == ["main.gold.features@1", "main.silver.telemetry@2"]
    telemetry = trace.of_kind("files")[0]
    # How far a feature looks back is not recorded of a table: everything up to its time counts.
    assert names(telemetry) == {"day-0-gateway-1.parquet": 144, "day-1-gateway-1.parquet": 61}


def test_a_table_made_of_predictions_leads_to_their_model(loop: Loop) -> None:
    alerts = loop.workspace.spark().table("gold.predictions").filter("score > 0.5")
    alerts.select("device_id", "window_end", "score").write.saveAsTable("gold.alerts")
    trace = trace_row(loop.workspace, "gold.alerts", KEY)
    assert titles(trace, "table", "scoring") == [
        "main.gold.alerts@0",
        "main.gold.predictions@0",
        "main.gold.features@1",
        "main.silver.telemetry@2",
    ]
    assert titles(trace, "model") == ["failure/1"]
    assert titles(trace, "table", "training")[0] == "main.gold.features@0"


@pytest.mark.filterwarnings("ignore")  # of MLflow's spark_udf, which is not ours to mend
def test_a_table_scored_by_hand_leads_to_its_model(loop: Loop) -> None:
    """``spark_udf`` in a notebook: the model is found in the plan."""
    import mlflow
    from pyspark.sql import functions as f

    spark = loop.workspace.spark()
    mlflow.set_tracking_uri(loop.workspace.tracking_uri)
    predict = mlflow.pyfunc.spark_udf(
        spark, "models:/failure/1", "score double, label long", env_manager="local"
    )
    # In several parts, which load the model at the same time.
    rows = (
        spark.table("gold.features")
        .repartition(8)
        .withColumn("prediction", predict(f.struct("temperature_mean", "temperature_max")))
    )
    rows.select("device_id", "window_end", "prediction.score").write.saveAsTable("gold.by_hand")

    trace = trace_row(loop.workspace, "gold.by_hand", KEY)

    assert titles(trace, "model") == ["failure/1"]
    assert titles(trace, "run") == [f"run {loop.run_id}"]
    assert titles(trace, "table", "scoring")[:2] == ["main.gold.by_hand@0", "main.gold.features@1"]
    by_hand = spark.table("gold.by_hand").orderBy("device_id", "window_end").toPandas()
    ours = spark.table("gold.predictions").orderBy("device_id", "window_end").toPandas()
    # Ours are the kernel's, within the tolerance that it was proven to.
    assert by_hand["score"].tolist() == pytest.approx(ours["score"].tolist(), rel=1e-9, abs=1e-9)


def test_what_cannot_be_traced_says_why(loop: Loop) -> None:
    workspace = loop.workspace
    with pytest.raises(TableNotFoundError, match=r'did you mean "gold\.predictions"'):
        trace_row(workspace, "gold.prediction", KEY)
    with pytest.raises(InvalidKeyError, match='did you mean "device_id"'):
        trace_row(workspace, "gold.predictions", "device=5")
    with pytest.raises(InvalidKeyError, match="it is a table"):
        trace_prediction(workspace, "gold.predictions")
    with pytest.raises(PredictionNotFoundError):
        trace_prediction(workspace, "no name; at all")
    with pytest.raises(RowNotFoundError, match="No row device_id=99"):
        trace_row(workspace, "gold.predictions", {"device_id": 99})
    workspace.catalog.create_view("gold.view", "SELECT * FROM gold.features")
    with pytest.raises(NotATableError, match=r"gold\.view is a view"):
        trace_row(workspace, "gold.view", KEY)
    bare = workspace.catalog.create_table("gold.bare")
    lakehouse.write(str(bare.location), pd.DataFrame({"id": [1]}).pipe(_arrow))
    with pytest.raises(NoLineageError, match=r"how main\.gold\.bare was written"):
        trace_row(workspace, "gold.bare", "id=1")


def _arrow(frame: pd.DataFrame) -> Any:
    import pyarrow as pa

    return pa.Table.from_pandas(frame, preserve_index=False)


def test_an_answer_that_equals_a_feature_row_leads_to_its_raw_files(
    loop: Loop, log_requests: Callable[..., list[str]]
) -> None:
    [prediction] = log_requests(feature_row(loop))
    trace = trace_prediction(loop.workspace, prediction)

    assert trace.node(trace.root).facts["score"] == 0.5
    assert titles(trace, "deployment") == ["deployment dep_1 (green)"]
    assert titles(trace, "model") == ["failure/1"]
    [request] = trace.of_kind("request")
    assert request.facts["match"] == "equals the row of main.gold.latest@1"
    assert names(trace.of_kind("files", "scoring")[0]) == {"day-1-gateway-1.parquet": 6}
    assert titles(trace, "table", "training") == [
        "main.gold.features@0",
        "main.silver.telemetry@2",
    ]


def test_an_answer_to_other_inputs_says_where_they_differ(
    loop: Loop, log_requests: Callable[..., list[str]]
) -> None:
    row = feature_row(loop)
    differs, unknown, keyless = log_requests(
        row | {"temperature_max": 99.0},
        row | {"device_id": 99},
        {"temperature_mean": 1.0, "temperature_max": 2.0},
    )
    texts = [
        trace_prediction(loop.workspace, each).of_kind("request")[0].facts["match"]
        for each in (differs, unknown, keyless)
    ]
    assert texts == [
        "differs from the row of main.gold.latest@1 in temperature_max",
        "main.gold.latest@1 holds no rows device_id=99,window_end=2026-01-02T10:00:00.000Z; "
        "main.gold.features@1 holds no rows device_id=99,window_end=2026-01-02T10:00:00.000Z",
        "the request holds no device_id, window_end, the key of a feature row",
    ]
    trace = trace_prediction(loop.workspace, keyless)
    assert trace.of_kind("files", "scoring") == []
    assert len(trace.raw_files) == 7  # what the model was trained on


def test_an_answer_that_is_not_in_its_log_yet_is_traced(loop: Loop) -> None:
    prediction, other = new_id("pred"), new_id("pred")
    record = {
        "kind": "served",
        "request_id": new_id("req"),
        "at": "2026-01-02T10:00:00+00:00",
        "endpoint": "waiting",
        "deployment": "dep_2",
        "colour": "blue",
        "model_name": "failure",
        "model_version": 1,
        "model_id": "m-1",
        "latency_ms": 1.5,
        "status": 200,
        "params": None,
        "rows": [
            {"id": other, "key": None, "request": "{}", "prediction": "{}", "score": 0.1},
            {
                "id": prediction,
                "key": None,
                "request": json.dumps({"temperature_mean": 1.0}),
                "prediction": json.dumps({"score": 0.7}),
                "score": 0.7,
            },
        ],
    }
    with SpoolWriter(loop.workspace.paths.spool) as spool:
        spool.append(record)
        trace = trace_prediction(loop.workspace, prediction)
    root = trace.node(trace.root)
    assert (root.facts["score"], root.facts["log"]) == (0.7, "spool")
    assert titles(trace, "deployment") == ["deployment dep_2 (blue)"]
    assert titles(trace, "model") == ["failure/1"]


def test_an_answer_that_is_nowhere_says_so(
    loop: Loop, log_requests: Callable[..., list[str]]
) -> None:
    log_requests(feature_row(loop))
    with pytest.raises(PredictionNotFoundError, match=r"main\.ops\.failure_requests"):
        trace_prediction(loop.workspace, new_id("pred"))


def test_a_deleted_version_still_traces_its_data(loop: Loop) -> None:
    """Last in the module: the version is gone afterwards."""
    take_away(loop.workspace, "failure", reason="a test")
    loop.workspace.mlflow().delete_model_version("failure", "1")
    trace = trace_row(loop.workspace, "gold.predictions", KEY)
    assert titles(trace, "model") == ["failure/1, deleted"]
    # The row itself names the run.
    assert titles(trace, "run") == [f"run {loop.run_id}"]
    assert titles(trace, "table", "training")[0] == "main.gold.features@0"
    assert titles(trace, "table", "scoring") == ["main.gold.features@1", "main.silver.telemetry@2"]
