from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from headrace.tracking import flavor

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Save = Callable[..., Path]
TYPES = {
    "float64": "double", "float32": "float", "int64": "long", "int32": "integer",
    "bool": "boolean", "object": "string",
}  # fmt: skip


def save(
    path: Path,
    model: object,
    X: pd.DataFrame,
    task: str = "binary",
    labels: list[Any] | None = None,
    threshold: float | None = None,
) -> Path:
    """A model's directory as a training logs it."""
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import ColSpec, DataType, Schema

    if labels is None and task != "regression":
        labels = [False, True] if task == "binary" else ["bad", "fair", "good"]
    kind = flavor.flavor_of(model)
    assert kind is not None
    settings = {"task": task, "labels": labels, "threshold": threshold}
    flavor._Flavor(kind, settings).save_model(
        str(path),
        mlflow_model=Model(),
        sk_model=model,
        validate_serving_input=False,
        signature=ModelSignature(
            Schema(
                [ColSpec(DataType[TYPES[str(kind)]], str(name)) for name, kind in X.dtypes.items()]
            )
        ),
        pip_requirements=["scikit-learn"],
    )
    return path


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
