"""Events of recorded operations, through the real client and its file transport."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from openlineage.client.event_v2 import InputDataset, OutputDataset, RunState
from openlineage.client.facet_v2 import (
    dataset_version_dataset,
    lifecycle_state_change_dataset,
    schema_dataset,
)
from openlineage.client.serde import Serde

from headrace.catalog import Access, ColumnFlow, Lineage, Operation, Store, openlineage
from headrace.ids import new_id
from headrace.workspace import open_workspace


@pytest.fixture(autouse=True)
def unconfigured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No configuration of the machine reaches a test, and none that the client makes stays."""
    for name in [name for name in os.environ if name.startswith("OPENLINEAGE")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    yield
    for name in [name for name in os.environ if name.startswith("OPENLINEAGE")]:
        del os.environ[name]


@pytest.fixture
def log_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The client's file transport, set by its own environment variables."""
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__TYPE", "file")
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__LOG_FILE_PATH", str(path))
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__APPEND", "true")
    return path


def scoring(**changes: Any) -> Operation:
    values: dict[str, Any] = {
        "id": new_id("op"),
        "kind": "score",
        "subject": "main.gold.predictions",
        "session_id": "session_1",
        "run_id": "run1",
        "started_at": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "finished_at": datetime(2026, 1, 31, 12, 1, tzinfo=UTC),
        "reads": (
            Access("table", "main.gold.features", 7, ("id", "a"), "/w/main/gold/features"),
            Access("path", "/data/raw"),
            Access("path", "s3://bucket/raw/day"),
            Access("model", "models:/m-1"),
        ),
        "writes": (Access("table", "main.gold.predictions", 3, None, "/w/main/gold/predictions"),),
        "mode": "overwrite",
    }
    return Operation(**(values | changes))


def test_an_operation_is_a_start_and_a_complete_of_one_run() -> None:
    operation = scoring()
    start, complete = openlineage.events(operation, "headrace.demo")
    again = openlineage.events(operation, "headrace.demo")

    assert (start.eventType, complete.eventType) == (RunState.START, RunState.COMPLETE)
    assert start.run.runId == complete.run.runId == again[0].run.runId
    assert openlineage.events(scoring(), "x")[0].run.runId != start.run.runId
    assert (start.job.namespace, start.job.name) == (
        "headrace.demo",
        "score.main.gold.predictions",
    )
    assert (start.eventTime, complete.eventTime) == (
        "2026-01-31T12:00:00.000Z",
        "2026-01-31T12:01:00.000Z",
    )
    assert start.outputs == []


def test_datasets_carry_their_names_versions_and_columns() -> None:
    complete = openlineage.events(scoring(), "headrace.demo")[1]
    inputs, outputs = complete.inputs or [], complete.outputs or []
    assert all(isinstance(each, InputDataset) for each in inputs)
    assert all(isinstance(each, OutputDataset) for each in outputs)
    assert [(each.namespace, each.name) for each in inputs] == [
        ("file", "/w/main/gold/features"),
        ("file", "/data/raw"),
        ("s3://bucket", "raw/day"),
        ("mlflow", "models:/m-1"),
    ]
    table = inputs[0].facets or {}
    version, schema = table["version"], table["schema"]
    assert isinstance(version, dataset_version_dataset.DatasetVersionDatasetFacet)
    assert version.datasetVersion == "7"
    assert isinstance(schema, schema_dataset.SchemaDatasetFacet)
    assert [field.name for field in schema.fields or []] == ["id", "a"]
    assert "version" not in (inputs[1].facets or {})
    written = outputs[0].facets or {}
    change = written["lifecycleStateChange"]
    assert isinstance(change, lifecycle_state_change_dataset.LifecycleStateChangeDatasetFacet)
    assert change.lifecycleStateChange.value == "OVERWRITE"


def test_written_columns_carry_what_they_came_from() -> None:
    flows = (
        ColumnFlow(None, 0, None, "direct"),
        ColumnFlow(None, 0, "id", "indirect"),
        ColumnFlow("score", 0, "a", "direct"),
        ColumnFlow("score", 0, "id", "indirect"),
        ColumnFlow("score", 3, None, "direct"),
        ColumnFlow("label", 0, None, "unknown"),
    )
    complete = openlineage.events(scoring(flows=flows), "headrace.demo")[1]
    sent = json.loads(Serde.to_json(complete))["outputs"][0]["facets"]["columnLineage"]
    assert sent["_schemaURL"].endswith("/1-2-0/ColumnLineageDatasetFacet.json" + _FACET)
    assert {
        column: [(each["name"], each["field"], _kinds(each)) for each in found["inputFields"]]
        for column, found in sent["fields"].items()
    } == {
        "score": [
            ("/w/main/gold/features", "a", ["DIRECT"]),
            ("/w/main/gold/features", "id", ["INDIRECT"]),
        ],
        "label": [
            ("/w/main/gold/features", "id", ["DIRECT"]),
            ("/w/main/gold/features", "a", ["DIRECT"]),
        ],
    }
    assert [(each["namespace"], each["field"], _kinds(each)) for each in sent["dataset"]] == [
        ("file", "id", ["INDIRECT"])
    ]
    assert "columnLineage" not in (openlineage.events(scoring(), "x")[1].outputs or [])[0].facets


_FACET = "#/$defs/ColumnLineageDatasetFacet"


def _kinds(field: dict[str, Any]) -> list[str]:
    return [each["type"] for each in field["transformations"]]


def test_recorded_operations_reach_the_configured_transport(tmp_path: Path, log_file: Path) -> None:
    project = tmp_path / "demo"
    project.mkdir()
    (project / "headrace.yaml").write_text("name: demo\n")
    workspace = open_workspace(project)
    first, second = scoring(), scoring(kind="write", subject=None, mode="append")
    workspace.lineage.record(first)
    workspace.lineage.record(second)
    workspace.lineage.record(first)  # known already
    workspace.close()

    sent = [json.loads(line) for line in log_file.read_text().splitlines()]

    assert [(event["eventType"], event["job"]["name"]) for event in sent] == [
        ("START", "score.main.gold.predictions"),
        ("COMPLETE", "score.main.gold.predictions"),
        ("START", "write.main.gold.predictions"),
        ("COMPLETE", "write.main.gold.predictions"),
    ]
    assert {event["job"]["namespace"] for event in sent} == {"headrace.demo"}
    version = sent[1]["outputs"][0]["facets"]["version"]
    assert version["datasetVersion"] == "3"
    assert "DatasetVersionDatasetFacet" in version["_schemaURL"]
    symlink = sent[1]["inputs"][0]["facets"]["symlinks"]["identifiers"][0]
    assert symlink == {"namespace": "headrace.demo", "name": "main.gold.features", "type": "TABLE"}
    tags = {tag["key"]: tag["value"] for tag in sent[1]["run"]["facets"]["tags"]["tags"]}
    assert tags["headrace.operation"] == first.id
    assert tags["mlflow.run_id"] == "run1"


@pytest.mark.parametrize(
    "environment",
    [
        # Nobody listens on port 9 (discard) of this machine.
        {
            "OPENLINEAGE__TRANSPORT__TYPE": "http",
            "OPENLINEAGE__TRANSPORT__URL": "http://127.0.0.1:9",
            "OPENLINEAGE__TRANSPORT__RETRY__TOTAL": "0",
        },
        {"OPENLINEAGE__TRANSPORT__TYPE": "file"},
        {"OPENLINEAGE__TRANSPORT__TYPE": "nonsense"},
    ],
    ids=["nobody listens", "no file named", "no such transport"],
)
def test_a_failure_is_logged_and_the_operation_recorded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    environment: dict[str, str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert openlineage.configured()
    store = Store.open(f"sqlite:///{tmp_path / 'lineage.db'}")
    lineage, emitter = Lineage(store), openlineage.Emitter("headrace.test")
    lineage.subscribe(emitter)
    operation = scoring()
    with caplog.at_level(logging.WARNING):
        lineage.record(operation)
        emitter.close(timeout=60)
    assert lineage.operation(operation.id) == operation
    assert "OpenLineage" in caplog.text
    store.close()


def test_nothing_is_sent_unless_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not openlineage.configured()
    (tmp_path / "openlineage.yml").write_text("transport:\n  type: noop\n")
    assert openlineage.configured()
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "True")
    assert not openlineage.configured()
    monkeypatch.delenv("OPENLINEAGE_DISABLED")
    (tmp_path / "openlineage.yml").unlink()
    monkeypatch.setenv("OPENLINEAGE_URL", "http://127.0.0.1:9")
    assert openlineage.configured()


def test_a_listener_hears_an_operation_once_it_is_recorded(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'lineage.db'}")
    lineage = Lineage(store)
    heard: list[tuple[str, bool]] = []
    lineage.subscribe(lambda op: heard.append((op.id, lineage.operation(op.id) is not None)))
    operation = scoring()
    lineage.record(operation)
    lineage.record(operation)
    assert heard == [(operation.id, True)]
    store.close()
