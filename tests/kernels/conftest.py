from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from headrace.tracking import flavor, scorer

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from mlflow.models import ModelSignature

Save = Callable[..., Path]
TYPES = {
    "float64": "double", "float32": "float", "int64": "long", "int32": "integer",
    "bool": "boolean", "object": "string",
}  # fmt: skip


# Loads what ``save`` writes, as MLflow's own flavours would.
LOADER = """
import pickle
from pathlib import Path


class Wrapped:
    def __init__(self, raw):
        self.raw = raw

    def get_raw_model(self):
        return self.raw

    def predict(self, frame):
        if type(self.raw).__module__ == "xgboost.core":
            import xgboost

            frame = xgboost.DMatrix(frame)
        return self.raw.predict(frame)


def _load_pyfunc(path):
    return Wrapped(pickle.loads(Path(path).read_bytes()))
"""


def log(path: Path, model: object, X: pd.DataFrame, task: str = "binary") -> Path:
    """A model's directory as a training logs it, by MLflow: takes a second or more."""
    from mlflow.models import Model

    kind = flavor.flavor_of(model)
    assert kind is not None
    flavor._Flavor(kind, settings_of(task, None, None)).save_model(
        str(path),
        mlflow_model=Model(),
        sk_model=model,
        validate_serving_input=False,
        signature=signature_of(X),
        pip_requirements=["scikit-learn"],
    )
    return path


def save(
    path: Path,
    model: object,
    X: pd.DataFrame,
    task: str = "binary",
    labels: list[Any] | None = None,
    threshold: float | None = None,
) -> Path:
    """The same directory without the libraries of the environment, written at once."""
    import mlflow.pyfunc
    from mlflow.models import Model

    code = path / "code"
    code.mkdir(parents=True)
    shutil.copyfile(scorer.__file__, code / "kernel_scorer.py")
    (code / "kernel_loader.py").write_text(LOADER)
    (path / "model.pickle").write_bytes(pickle.dumps(model))
    facts = {**settings_of(task, labels, threshold), "loader_module": "kernel_loader"}
    (path / scorer.SETTINGS).write_text(json.dumps(facts))
    (path / "requirements.txt").touch()
    described = Model(signature=signature_of(X))
    mlflow.pyfunc.add_to_model(
        described, loader_module="kernel_scorer", data="model.pickle", code="code"
    )
    described.save(str(path / "MLmodel"))
    return path


def settings_of(task: str, labels: list[Any] | None, threshold: float | None) -> dict[str, Any]:
    """What the scorer of a logged model reads."""
    if labels is None and task != "regression":
        labels = [False, True] if task == "binary" else ["bad", "fair", "good"]
    return {"task": task, "labels": labels, "threshold": threshold}


def signature_of(X: pd.DataFrame) -> ModelSignature:
    """The columns and their types."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, DataType, Schema

    return ModelSignature(
        Schema([ColSpec(DataType[TYPES[str(kind)]], str(name)) for name, kind in X.dtypes.items()])
    )


@pytest.fixture
def save_model(tmp_path: Path) -> Save:
    """A factory of model directories."""
    made: list[Path] = []

    def factory(*args: Any, **options: Any) -> Path:
        made.append(save(tmp_path / f"model{len(made)}", *args, **options))
        return made[-1]

    return factory


def manifest(model: Path) -> dict[str, Any]:
    """What ``kernel.json`` says."""
    found: dict[str, Any] = json.loads((model / "kernel" / "kernel.json").read_text())
    return found


@dataclass(frozen=True)
class Data:
    """Rows of all kinds of columns, and a label for each task."""

    numbers: pd.DataFrame
    holes: pd.DataFrame
    mixed: pd.DataFrame
    labels: dict[str, pd.Series]


@pytest.fixture(scope="session")
def data() -> Data:
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    rows = 600
    numbers = pd.DataFrame(rng.normal(size=(rows, 4)), columns=list("abcd"))
    numbers["count"] = rng.integers(-5, 5, rows).astype("int32")
    numbers["flag"] = rng.random(rows) < 0.3
    raw = numbers.a + numbers.b * numbers.c + 0.2 * numbers["count"] + numbers.flag
    raw += rng.normal(size=rows) * 0.5
    holes = numbers.copy()
    for column in "ab":
        holes.loc[rng.random(rows) < 0.1, column] = np.nan
    mixed = holes.copy()
    mixed["city"] = rng.choice(["oslo", "rome", "lima", ""], rows)
    mixed["kind"] = np.array(rng.choice(["x", "y", "z", "rare"], rows, p=[0.5, 0.3, 0.19, 0.01]))
    mixed["kind"] = mixed["kind"].astype(object)
    mixed.loc[rng.random(rows) < 0.1, "kind"] = None
    labels = {
        "binary": (raw > 0).astype(int),
        "multiclass": pd.Series(np.digitize(raw, [-1, 1])),
        "regression": raw * 10,
    }
    return Data(numbers, holes, mixed, labels)


def columns(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """A frame as a kernel takes it."""
    return {str(name): frame[name].to_numpy() for name in frame.columns}
