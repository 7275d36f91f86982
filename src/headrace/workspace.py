"""One project opened: the stores and the engine, wired together."""

from __future__ import annotations

import os
import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.catalog import Catalog, Lineage, Store
from headrace.settings import Paths, find_project

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from pyspark.sql import SparkSession

    from headrace.engine import Engine

_open: dict[tuple[int, Path], Workspace] = {}
_lock = threading.Lock()


class Workspace:
    """What a project keeps, opened in this process. Made by ``open_workspace``."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.store = Store.open(paths.database_url)
        self.catalog = Catalog(self.store, paths.warehouse)
        self.lineage = Lineage(self.store)

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking and registry URI: the database."""
        return self.paths.database_url

    @cached_property
    def engine(self) -> Engine:
        """The engine; its server starts with the first session."""
        from headrace.engine import Engine

        return Engine(self.paths, self.catalog, self.lineage)

    def spark(self) -> SparkSession:
        """The Spark session; MLflow is pointed at the project unless it points elsewhere."""
        self.configure_mlflow()
        return self.engine.session()

    def mlflow(self) -> MlflowClient:
        """An MLflow client on the project's store."""
        self.configure_mlflow()
        from mlflow import MlflowClient

        return MlflowClient(self.tracking_uri, self.tracking_uri)

    def configure_mlflow(self) -> None:
        """Point MLflow at the project, in this process and its children."""
        os.environ.setdefault("MLFLOW_TRACKING_URI", self.tracking_uri)
        os.environ.setdefault("MLFLOW_REGISTRY_URI", self.tracking_uri)
        os.environ.setdefault("_MLFLOW_SERVER_ARTIFACT_ROOT", self.paths.artifacts.as_uri())

    def close(self) -> None:
        """Stop the engine and close the database."""
        if "engine" in self.__dict__:
            self.engine.stop()
        self.store.close()
        with _lock:
            _open.pop((os.getpid(), self.paths.root), None)


def open_workspace(root: Path | None = None) -> Workspace:
    """The project at or above ``root`` (the working directory if not given), opened once.

    Raises:
        ProjectNotFoundError: no directory on the way up holds ``headrace.yaml``.
        DatabaseUnavailableError: the database cannot be opened.
        DatabaseTooNewError: a newer Headrace has migrated it.
    """
    paths = find_project(root)
    key = (os.getpid(), paths.root)
    with _lock:
        if key not in _open:
            paths.make()
            _open[key] = Workspace(paths)
        return _open[key]
