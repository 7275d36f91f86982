"""Logging a model: MLflow's own flavour for it, and predictions of one shape from ``pyfunc``."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.environments import LOCK_FILE, WORKER_NEEDS, Lock, closure
from headrace.tracking import scorer
from headrace.tracking.errors import UnsupportedModelError

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import Model, ModelSignature

    from headrace.tracking.answers import Recorder
    from headrace.tracking.data import Task
    from headrace.tracking.spec import TrainingSpec

_MODULE: Final = f"headrace_scorer_v{scorer.VERSION}"
_TRUSTED: Final = ("sklearn.", "numpy.", "scipy.", "lightgbm.", "xgboost.", "collections.")
_SAVED_AS: Final = {"float64": "double", "bool": "boolean", "object": "string"}


@dataclass(frozen=True)
class Logged:
    """A logged model: its immutable id and address, and its flavour."""

    model_id: str
    model_uri: str
    flavor: str


def flavor_of(model: object) -> str | None:
    """``sklearn``, ``lightgbm``, ``xgboost`` or ``pyfunc``; ``None`` for anything else."""
    from mlflow.pyfunc import PythonModel
    from sklearn.base import BaseEstimator

    package = type(model).__module__.partition(".")[0]
    if package in ("lightgbm", "xgboost") and hasattr(model, "predict"):
        return package
    if isinstance(model, PythonModel):
        return "pyfunc"
    return "sklearn" if isinstance(model, BaseEstimator) and hasattr(model, "predict") else None


def signature(X: pd.DataFrame, labels: Sequence[Any] | None) -> ModelSignature:
    """Features in; ``score``, and in a classification ``label``, out.

    Made of the data's types. Every input is required: MLflow would else make required what has
    no null today, and a prediction with a null would depend on the training sample.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, DataType, Schema

    def kind(dtype: object) -> DataType:
        name = str(dtype)
        return DataType["datetime" if name.startswith("datetime64") else _SAVED_AS[name]]

    inputs = [ColSpec(kind(dtype), str(name)) for name, dtype in X.dtypes.items()]
    outputs = [ColSpec(DataType.double, "score")]
    if labels is not None:
        outputs.append(ColSpec(_label_type(labels), "label"))
    return ModelSignature(Schema(inputs), Schema(outputs))


def _label_type(labels: Sequence[Any]) -> Any:
    from mlflow.types.schema import DataType

    first = labels[0]
    if isinstance(first, bool):
        return DataType.boolean
    if isinstance(first, int):
        return DataType.long
    return DataType.double if isinstance(first, float) else DataType.string


def log_model(
    model: object,
    spec: TrainingSpec,
    task: Task,
    labels: Sequence[Any] | None,
    X: pd.DataFrame,
    requirements: list[str],
    recorder: Recorder | None = None,
    lock: Lock | None = None,
) -> Logged:
    """Log the model to the active run, with what it answers on the recorder's rows.

    The model's own lock takes over the hashes of the project's, where that is given.

    ``mlflow.sklearn.load_model`` and its siblings give back what the training function
    returned; ``mlflow.pyfunc.load_model`` gives a model whose predictions are a frame with
    ``score`` and ``label``, see ``scorer.Scorer``. It loads with MLflow alone.

    Raises:
        UnsupportedModelError: it is no model, or cannot be saved.
        ModelCannotPredictError: it does not answer on the recorder's rows.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    flavor = flavor_of(model)
    if flavor is None:
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise UnsupportedModelError(spec.name, spec.train, f"the function returned a {kind}")
    settings = {
        "task": task,
        "labels": None if labels is None else list(labels),
        "threshold": spec.threshold,
    }
    try:
        with _quiet():
            info = Model.log(
                artifact_path=None,
                flavor=_Flavor(flavor, settings, recorder, lock),
                name=spec.name.replace(".", "-"),
                sk_model=model,
                signature=signature(X, labels),
                input_example=X.head(3),
                pip_requirements=requirements,
                validate_serving_input=False,
                flavor_name=flavor,
            )
    except (MlflowException, TypeError, AttributeError, ValueError) as error:
        raise UnsupportedModelError(
            spec.name, spec.train, f"it cannot be saved: {str(error).strip()[:300]}"
        ) from error
    return Logged(info.model_id, f"models:/{info.model_id}", flavor)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without MLflow's advice: the choices it warns of are made here with open eyes."""
    log = logging.getLogger("mlflow")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


class _Flavor:
    """What ``Model.log`` asks to save the model: the native flavour, then our scorer over it."""

    def __init__(
        self,
        flavor: str,
        settings: dict[str, Any],
        recorder: Recorder | None = None,
        lock: Lock | None = None,
    ) -> None:
        self.flavor, self.settings, self.recorder, self.lock = flavor, settings, recorder, lock
        self.__name__ = f"mlflow.{flavor}"

    def save_model(
        self,
        path: str,
        mlflow_model: Model,
        sk_model: object,
        validate_serving_input: bool,
        **common: Any,
    ) -> None:
        """Save to the directory ``path``; ``validate_serving_input`` is ours to do later."""
        del validate_serving_input
        with tempfile.TemporaryDirectory() as scratch:
            code = Path(scratch) / f"{_MODULE}.py"
            shutil.copyfile(scorer.__file__, code)
            self._save(
                sk_model, path=path, mlflow_model=mlflow_model, code_paths=[str(code)], **common
            )
        pyfunc = mlflow_model.flavors["python_function"]
        self.settings["loader_module"] = pyfunc["loader_module"]
        pyfunc["loader_module"] = _MODULE
        (Path(path) / scorer.SETTINGS).write_text(json.dumps(self.settings, indent=1))
        lock = closure([*_listed(Path(path)), *WORKER_NEEDS])
        if self.lock is not None:
            lock = lock.with_hashes_of(self.lock)
        (Path(path) / LOCK_FILE).write_text(lock.text)
        mlflow_model.save(str(Path(path) / "MLmodel"))
        if self.recorder is not None:
            self.recorder.write(Path(path), self.flavor, self.settings, mlflow_model.signature)

    def _save(self, model: object, **common: Any) -> None:
        if self.flavor == "pyfunc":
            import mlflow.pyfunc

            mlflow.pyfunc.save_model(python_model=model, **common)
        elif self.flavor == "lightgbm":
            import mlflow.lightgbm

            mlflow.lightgbm.save_model(lgb_model=model, **common)
        elif self.flavor == "xgboost":
            import mlflow.xgboost

            mlflow.xgboost.save_model(xgb_model=model, **common)
        else:
            import mlflow.sklearn

            mlflow.sklearn.save_model(sk_model=model, **_serialization(model), **common)


def _listed(path: Path) -> list[str]:
    """The requirements that MLflow wrote beside the model, with those of its flavour."""
    lines = (path / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def _serialization(model: object) -> dict[str, Any]:
    """How a scikit-learn model is written.

    skops, whose files name the types they hold, if all are of scikit-learn or its peers;
    cloudpickle for a model with classes or functions of the project, which it takes along.
    """
    import skops.io
    from skops.io.exceptions import UnsupportedTypeException

    try:
        data = skops.io.dumps(model)
        foreign = skops.io.get_untrusted_types(data=data)
    except (UnsupportedTypeException, TypeError, AttributeError, ValueError):
        return {"serialization_format": "cloudpickle"}
    if not all(name.startswith(_TRUSTED) for name in foreign):
        return {"serialization_format": "cloudpickle"}
    return {"serialization_format": "skops", "skops_trusted_types": foreign or None}
