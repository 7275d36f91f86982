"""One project with logged models for a module of tests; each test makes tables of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
from tests.modelling import put_alias

from headrace import lakehouse
from headrace.scoring import PredictionSpec
from headrace.workspace import Workspace, open_workspace

from .trained import make_trained

if TYPE_CHECKING:
    from tests.modelling import ModelProject

MLFLOW_WARNINGS = [
    # MLflow's own use of SQLAlchemy.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
    # MLflow's own classes, when they are imported.
    pytest.mark.filterwarnings("ignore:(?s).*Any type hint is inferred as AnyType"),
    # MLflow advises on how to write a model; these are as short as they can be.
    pytest.mark.filterwarnings("ignore:(?s).*Add type hints to the `predict` method"),
    pytest.mark.filterwarnings("ignore:(?s).*An input example was not provided"),
]

INPUTS = pd.DataFrame({"a": [1.0, 2.0], "b": [0.5, 0.25]})


@dataclass
class Scored:
    """An input table, its predictions, and a model of their own."""

    workspace: Workspace
    name: str
    model: str

    @property
    def spec(self) -> PredictionSpec:
        """Scores ``gold.NAME`` into ``gold.NAME_predictions`` by ``id``."""
        return PredictionSpec(
            table=f"gold.{self.name}_predictions",
            model=f"{self.model}@production",
            input=f"gold.{self.name}",
            key=["id"],
        )

    def write_input(self, frame: pd.DataFrame | pa.Table, **options: Any) -> int:
        """Replace the rows of the input; the version made."""
        table = (
            frame
            if isinstance(frame, pa.Table)
            else pa.Table.from_pandas(frame, preserve_index=False)
        )
        entry = self.workspace.catalog.create_table(f"gold.{self.name}")
        options = {"mode": "overwrite", "replace_schema": True, **options}
        return lakehouse.write(str(entry.location), table, **options)

    def predictions(self) -> pd.DataFrame:
        """The table of predictions, by id."""
        location = self.workspace.catalog.resolve(self.spec.table).location
        found: pd.DataFrame = lakehouse.read(str(location)).to_pandas()
        return found.sort_values("id", ignore_index=True)

    def versions(self) -> int:
        """How many commits the table of predictions has."""
        location = self.workspace.catalog.resolve(self.spec.table).location
        return len(lakehouse.history(str(location)))

    def promote(self, version: int) -> None:
        """Point ``production`` at a version."""
        put_alias(self.workspace, self.model, version)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """An empty project, opened."""
    root = tmp_path_factory.mktemp("project")
    (root / "headrace.yaml").write_text("name: scoring\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SPARK_REMOTE", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.setenv(name, "")
            patch.delenv(name)
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", (root / "artifacts").as_uri())
        opened = open_workspace(root)
        opened.spark()
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelProject]:
    """A project whose model ``failure/1`` takes numbers and texts, and has a kernel."""
    project = make_trained(tmp_path_factory.mktemp("trained") / "project")
    yield project
    project.workspace.close()


@pytest.fixture(scope="module")
def log_model(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., int]:
    """``log_model(name, "model_input['a'] * 2")`` logs and registers a pyfunc; its version."""
    directory = tmp_path_factory.mktemp("models")
    numbers = itertools.count()

    def log(
        name: str,
        expression: str,
        inputs: pd.DataFrame = INPUTS,
        outputs: Any = None,
        signature: bool | str = True,
    ) -> int:
        return log_pyfunc(
            workspace,
            directory / f"model{next(numbers)}.py",
            name,
            expression,
            inputs,
            outputs,
            signature,
        )

    return log


def log_pyfunc(
    workspace: Workspace,
    source: Path,
    name: str,
    expression: str,
    inputs: pd.DataFrame = INPUTS,
    outputs: Any = None,
    signature: bool | str = True,
) -> int:
    """Log a model from code and register it; its version."""
    workspace.mlflow()
    import mlflow

    mlflow.set_tracking_uri(workspace.tracking_uri)
    source.write_text(
        "import os, time\nimport mlflow, numpy as np, pandas as pd\n"
        "class Model(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input, params=None):\n"
        f"        return {expression}\n"
        "mlflow.models.set_model(Model())\n"
    )
    outputs = pd.DataFrame({"score": [0.5]}) if outputs is None else outputs
    with mlflow.start_run():
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(source),
            signature=_signature(inputs, outputs, signature),
            pip_requirements=["mlflow"],
            registered_model_name=name,
        )
    return int(logged.registered_model_version)


def _signature(inputs: pd.DataFrame, outputs: Any, wanted: bool | str) -> Any:
    """Of inputs and outputs, of the inputs alone where a text says so, or none."""
    from mlflow.models import infer_signature

    if not wanted:
        return None
    return infer_signature(inputs) if isinstance(wanted, str) else infer_signature(inputs, outputs)


@pytest.fixture
def scored(
    workspace: Workspace, log_model: Callable[..., int], request: pytest.FixtureRequest
) -> Scored:
    """A table of ten rows and a model whose version 1 answers ``a + b``."""
    name = f"t{abs(hash(request.node.name)):x}"[:16]
    made = Scored(workspace, name, f"m_{name}")
    made.promote(
        log_model(made.model, "pd.DataFrame({'score': model_input['a'] + model_input['b']})")
    )
    made.write_input(rows(10))
    return made


def rows(count: int, start: int = 0) -> pd.DataFrame:
    """``count`` rows: id, a = id, b = id / 4, site."""
    ids = range(start, start + count)
    return pd.DataFrame(
        {
            "id": list(ids),
            "a": [float(i) for i in ids],
            "b": [i / 4 for i in ids],
            "site": [f"s{i % 3}" for i in ids],
        }
    )
