from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.modelling import ModelProject, make_model_project


@pytest.fixture
def make_models(tmp_path: Path) -> Iterator[Callable[..., ModelProject]]:
    """A factory of projects with a feature table; their workspaces are closed afterwards."""
    made: list[ModelProject] = []

    def make(**options: Any) -> ModelProject:
        made.append(make_model_project(tmp_path / f"project{len(made)}", **options))
        return made[-1]

    yield make
    for project in made:
        project.workspace.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelProject]:
    """One project for tests that only add runs to it."""
    project = make_model_project(tmp_path_factory.mktemp("models") / "project")
    yield project
    project.workspace.close()
