"""MLflow on the project's own store, whatever the process has set."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from headrace.workspace import Workspace

_VARIABLES: Final = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


@contextmanager
def on_store(workspace: Workspace) -> Iterator[MlflowClient]:
    """MLflow's fluent functions work on the project's store; afterwards on what they did before."""
    client = workspace.mlflow()
    import mlflow
    from mlflow.tracking._model_registry import utils as registry
    from mlflow.tracking._tracking_service import utils as tracking

    saved = {name: os.environ.get(name) for name in _VARIABLES}
    before = tracking._tracking_uri, registry._registry_uri
    # It writes a stack trace of each error of the database, and raises the error as well.
    log = logging.getLogger("mlflow.store.db.utils")
    level = log.level
    log.setLevel(logging.CRITICAL)
    mlflow.set_tracking_uri(workspace.tracking_uri)
    mlflow.set_registry_uri(workspace.tracking_uri)
    try:
        yield client
    finally:
        log.setLevel(level)
        mlflow.set_tracking_uri(before[0])
        mlflow.set_registry_uri(before[1])
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def load_model(workspace: Workspace, model_id: str) -> Any:
    """The pyfunc model with that id.

    Loaded from its own directory and not through an address with a name in it: no process-wide
    setting matters, and no cache can hold another model under the same address.
    """
    client = workspace.mlflow()
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(client.get_logged_model(model_id).artifact_location)


def experiment_id(workspace: Workspace, name: str) -> str:
    """The experiment of that name, made if need be, with its artifacts in the project."""
    from mlflow.exceptions import MlflowException

    client = workspace.mlflow()
    found = client.get_experiment_by_name(name)
    if found is None:
        location = (workspace.paths.artifacts / name).as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            # Another process made it in between.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)
