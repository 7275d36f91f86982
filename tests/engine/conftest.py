"""A project of its own for each test, on one embedded server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headrace.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """An empty project, opened; closed afterwards."""
    for name in ("SPARK_REMOTE", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", tmp_path.as_uri())
    (tmp_path / "headrace.yaml").write_text("name: engine\n")
    opened = open_workspace(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def spark(workspace: Workspace) -> SparkSession:
    """The session of the project."""
    return workspace.engine.session()
