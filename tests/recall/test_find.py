"""Models, endpoints and predictions that a raw file reached, on a project in which all has run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from sqlalchemy import insert, select, update
from tests.requestlog.records import served
from tests.trace.conftest import MLFLOW_WARNINGS

from headrace.endpoints import EndpointSpec, deploy, shift
from headrace.endpoints.rollout import mark_ready
from headrace.endpoints.store import deployments as deployed
from headrace.ids import new_id
from headrace.promotion.store import verdicts
from headrace.recall import Recall, apply, find, parse, undo
from headrace.registry import resolve
from headrace.requestlog.shipper import Shipper
from headrace.requestlog.spool import SpoolWriter
from headrace.scoring import score

if TYPE_CHECKING:
    from tests.trace.conftest import Loop

pytestmark = MLFLOW_WARNINGS

RAW = "raw/telemetry/day-1-gateway-0.parquet"


@pytest.fixture(scope="module")
def answered(loop: Loop) -> Loop:
    """Two requests in the log, one in the spool, by a deployment that has all the traffic."""
    workspace = loop.workspace
    spec = EndpointSpec(name="failure", model="failure/1", key=["device_id"])
    version = resolve(workspace, "failure/1")
    deployment = deploy(workspace, spec, version)
    mark_ready(workspace.store, "failure", deployment.id)
    facts: dict[str, Any] = {
        "endpoint": "failure",
        "deployment": deployment.id,
        "model_name": "failure",
        "model_version": 1,
        "model_id": version.model_id,
    }
    shipper = Shipper(workspace.paths.spool, workspace.store, workspace.catalog)
    with SpoolWriter(workspace.paths.spool) as writer:
        writer.append(served(1, rows=2, **facts))
        writer.rotate()
        shipper.ship()
    with SpoolWriter(workspace.paths.spool) as writer:
        writer.append(served(2, rows=3, **facts, at="2026-02-28T12:00:00.000Z"))
    return loop


@pytest.fixture(scope="module")
def recall(answered: Loop) -> Recall:
    """Of one raw file."""
    return find(answered.workspace, str(answered.root / RAW))


def test_tables(recall: Recall) -> None:
    assert {each.name: str(each.versions[0]) for each in recall.tables} == {
        "main.silver.telemetry": "1-",
        "main.gold.features": "0-",
        "main.gold.predictions": "0-",
        "main.ops.failure_requests": "0-",
    }
    assert {each.kind for each in recall.tables} == {"table", "predictions", "request log"}
    assert {each.certainty for each in recall.tables} == {"certain"}


def test_a_file_of_a_later_append_is_not_in_the_earlier_version(answered: Loop) -> None:
    first = find(answered.workspace, str(answered.root / "raw/telemetry/day-2-gateway-1.parquet"))
    table = first.table("main.silver.telemetry")
    assert table is not None
    assert [str(each) for each in table.versions] == ["2-"]


def test_models(recall: Recall, answered: Loop) -> None:
    (model,) = recall.models
    assert (model.label, model.relation, model.run_id) == (
        "failure/1", "trained on", answered.run_id,
    )  # fmt: skip
    assert model.aliases == ("production",)
    assert model.pinned == ("main.gold.features@0",)
    assert [step.to for step in model.how] == [
        "main.silver.telemetry@1", "main.gold.features@0", f"run {answered.run_id}", "failure/1",
    ]  # fmt: skip


def test_answers_in_the_log_and_in_the_spool(recall: Recall) -> None:
    (each,) = recall.deployments
    assert (each.model, each.share, each.state) == ("failure/1", 100, "ready")
    assert (each.requests, each.rows, each.logged, each.waiting) == (2, 5, 2, 3)
    assert each.since is not None
    assert each.until is None
    assert each.first == datetime(2026, 1, 31, 12, 0, 0, 123000, tzinfo=UTC)
    assert each.last == datetime(2026, 2, 28, 12, tzinfo=UTC)
    assert recall.serving == (each,)
    assert recall.answers == 5


def test_batch_predictions(recall: Recall, answered: Loop) -> None:
    (each,) = recall.predictions
    assert (each.table, each.scorings, each.rows) == (
        "main.gold.predictions", 1, answered.scoring.scored,
    )  # fmt: skip
    assert each.because == ("input", "model")
    assert each.holds_now == "certain"


def test_the_holdout_and_who_was_judged_on_it(answered: Loop) -> None:
    workspace = answered.workspace
    found = find(workspace, str(answered.root / RAW))
    (holdout,) = found.holdouts
    assert (holdout.model, holdout.table, holdout.version) == ("failure", "main.gold.features", 0)
    row = {
        "id": new_id("verdict"), "model": "failure", "version": 7, "champion": 6,
        "alias": "production", "promoted": False, "state": "refused", "gate_digest": "-",
        "body": {"found": {"holdout_digest": holdout.digest}}, "judged_by": "someone",
        "judged_at": datetime.now(UTC),
    }  # fmt: skip
    with workspace.store.begin() as connection:
        connection.execute(insert(verdicts).values(**row))
    judged = {each.label: each.relation for each in find(workspace, found.origin).models}
    assert judged == {
        "failure/1": "trained on", "failure/6": "judged with", "failure/7": "judged with",
    }  # fmt: skip


def test_a_column_that_training_left_out_reaches_no_model(answered: Loop) -> None:
    sites = answered.root / "raw" / "devices.csv"
    by_site = find(answered.workspace, parse(answered.workspace, str(sites), columns=["site"]))
    assert by_site.table("main.gold.features") is not None
    assert not [each for each in by_site.models if each.relation == "trained on"]
    by_device = find(
        answered.workspace, parse(answered.workspace, str(sites), columns=["device_id"])
    )
    assert [each.label for each in by_device.models if each.relation == "trained on"] == [
        "failure/1"
    ]


def test_json_holds_all_of_it_as_plain_values(recall: Recall) -> None:
    body = json.loads(json.dumps(recall.as_json()))
    assert body["summary"]["serving_now"] == 1
    assert body["summary"]["answered_rows"] == 5
    assert body["origin"]["label"] == RAW
    assert body["consumers"] == []
    assert set(body) == {
        "version", "origin", "summary", "tables", "models", "deployments", "predictions",
        "holdouts", "collected", "consumers",
    }  # fmt: skip


def test_traffic_that_has_ended(answered: Loop) -> None:
    """The deployment goes to standby with no share; later it has all of it again."""
    workspace = answered.workspace
    with workspace.store.begin() as connection:
        row = dict(connection.execute(select(deployed)).mappings().one())
        row |= {"id": "dep_other", "colour": "green", "model_id": "m-other"}
        connection.execute(insert(deployed).values(**row | {"created_at": datetime.now(UTC)}))
    shift(workspace, "failure", {"green": 100}, "test")
    with workspace.store.begin() as connection:
        connection.execute(
            update(deployed).where(deployed.c.colour == "blue").values(state="standby")
        )
    (each,) = find(workspace, str(answered.root / RAW)).deployments
    assert each.share == 0
    assert each.until is not None
    assert each.since is not None
    assert each.since < each.until
    with workspace.store.begin() as connection:
        connection.execute(deployed.delete().where(deployed.c.id == "dep_other"))
        connection.execute(
            update(deployed).where(deployed.c.colour == "blue").values(state="ready")
        )
    shift(workspace, "failure", {"blue": 100}, "test")


def test_the_command(answered: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    from headrace.cli.recall import command

    monkeypatch.chdir(answered.root)
    shown = CliRunner().invoke(command, [RAW, "--all"])
    assert shown.exit_code == 0, shown.output
    lines = shown.output.splitlines()
    assert lines[1].strip().startswith("endpoint failure answers with failure/1 now")
    assert "5 predictions answered online" in lines[2]
    assert "failure/1 @production" in shown.output
    assert "How it came there" in shown.output
    told = CliRunner().invoke(command, [RAW, "--json"])
    assert json.loads(told.output)["summary"]["models"] >= 1
    assert CliRunner().invoke(command, []).exit_code == 2
    assert CliRunner().invoke(command, [RAW, "--list"]).exit_code == 2


def test_scoring_again_keeps_the_rows_that_did_not_change(
    answered: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a pipeline the tables are made again by hand; the recall scores and marks."""
    from headrace.cli.recall import command

    workspace, root = answered.workspace, answered.root
    (root / "headrace.yaml").write_text(
        "name: trace\npredictions:\n  gold.predictions: {model: failure/1, table: gold.features, "
        "key: [device_id, window_end]}\n"
    )
    monkeypatch.chdir(root)
    refused = CliRunner().invoke(command, [RAW, "--apply", "--reason", "test"], input="n\n")
    assert refused.exit_code == 1
    assert (root / RAW).exists()
    record = apply(workspace, str(root / RAW), reason="upside down", by="someone")
    steps = {(step.kind, step.name, step.state) for step in record.steps}
    assert ("score", "main.gold.predictions", "done") in steps
    assert ("mark", "failure/1", "done") in steps
    left = {name for kind, name, state in steps if (kind, state) == ("people", "left")}
    assert {"main.silver.telemetry", "main.gold.features", "main.gold.predictions"} <= left
    assert {"failure/1", "endpoint failure"} <= left
    assert resolve(workspace, "failure/1").tags["headrace.recalled"] == record.id
    listed = CliRunner().invoke(command, ["--list"])
    assert record.id in listed.output

    features = workspace.spark().table("gold.features")
    features.filter("device_id < 6").write.mode("overwrite").saveAsTable("gold.features")
    spec = answered.spec.model_copy(update={"model": "failure/1"})
    done = score(workspace, spec)
    assert done.scored == 0
    assert done.unchanged == answered.scoring.scored / 2

    assert CliRunner().invoke(command, ["--undo", record.id]).exit_code == 0
    assert (root / RAW).exists()
    assert "headrace.recalled" not in resolve(workspace, "failure/1").tags
    with pytest.raises(Exception, match="nothing to undo"):
        undo(workspace, record.id)
