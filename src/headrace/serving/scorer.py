"""Scorers: a loaded model version that turns typed input into predictions."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from headrace.errors import HeadraceError
from headrace.payloads.answer import Predictions, predictions_of
from headrace.payloads.codec import Payload, parse
from headrace.payloads.errors import ModelNotServableError
from headrace.payloads.signature import Signature
from headrace.serving.errors import PredictionFailedError

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

    from headrace.endpoints.records import Deployment

log = logging.getLogger(__name__)


class Scorer(Protocol):
    """What the plane needs of a model, whatever runs it. Threads share a scorer."""

    @property
    def signature(self) -> Signature:
        """The inputs."""

    def example(self) -> bytes:
        """A JSON request of at least one row that the model should answer."""

    def predict(self, inputs: Any, params: Mapping[str, Any] | None) -> Any:
        """Raw predictions of inputs typed by the signature."""


def score(scorer: Scorer, payload: Payload, model: str) -> Predictions:
    """Type a request, run the model, and give one prediction a row.

    Raises:
        InvalidInputError: the request does not fit the signature.
        PredictionFailedError: the model raised an error, or returned something else.
    """
    inputs = scorer.signature.typed(payload)
    try:
        raw = scorer.predict(inputs, payload.params)
        return predictions_of(raw, len(payload.rows))
    except HeadraceError:
        raise
    except Exception as error:
        # A model is foreign code: whatever it raises concerns this request alone.
        log.info("%s failed", model, exc_info=True)
        raise PredictionFailedError(model, reason_of(error)) from error


def smoke(scorer: Scorer, model: str) -> None:
    """Send the example through the code that answers real requests.

    Raises:
        HeadraceError: it cannot be read or scored; the message says why.
    """
    score(scorer, parse(scorer.example(), "application/json"), model)


def reason_of(error: BaseException) -> str:
    """The type and the first line of an error, of bounded length."""
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


class PyfuncScorer:
    """An MLflow model of any flavor, in this process."""

    def __init__(self, model: PyFuncModel, path: Path, name: str) -> None:
        self._model = model
        self._path = path
        self.signature = Signature.of_mlflow(model.metadata.get_input_schema(), name)
        self._takes_params = "params" in inspect.signature(model.predict).parameters

    def example(self) -> bytes:
        """The input example that was logged with the model, else a row of neutral values."""
        logged = None
        try:
            logged = self._model.metadata.get_serving_input(str(self._path))
        except OSError as error:
            log.warning("%s: the logged input example is gone: %s", self._path, error)
        return (logged or json.dumps(self.signature.example())).encode()

    def predict(self, inputs: Any, params: Mapping[str, Any] | None) -> Any:
        """What ``PyFuncModel.predict`` returns."""
        if params and self._takes_params:
            return self._model.predict(inputs, params=dict(params))
        return self._model.predict(inputs)


def load(deployment: Deployment, tracking_uri: str, known: Path | None) -> tuple[Scorer, Path]:
    """Load the model of a deployment by its immutable URI.

    Args:
        deployment: names the model.
        tracking_uri: MLflow's store.
        known: the model's directory where it is known; spares MLflow's store, which is slow to
            open and may be away.

    Returns:
        The scorer and the model's directory.

    Raises:
        ModelNotServableError: it does not load, or is another model.
    """
    try:
        path = (
            known if known and (known / "MLmodel").is_file() else _fetch(deployment, tracking_uri)
        )
        _prepare(path)
        from mlflow.pyfunc import load_model

        model = load_model(str(path))
    except Exception as error:
        # The model's own code runs here, and MLflow raises anything.
        raise ModelNotServableError(
            deployment.model, f"it does not load: {reason_of(error)}", "headrace doctor"
        ) from error
    found = model.metadata.model_id
    if found is not None and found != deployment.model_id:
        raise ModelNotServableError(
            deployment.model, f"{path} holds {found}, not {deployment.model_id}"
        )
    return PyfuncScorer(model, path, deployment.model), path


def _prepare(path: Path) -> None:
    """Import what the model needs in the order that is fast."""
    if "skops" in (path / "MLmodel").read_text():
        # While it is imported it looks for every type in every module there is: before MLflow's
        # modules that takes a third of the time that it takes after them.
        importlib.import_module("skops.io")


def _fetch(deployment: Deployment, tracking_uri: str) -> Path:
    import mlflow

    mlflow.set_tracking_uri(tracking_uri)
    return Path(mlflow.artifacts.download_artifacts(deployment.model_uri))
