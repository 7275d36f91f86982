"""A trained model becomes a version whose tags name its evidence."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from headrace.crash import crash_point
from headrace.errors import HeadraceError
from headrace.registry.versions import ModelVersion, version_of_run

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

    from headrace.tracking import TrainedModel, TrainingSpec
    from headrace.workspace import Workspace

_TAG: Final = 1000  # MLflow keeps so many characters of a tag's value, and more

log = logging.getLogger(__name__)


def register(workspace: Workspace, spec: TrainingSpec, trained: TrainedModel) -> ModelVersion:
    """Register the model of a run; the same run again gives the same version.

    Its kernel is compiled and proven first, and lies beside the model; that there is none is no
    error, see the tag ``headrace.kernel``.

    The version and its tags are one transaction of MLflow's, so a version without its evidence
    does not exist. Then the table versions that it needs are pinned; what is cut off before that
    is made up for when it is registered again, and by the next maintenance.
    """
    # Here, because names of models are read by commands that train nothing.
    from headrace.tracking.mlflow_store import on_store

    known = version_of_run(workspace, spec.name, trained.run_id)
    if known is not None:
        _pin(workspace, known)
        return known
    kernel = _kernel(workspace, trained)
    with on_store(workspace) as client:
        _create_model(client, spec.name)
        client.create_model_version(
            spec.name,
            source=trained.model_uri,
            run_id=trained.run_id,
            model_id=trained.model_id,
            tags={**evidence(spec, trained), "headrace.kernel": kernel},
            await_creation_for=0,
        )
    made = version_of_run(workspace, spec.name, trained.run_id)
    assert made is not None  # noqa: S101  # created in the lines above
    crash_point("registry.registered")
    _pin(workspace, made)
    return made


def _pin(workspace: Workspace, version: ModelVersion) -> None:
    from headrace import pins

    pins.pin_version(workspace, version.name, version.version, version.run_id, version.tags)


def _kernel(workspace: Workspace, trained: TrainedModel) -> str:
    """Compile the model and prove it on its hold-out; a line on how that went.

    A model that was compiled before, by a registration that was cut off, is not compiled again.
    """
    from headrace import kernels

    path = _directory(workspace.mlflow(), trained.model_id)
    if path is None:
        return "none: the model's files are not on this machine"
    try:
        report = kernels.report_on_disk(path)
        if report is None:
            report = kernels.compile_model(path, _rows(workspace, trained, path))
    except (HeadraceError, OSError) as error:
        # It is scored by a worker, then: no kernel is no reason to lose the version.
        log.warning("%s: no kernel: %s", trained.model_id, error)
        return f"none: {str(error).splitlines()[0]}"[:_TAG]
    return report.summary[:_TAG]


def _rows(workspace: Workspace, trained: TrainedModel, path: Path) -> pd.DataFrame:
    """Rows of the hold-out, as the model takes them."""
    from mlflow.models import Model

    from headrace.kernels import PROOF_ROWS
    from headrace.tracking import load_holdout
    from headrace.tracking.data import frame_for

    schema = Model.load(str(path)).get_input_schema()
    types = {str(column.name): column.type.name for column in schema.inputs}
    held = load_holdout(workspace, trained.holdout.digest, types)
    some = held.rows.slice(0, PROOF_ROWS)
    return frame_for(some, types, trained.name, held.record.table_name)


def _directory(client: MlflowClient, model_id: str) -> Path | None:
    location = urlsplit(client.get_logged_model(model_id).artifact_location)
    return Path(url2pathname(location.path)) if location.scheme in ("", "file") else None


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
        "headrace.lock": trained.lock,
        "headrace.holdout_digest": trained.holdout.digest,
        "headrace.holdout_rows": str(trained.holdout.rows),
        "headrace.holdout_rule": trained.holdout.rule,
    }
    if trained.drift is not None:
        tags["headrace.drift"] = trained.drift
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
