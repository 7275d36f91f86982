"""A trained model becomes a version whose tags name its evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.registry.versions import ModelVersion, version_of_run
from headrace.tracking.mlflow_store import on_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from headrace.tracking import TrainedModel, TrainingSpec
    from headrace.workspace import Workspace


def register(workspace: Workspace, spec: TrainingSpec, trained: TrainedModel) -> ModelVersion:
    """Register the model of a run; the same run again gives the same version.

    The version and its tags are one transaction of MLflow's, so a version without its evidence
    does not exist.
    """
    known = version_of_run(workspace, spec.name, trained.run_id)
    if known is not None:
        return known
    with on_store(workspace) as client:
        _create_model(client, spec.name)
        client.create_model_version(
            spec.name,
            source=trained.model_uri,
            run_id=trained.run_id,
            model_id=trained.model_id,
            tags=evidence(spec, trained),
            await_creation_for=0,
        )
    made = version_of_run(workspace, spec.name, trained.run_id)
    assert made is not None  # noqa: S101  # created in the lines above
    return made


def evidence(spec: TrainingSpec, trained: TrainedModel) -> dict[str, str]:
    """Tags of a version: what it was made of and measured on."""
    tags = {
        "headrace.table": trained.table,
        "headrace.table_version": str(trained.table_version),
        "headrace.label": spec.label,
        "headrace.task": trained.task,
        "headrace.key": ",".join(spec.key),
        "headrace.spec_digest": trained.digests.spec,
        "headrace.code_digest": trained.digests.code,
        "headrace.environment_digest": trained.digests.environment,
        "headrace.holdout_digest": trained.holdout.digest,
        "headrace.holdout_rows": str(trained.holdout.rows),
        "headrace.holdout_rule": trained.holdout.rule,
    }
    if spec.time is not None:
        tags["headrace.time"] = spec.time
    if spec.group is not None:
        tags["headrace.group"] = spec.group
    if spec.lookback is not None:
        tags["headrace.lookback"] = f"{int(spec.lookback.total_seconds())}s"
    return tags


def _create_model(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
