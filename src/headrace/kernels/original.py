"""The model a kernel is compared with: what MLflow loads, and the estimator inside."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.kernels.errors import NotCompilableError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

SETTINGS: Final = "headrace.json"
_NUMBERS: Final = ("double", "float", "long", "integer", "boolean")


@dataclass(frozen=True)
class Input:
    """A column of the model's signature; ``kind`` is MLflow's name of its type."""

    name: str
    kind: str

    @property
    def is_text(self) -> bool:
        """Whether it holds texts."""
        return self.kind == "string"

    @property
    def can_be_null(self) -> bool:
        """Whether the signature lets a null through to the model."""
        return self.kind in ("double", "float", "string")


@dataclass(frozen=True)
class Original:
    """A model as it was logged.

    Attributes:
        pyfunc: what ``mlflow.pyfunc.load_model`` gives.
        estimator: what the training function returned.
        inputs: the signature's columns.
        task: ``binary``, ``multiclass`` or ``regression``.
        labels: the classes in the order of their codes.
        threshold: from which score on a label is positive.
    """

    pyfunc: Any
    estimator: Any
    inputs: tuple[Input, ...]
    task: str
    labels: list[Any] | None
    threshold: float

    def predict(self, rows: pd.DataFrame) -> dict[str, npt.NDArray[Any]]:
        """``score`` and ``label`` of a frame that has the signature's types.

        Raises:
            Exception: whatever the model raises.
        """
        with warnings.catch_warnings():
            # A model's remarks on edge rows (unknown categories, overflow) are not ours to show.
            warnings.simplefilter("ignore")
            frame = self.pyfunc.predict(rows)
        return {name: frame[name].to_numpy() for name in frame.columns}


def load_original(model: Path) -> Original:
    """Load a model's directory.

    Raises:
        NotCompilableError: it was not logged by a training, or has no signature of columns.
        Exception: whatever loading it raises.
    """
    import mlflow.pyfunc

    settings = model / SETTINGS
    if not settings.is_file():
        raise NotCompilableError("it was not logged by a training of Headrace")
    facts = json.loads(settings.read_text())
    pyfunc = mlflow.pyfunc.load_model(str(model))
    schema = pyfunc.metadata.get_input_schema()
    if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
        raise NotCompilableError("its signature has no named columns")
    inputs = tuple(Input(str(spec.name), spec.type.name) for spec in schema.inputs)
    for column in inputs:
        if column.kind not in (*_NUMBERS, "string"):
            raise NotCompilableError(f'column "{column.name}" is a {column.kind}')
    scorer = pyfunc._model_impl
    return Original(
        pyfunc=pyfunc,
        estimator=pyfunc.get_raw_model(),
        inputs=inputs,
        task=facts["task"],
        labels=facts["labels"],
        threshold=float(scorer.threshold),
    )
