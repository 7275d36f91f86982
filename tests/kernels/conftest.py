from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from headrace.tracking import flavor

if TYPE_CHECKING:
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
