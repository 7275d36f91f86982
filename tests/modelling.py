"""Projects with a feature table and a training function, for tests of models."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from headrace import lakehouse
from headrace.promotion import override
from headrace.registry import resolve
from headrace.tracking import TrainingSpec
from headrace.workspace import Workspace, open_workspace

FOREST = """
from sklearn.ensemble import RandomForestClassifier


def train(X, y, *, seed, depth=5, trees=20):
    return RandomForestClassifier(trees, max_depth=depth, random_state=seed).fit(X, y)
"""


def feature_rows(rows: int = 1200, devices: int = 30, seed: int = 0) -> pa.Table:
    """A row a device and hour: two features that matter, one that does not, three labels."""
    rng = np.random.default_rng(seed)
    device = np.arange(rows) % devices
    hour = np.arange(rows) // devices
    heat, shake, noise = rng.normal(size=(3, rows))
    strain = heat + 0.6 * shake + 0.5 * rng.normal(size=rows)
    return pa.table(
        {
            "device": pa.array([f"d{number:03}" for number in device]),
            "at": pa.array(hour * 3_600_000_000, pa.timestamp("us", "UTC")),
            "model": pa.array([f"m{number % 3}" for number in device]),
            "heat": pa.array(heat),
            "shake": pa.array(shake, pa.float32()),
            "noise": pa.array((noise * 10).astype("int32")),
            "fails": pa.array(strain > 1.0),
            "wear": pa.array(strain * 10),
            "grade": pa.array(np.where(strain > 1, "bad", np.where(strain > -0.5, "fair", "good"))),
        }
    )


@dataclass
class ModelProject:
    """A project directory with table ``gold.features`` and ``training/model.py``."""

    root: Path

    @property
    def workspace(self) -> Workspace:
        """The project, opened in this process."""
        return open_workspace(self.root)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def put(self, rows: pa.Table, name: str = "gold.features") -> int:
        """Replace the rows of a table; the version that made."""
        entry = self.workspace.catalog.create_table(name)
        assert entry.location is not None
        return lakehouse.write(entry.location, rows, mode="overwrite", replace_schema=True)

    def spec(self, **changes: Any) -> TrainingSpec:
        """Detect ``fails`` by ``heat``, ``shake`` and ``noise``, measured on the last rows."""
        fields: dict[str, Any] = {
            "name": "failure",
            "train": "training/model.py:train",
            "table": "gold.features",
            "label": "fails",
            "time": "at",
            "group": "device",
            "features": ["heat", "shake", "noise"],
            "holdout": {"last": "25%"},
            "seed": 7,
        }
        return TrainingSpec(**(fields | changes))

    def python(self, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run code in a fresh process in the project, without what this one has opened."""
        ours = ("MLFLOW", "_MLFLOW", "SPARK", "HEADRACE")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        # From a file: PySpark takes a process without a main file for its doctests, and exits.
        script = self.write(".headrace/tmp/script.py", code)
        return subprocess.run(
            [sys.executable, str(script)],
            cwd=self.root,
            env={**inherited, **environment},
            capture_output=True,
            text=True,
            timeout=180,
        )


def make_model_project(root: Path, rows: pa.Table | None = None) -> ModelProject:
    """A project of its own below ``root``."""
    root.mkdir(parents=True, exist_ok=True)
    project = ModelProject(root)
    project.write("headrace.yaml", "name: models\n")
    project.write("training/model.py", FOREST)
    project.put(feature_rows() if rows is None else rows)
    return project


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


def put_alias(workspace: Workspace, model: str, version: int, alias: str = "production") -> None:
    """Point a protected alias at a version without a gate: an override, as a person makes one."""
    override(workspace, resolve(workspace, f"{model}/{version}"), alias, reason="a test", by="test")
