"""One project opened: the stores and the engine, wired together."""

from __future__ import annotations

import os
import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace.catalog import Catalog, Lineage, Store, guards, openlineage
from headrace.catalog.mlflow_tables import ensure_mlflow_tables
from headrace.catalog.store import driver_url
from headrace.settings import Paths, check_path, find_project

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from pyspark.sql import SparkSession

    from headrace.engine import Engine

_open: dict[tuple[int, Path], Workspace] = {}
_lock = threading.RLock()

_TRACKING: Final = "MLFLOW_TRACKING_URI"
_REGISTRY: Final = "MLFLOW_REGISTRY_URI"
# Where a store in this process puts the artifacts of new experiments. MLflow has no public
# setting for a client that opens the database itself; its default is ./mlruns.
_ARTIFACTS: Final = "_MLFLOW_SERVER_ARTIFACT_ROOT"
_configured: dict[str, str] = {}


class Workspace:
    """What a project keeps, opened in this process. Made by ``open_workspace``.

    Attributes:
        paths: where the project keeps things.
        store: the database.
        catalog: names of tables and views.
        lineage: recorded operations.
    """

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.store = Store.open(paths.database_url)
        # MLflow's own migrations make its tables anew, without the triggers.
        guards.install(self.store)
        self.catalog = Catalog(self.store, paths.warehouse)
        self.lineage = Lineage(self.store)
        self._emitter: openlineage.Emitter | None = None
        if openlineage.configured():
            self._emitter = openlineage.Emitter(f"headrace.{paths.root.name}")
            self.lineage.subscribe(self._emitter)

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking and registry URI: the database, with our driver."""
        return driver_url(self.paths.database_url)

    @cached_property
    def engine(self) -> Engine:
        """The engine; its server starts with the first session."""
        from headrace.engine import Engine

        return Engine(self.paths, self.catalog, self.lineage)

    def spark(self) -> SparkSession:
        """The Spark session; MLflow is pointed at the project unless it points elsewhere."""
        self.point_mlflow_here()
        return self.engine.session()

    def mlflow(self) -> MlflowClient:
        """An MLflow client on the project's store, whatever the process uses otherwise.

        Raises:
            DatabaseUnavailableError: the database cannot be written.
        """
        self.point_mlflow_here()
        ensure_mlflow_tables(self.store)
        from mlflow import MlflowClient

        # MLflow opens the store here, and keeps it with the root that is set now.
        before = os.environ.get(_ARTIFACTS)
        os.environ[_ARTIFACTS] = self.paths.artifacts.as_uri()
        try:
            return MlflowClient(self.tracking_uri, self.tracking_uri)
        finally:
            if before is None:
                del os.environ[_ARTIFACTS]
            else:
                os.environ[_ARTIFACTS] = before

    def point_mlflow_here(self) -> None:
        """Let ``mlflow`` calls of this process and its children use the project's store.

        New experiments keep their artifacts inside the project. A tracking URI that the process
        was started with, or that it gave to ``mlflow.set_tracking_uri``, stays.
        """
        # MLflow reports its use to its makers unless told not to.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        if not _set(_TRACKING, self.tracking_uri):
            return
        _set(_REGISTRY, self.tracking_uri)
        _set(_ARTIFACTS, self.paths.artifacts.as_uri())

    def close(self) -> None:
        """Stop the engine and close the database."""
        with _lock:
            _open.pop((os.getpid(), self.paths.root), None)
        if "engine" in self.__dict__:
            self.engine.stop()
        if self._emitter is not None:
            self._emitter.close()
        self.store.close()


def open_workspace(root: Path | None = None) -> Workspace:
    """The project at or above ``root`` (the working directory if not given), opened once.

    A forked child opens its own.

    Raises:
        ProjectNotFoundError: no directory on the way up holds ``headrace.yaml``.
        PathNotSupportedError: the project lies under a path that engines spell differently.
        DatabaseUnavailableError: the database cannot be opened.
        DatabaseTooNewError: a newer Headrace has migrated it.
    """
    paths = find_project(root)
    check_path(paths.root)
    key = (os.getpid(), paths.root)
    with _lock:
        if key not in _open:
            paths.make()
            _open[key] = Workspace(paths)
        return _open[key]


def _set(name: str, value: str) -> bool:
    """Set a variable unless someone else has set it; whether it has the value now."""
    current = os.environ.get(name)
    if current is not None and current not in (value, _configured.get(name)):
        return False
    os.environ[name] = _configured[name] = value
    return True


os.register_at_fork(after_in_child=_open.clear)
