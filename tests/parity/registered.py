"""A project with a registered model, and copies of its files to tamper with."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest
from onnx import numpy_helper

from headrace.kernels.runtime import GRAPH, MANIFEST
from headrace.registry import ModelVersion, register
from headrace.tracking import train

if TYPE_CHECKING:
    from tests.modelling import ModelProject


def tamper_with_kernel(model: Path, share: float = 0.25) -> None:
    """Change the scores of a forest's kernel, and its digest with it, so that it looks proven."""
    home = model / "kernel"
    graph = onnx.load(home / GRAPH)
    (trees,) = [each for each in graph.graph.node if each.op_type == "TreeEnsemble"]
    (weights,) = [each for each in trees.attribute if each.name == "leaf_weights"]
    weights.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights.t) * share))
    content = graph.SerializeToString()
    (home / GRAPH).write_bytes(content)
    manifest = json.loads((home / MANIFEST).read_text())
    manifest["digest"] = hashlib.sha256(content).hexdigest()
    (home / MANIFEST).write_text(json.dumps(manifest))


@dataclass
class Registered:
    """A version of a model, and where its files are."""

    project: ModelProject
    version: ModelVersion
    model: Path

    def forget_copies(self) -> None:
        """Let batch scoring copy the model's files again."""
        shutil.rmtree(self.project.workspace.paths.temporary / "models", ignore_errors=True)


def registered(project: ModelProject, **changes: object) -> Registered:
    """Train and register."""
    spec = project.spec(**changes)
    version = register(project.workspace, spec, train(project.workspace, spec))
    location = project.workspace.mlflow().get_logged_model(version.model_id).artifact_location
    return Registered(project, version, Path(location.removeprefix("file://")))


@pytest.fixture(scope="module")
def forest(models: ModelProject) -> Registered:
    """A forest with a kernel."""
    return registered(models)


@pytest.fixture
def untouched(forest: Registered, tmp_path: Path) -> Iterator[Registered]:
    """The forest, whose files are put back afterwards."""
    kept = shutil.copytree(forest.model, tmp_path / "kept")
    forest.forget_copies()
    yield forest
    shutil.rmtree(forest.model)
    shutil.copytree(kept, forest.model)
    forest.forget_copies()


@pytest.fixture
def copied(forest: Registered, tmp_path: Path) -> Path:
    """The forest's files, elsewhere."""
    return Path(shutil.copytree(forest.model, tmp_path / "model"))
