from __future__ import annotations

from collections.abc import Callable

import mlflow
import pytest
from sklearn.dummy import DummyClassifier
from tests.modelling import ModelProject, feature_rows, put_alias

from headrace.registry import (
    AliasNotFoundError,
    InvalidReferenceError,
    ModelIdUnknownError,
    ModelNotFoundError,
    ModelVersion,
    ModelVersionNotFoundError,
    champion,
    register,
    resolve,
    version_of_run,
    versions,
)
from headrace.tracking import TrainedModel, train
from headrace.tracking.mlflow_store import on_store

MakeModels = Callable[..., ModelProject]


@pytest.fixture(scope="module")
def trained(models: ModelProject) -> TrainedModel:
    return train(models.workspace, models.spec(lookback="24h"))


@pytest.fixture(scope="module")
def registered(models: ModelProject, trained: TrainedModel) -> ModelVersion:
    version = register(models.workspace, models.spec(lookback="24h"), trained)
    put_alias(models.workspace, "failure", 1)
    return version


def test_a_version_names_its_evidence(
    models: ModelProject, trained: TrainedModel, registered: ModelVersion
) -> None:
    assert registered.model_id == trained.model_id
    assert registered.run_id == trained.run_id
    expected = {
        "headrace.table": "main.gold.features",
        "headrace.table_version": "0",
        "headrace.label": "fails",
        "headrace.task": "binary",
        "headrace.key": "device,at",
        "headrace.time": "at",
        "headrace.group": "device",
        "headrace.lookback": "86400s",
        "headrace.code_digest": trained.digests.code,
        "headrace.environment_digest": trained.digests.environment,
        "headrace.lock": "none",
        "headrace.spec_digest": trained.digests.spec,
        "headrace.holdout_digest": trained.holdout.digest,
        "headrace.holdout_rows": str(trained.holdout.rows),
        "headrace.holdout_rule": "last 0.25",
        "headrace.kernel": "onnx float64, within 1e-9",
    }
    assert dict(registered.tags) == expected
    seen = models.workspace.mlflow().get_model_version("failure", str(registered.version))
    decided = {"headrace.evidence", "headrace.override"}  # with the alias
    assert {name: seen.tags[name] for name in seen.tags.keys() - decided} == expected


def test_a_run_is_registered_once(
    models: ModelProject, trained: TrainedModel, registered: ModelVersion
) -> None:
    again = register(models.workspace, models.spec(lookback="24h"), trained)
    assert again.version == registered.version == 1
    assert len(versions(models.workspace, "failure")) == 1


@pytest.mark.parametrize(
    "reference",
    ["failure@production", "failure/1", "failure", "models:/failure/1", " failure@production "],
)
def test_a_reference_resolves_to_an_immutable_model(
    models: ModelProject, registered: ModelVersion, reference: str
) -> None:
    found = resolve(models.workspace, reference)
    assert (found.name, found.version) == ("failure", 1)
    assert found.model_uri == f"models:/{registered.model_id}"


def test_what_is_resolved_is_what_mlflow_loads(
    models: ModelProject, registered: ModelVersion
) -> None:
    with on_store(models.workspace):
        by_alias = mlflow.pyfunc.load_model("models:/failure@production")
        by_id = mlflow.pyfunc.load_model(resolve(models.workspace, "failure@production").model_uri)
    assert by_alias.metadata.model_id == by_id.metadata.model_id == registered.model_id


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("failure@producton", AliasNotFoundError, 'did you mean "production"'),
        ("failure@staging", AliasNotFoundError, "its aliases are production"),
        ("failure/9", ModelVersionNotFoundError, "its versions are 1"),
        ("failurex", ModelNotFoundError, 'did you mean "failure"'),
        ("elsewhere@production", ModelNotFoundError, "registered are: failure"),
        ("failure/one", InvalidReferenceError, "name@alias, name/3 or name"),
        ("failure@", InvalidReferenceError, "does not name"),
        ("", InvalidReferenceError, "does not name"),
    ],
)
def test_a_reference_that_leads_nowhere(
    models: ModelProject,
    registered: ModelVersion,
    reference: str,
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        resolve(models.workspace, reference)


def test_a_project_without_models(make_models: MakeModels) -> None:
    workspace = make_models(rows=feature_rows(60)).workspace
    assert champion(workspace, "failure") is None
    assert versions(workspace, "failure") == []
    assert version_of_run(workspace, "failure", "nothing") is None
    with pytest.raises(ModelNotFoundError, match="none yet"):
        resolve(workspace, "failure")


def test_a_deleted_version_is_gone(make_models: MakeModels) -> None:
    project = make_models(rows=feature_rows(400))
    spec = project.spec()
    made = train(project.workspace, spec)
    assert register(project.workspace, spec, made).version == 1
    project.workspace.mlflow().delete_model_version("failure", "1")
    with pytest.raises(ModelVersionNotFoundError):
        resolve(project.workspace, "failure/1")
    assert register(project.workspace, spec, made).version == 2


def test_files_that_can_change_are_no_version_to_serve(make_models: MakeModels) -> None:
    workspace = make_models(rows=feature_rows(60)).workspace
    client = workspace.mlflow()
    client.create_registered_model("loose")
    path = workspace.paths.artifacts / "loose"
    mlflow.sklearn.save_model(DummyClassifier().fit([[0]], [0]), path, pip_requirements=[])
    client.create_model_version("loose", path.as_uri())
    with pytest.raises(ModelIdUnknownError, match="registered from a path"):
        resolve(workspace, "loose")
