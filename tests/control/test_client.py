"""The unmodified MLflow client over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from headrace.catalog import guards
from headrace.endpoints.records import model_directory
from headrace.registry import resolve

if TYPE_CHECKING:
    from .conftest import Running


@pytest.fixture
def client(plane: Running, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", plane.token)
    return MlflowClient(plane.url, plane.url)


def test_runs_are_tracked_with_their_artifacts(
    client: MlflowClient, plane: Running, tmp_path: Path
) -> None:
    experiment = client.create_experiment("over http")
    run = client.create_run(experiment)
    client.log_metric(run.info.run_id, "loss", 0.5, step=3)
    client.log_param(run.info.run_id, "depth", 4)
    client.set_tag(run.info.run_id, "who", "ann")
    (tmp_path / "notes.txt").write_text("kept by the project")
    client.log_artifact(run.info.run_id, str(tmp_path / "notes.txt"), "notes")
    client.set_terminated(run.info.run_id)
    found = client.get_run(run.info.run_id)
    assert (found.data.metrics, found.data.params["depth"]) == ({"loss": 0.5}, "4")
    assert [each.path for each in client.list_artifacts(run.info.run_id)] == ["notes"]
    back = client.download_artifacts(run.info.run_id, "notes/notes.txt", str(tmp_path))
    assert Path(back).read_text() == "kept by the project"
    kept = plane.project.workspace.paths.artifacts.rglob("notes.txt")
    assert [path.read_text() for path in kept] == ["kept by the project"]
    searched = client.search_runs([experiment], "metrics.loss < 1")
    assert [each.info.run_id for each in searched] == [run.info.run_id]


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of MLflow's own affairs
def test_a_model_is_logged_registered_and_loaded(
    client: MlflowClient, plane: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from sklearn.linear_model import LinearRegression

    mlflow.set_tracking_uri(plane.url)
    mlflow.set_registry_uri(plane.url)
    try:
        mlflow.set_experiment("models over http")
        model = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
        logged = mlflow.sklearn.log_model(
            model, name="line", pip_requirements=["scikit-learn"], registered_model_name="line"
        )
        client.set_registered_model_alias("line", "staging", "1")
        loaded = mlflow.sklearn.load_model("models:/line@staging")
        assert loaded.predict([[3.0]]).tolist() == pytest.approx([6.0])
    finally:
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
    (tmp_path / "MLmodel").write_text("another")
    uri = client.get_logged_model(logged.model_id).artifact_location
    with pytest.raises(requests.HTTPError, match="stay as they are"):
        get_artifact_repository(uri, tracking_uri=plane.url).log_artifact(str(tmp_path / "MLmodel"))


def test_a_protected_alias_is_refused_with_the_sentence_and_audited(
    client: MlflowClient, plane: Running
) -> None:
    before = len(plane.audited())
    with pytest.raises(MlflowException) as raised:
        client.set_registered_model_alias("failure", "production", "2")
    assert guards.MOVES in str(raised.value)
    assert raised.value.error_code == "PERMISSION_DENIED"
    with pytest.raises(MlflowException, match="moves only with its evidence"):
        client.delete_registered_model_alias("failure", "production")
    assert client.get_model_version_by_alias("failure", "production").version in ("1", 1)
    fresh = plane.audited()[: len(plane.audited()) - before]
    assert [(each.object, each.outcome) for each in fresh] == [
        ("failure@production", "refused"),
        ("failure@production", "refused"),
    ]
    assert fresh[1].details["asked"]["version"] == "2"
    assert fresh[1].details["client"] == "127.0.0.1"
    assert "mlflow" in fresh[1].details["agent"].lower()


@pytest.mark.filterwarnings(
    "ignore:``mlflow.tracking.client.MlflowClient.transition_model_version_stage``:FutureWarning"
)
def test_every_other_way_is_refused_too(client: MlflowClient, plane: Running) -> None:
    attempts: tuple[tuple[str, Callable[[], Any]], ...] = (
        (guards.HOLDS, lambda: client.delete_model_version("failure", "1")),
        (guards.HOLDS, lambda: client.rename_registered_model("failure", "other")),
        (guards.MOVES, lambda: client.delete_registered_model("failure")),
        (
            guards.STAGES,
            lambda: client.transition_model_version_stage("failure", "2", "Production"),
        ),
        (
            guards.TAGS,
            lambda: client.set_model_version_tag("failure", "2", "headrace.verdict", "promoted"),
        ),
        (
            guards.TAGS,
            lambda: client.delete_model_version_tag("failure", "1", "headrace.evidence"),
        ),
        (
            guards.TAGS,
            lambda: client.create_model_version(
                "failure", "models:/m-" + "0" * 32, tags={"headrace.evidence": "0" * 64}
            ),
        ),
    )
    for sentence, attempt in attempts:
        before = len(plane.audited())
        with pytest.raises(MlflowException) as raised:
            attempt()
        assert sentence in str(raised.value)
        assert raised.value.error_code == "PERMISSION_DENIED"
        assert len(plane.audited()) == before + 1


def test_artifacts_stay_inside_the_project(client: MlflowClient, plane: Running) -> None:
    with pytest.raises(MlflowException, match="Leave artifact_location out"):
        client.create_experiment("elsewhere", artifact_location="file:///etc")
    twice = json.dumps({"name": "elsewhere", "artifact_location": "file:///etc"})
    found = plane.ask("POST", "/api/2.0/mlflow/experiments/create", twice)
    assert (found.status, "Leave artifact_location out" in found.json["message"]) == (400, True)


@pytest.mark.parametrize(
    ("method", "template"),
    [
        ("PUT", "{0}/models/{1}/artifacts/MLmodel"),
        ("PUT", "{0}/models/%256d{2}/artifacts/MLmodel"),
        ("PUT", "{0}/models/m%252525252d{3}/artifacts/MLmodel"),
        ("DELETE", "{0}/models/{1}/artifacts/MLmodel"),
        ("DELETE", "{0}/models/{1}"),
        ("DELETE", "{0}/models"),
        ("DELETE", "{0}/models/"),
        ("DELETE", "{0}"),
        ("DELETE", "{0}%252fmodels"),
        ("DELETE", "."),
    ],
)
def test_files_of_a_version_stay_however_they_are_named(
    plane: Running, method: str, template: str
) -> None:
    workspace = plane.project.workspace
    model_id = resolve(workspace, "failure/1").model_id
    home = model_directory(workspace.store, model_id)
    assert home is not None
    experiment = home.relative_to(workspace.paths.artifacts).parts[0]
    path = template.format(experiment, model_id, model_id[1:], model_id[2:])
    before = len(plane.audited())
    found = plane.ask(method, f"/api/2.0/mlflow-artifacts/artifacts/{path}", b"other")
    assert (found.status, "stay as they are" in found.json["message"]) == (403, True)
    assert (home / "MLmodel").read_text() == "number: 1\n"
    assert len(plane.audited()) == before + 1


def test_the_wrong_token_is_no_token(plane: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "wrong")
    with pytest.raises(MlflowException, match="not the project's"):
        MlflowClient(plane.url).search_experiments()
