"""A project with a trained model that has a kernel: numbers with nulls, and a text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from tests.modelling import ModelProject, make_model_project, put_alias

from headrace import kernels, lakehouse
from headrace.registry import register, resolve
from headrace.scoring import PredictionSpec
from headrace.scoring.columns import typed_columns
from headrace.tracking import train

if TYPE_CHECKING:
    import pandas as pd

    from headrace.registry import ModelVersion

#: The model's inputs as its signature has them.
TYPES = {"heat": "double", "shake": "double", "noise": "double", "model": "string"}

PIPELINE = """
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder


def train(X, y, *, seed):
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["model"]),
        (SimpleImputer(strategy="median"), ["heat", "shake", "noise"]),
    )
    forest = RandomForestClassifier(40, max_depth=6, random_state=seed)
    return make_pipeline(columns, forest).fit(X, y)
"""


def make_trained(root: Path) -> ModelProject:
    """A project whose model ``failure/1`` is in production and has a kernel."""
    project = make_model_project(root)
    project.write("training/model.py", PIPELINE)
    spec = project.spec(features=list(TYPES))
    version = register(project.workspace, spec, train(project.workspace, spec))
    report = kernels.ensure_kernel(artifacts(project, version))
    assert report.proven, report.reason
    put_alias(project.workspace, "failure", 1)
    return project


def artifacts(project: ModelProject, version: ModelVersion) -> Path:
    """The directory of a version's files."""
    logged = project.workspace.mlflow().get_logged_model(version.model_id)
    return Path(logged.artifact_location.removeprefix("file://"))


def to_score(count: int = 3000, seed: int = 5, nulls: bool = True) -> pa.Table:
    """Rows with integers, unseen texts, and nulls among numbers and texts."""
    random = np.random.default_rng(seed)
    heat, shake = random.normal(size=(2, count))
    return pa.table(
        {
            "id": np.arange(count),
            "heat": pa.array(heat, mask=random.random(count) < 0.1 * nulls),
            "shake": pa.array(shake, pa.float32()),
            "noise": pa.array(random.integers(-30, 30, count), pa.int16()),
            "model": pa.array(
                random.choice(["m0", "m1", "m2", "new"], count).tolist(),
                mask=random.random(count) < 0.05 * nulls,
            ),
            "fails": pa.array(heat > 1),  # the label, which no scorer may look at
        }
    )


def spec_of(project: ModelProject, name: str) -> PredictionSpec:
    """Scores ``gold.NAME`` with ``failure`` into ``gold.NAME_predictions``."""
    return PredictionSpec(
        table=f"gold.{name}_predictions",
        model="failure@production",
        input=f"gold.{name}",
        key=["id"],
    )


def predictions(project: ModelProject, spec: PredictionSpec) -> pd.DataFrame:
    """The table of predictions, by id."""
    location = project.workspace.catalog.resolve(spec.table).location
    found: pd.DataFrame = lakehouse.read(str(location)).to_pandas()
    return found.sort_values("id", ignore_index=True)


def kernel_answers(project: ModelProject, table: pa.Table) -> dict[str, np.ndarray]:
    """The kernel, row by row."""
    version = resolve(project.workspace, "failure/1")
    kernel = kernels.load_kernel(artifacts(project, version))
    assert kernel is not None
    each = [
        kernel.predict(typed_columns(table.slice(at, 1), TYPES, frozenset()), 1)
        for at in range(table.num_rows)
    ]
    return {name: np.concatenate([one[name] for one in each]) for name in ("score", "label")}
