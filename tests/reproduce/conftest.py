from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.environments.conftest import make_wheel as make_wheel
from tests.environments.conftest import wheels as wheels
from tests.modelling import ModelProject, feature_rows, make_model_project
from tests.modelling import make_models as make_models

from headrace.registry import ModelVersion, register
from headrace.tracking import train

Make = Callable[..., ModelVersion]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelProject]:
    """One project for tests that each train a version of their own name."""
    made = make_model_project(tmp_path_factory.mktemp("made") / "project", feature_rows(600))
    yield made
    made.workspace.close()


@pytest.fixture
def make_version(project: ModelProject) -> Make:
    """A factory of registered versions: ``make_version(name, text, **changes of the spec)``."""

    def make(name: str, text: str | None = None, **changes: Any) -> ModelVersion:
        file = f"training/{name}.py"
        source = text or (project.root / "training/model.py").read_text()
        project.write(file, source)
        spec = project.spec(name=name, train=f"{file}:train", **changes)
        return register(project.workspace, spec, train(project.workspace, spec))

    return make


def artifacts(project: ModelProject, version: ModelVersion) -> Path:
    """Where the artifacts of a version's run lie."""
    found = list((project.root / ".headrace/artifacts").glob(f"*/{version.run_id}/artifacts"))
    assert len(found) == 1
    return found[0]
