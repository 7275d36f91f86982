"""Loading a deployment's model: as a kernel where there is a proven one, else in workers."""

from __future__ import annotations

import importlib.util
import inspect
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import yaml

from headrace.kernels.runtime import Kernel, UnusableKernelError
from headrace.payloads.answer import Answers
from headrace.payloads.errors import ModelNotServableError
from headrace.payloads.signature import Signature
from headrace.serving.scorer import KernelScorer, Scorer, reason_of

if TYPE_CHECKING:
    import asyncio

    from headrace.endpoints.records import Deployment
    from headrace.payloads.inputs import Inputs
    from headrace.serving.pool import ThreadPool

log = logging.getLogger(__name__)

FETCH_SECONDS: Final = 600.0
_FETCH: Final = """
import sys
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
print(mlflow.artifacts.download_artifacts(sys.argv[2]), flush=True)
"""


class Loader:
    """Loads models in the reconciler's thread.

    Args:
        pool: threads for large requests of kernels.
        loop: the event loop that answers requests.
    """

    def __init__(self, pool: ThreadPool, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.pool = pool
        self.loop = loop

    def __call__(
        self, deployment: Deployment, tracking_uri: str, known: Path | None
    ) -> tuple[Scorer, Path]:
        """Load the model of a deployment by its immutable URI.

        Args:
            deployment: names the model.
            tracking_uri: MLflow's store.
            known: the model's directory where it is known; spares MLflow's store, which is slow
                to open and may be away.

        Returns:
            The scorer and the model's directory.

        Raises:
            ModelNotServableError: it does not load, or is another model.
        """
        path = (
            known if known and (known / "MLmodel").is_file() else _fetch(deployment, tracking_uri)
        )
        description = _described(deployment, path)
        signature = Signature.of_model(path, deployment.model)
        example = _example(path, description, signature)
        try:
            kernel = Kernel(path / "kernel")
        except UnusableKernelError as error:
            log.info("%s is scored by workers: %s", deployment.model, error.why)
            return self._worker(deployment, path, signature, example), path
        return KernelScorer(kernel, signature, example, self.pool), path

    def _worker(
        self, deployment: Deployment, path: Path, signature: Signature, example: bytes
    ) -> Scorer:
        try:
            from mlflow.pyfunc import load_model

            model = load_model(str(path))
        except Exception as error:
            # The model's own code runs here, and MLflow raises anything.
            raise ModelNotServableError(
                deployment.model, f"it does not load: {reason_of(error)}", "headrace doctor"
            ) from error
        return PyfuncScorer(model, signature, example, self.pool)


class PyfuncScorer:
    """An MLflow model of any flavor, in a thread of this process."""

    kind: Literal["worker"] = "worker"
    loop = None

    def __init__(self, model: Any, signature: Signature, example: bytes, pool: ThreadPool) -> None:
        self._model = model
        self.signature = signature
        self._example = example
        self._pool = pool
        self._takes_params = "params" in inspect.signature(model.predict).parameters

    def example(self) -> bytes:
        """The logged example, or a row of neutral values."""
        return self._example

    async def predict(
        self, inputs: Inputs, params: Mapping[str, Any] | None, deadline: float
    ) -> Answers:
        """What ``PyFuncModel.predict`` returns."""
        return await self._pool.run(deadline, lambda: self._predict(inputs, params))

    def _predict(self, inputs: Inputs, params: Mapping[str, Any] | None) -> Answers:
        given = inputs.frame() if inputs.tensor is None else inputs.tensor
        if params and self._takes_params:
            return Answers.of(self._model.predict(given, params=dict(params)), inputs.rows)
        return Answers.of(self._model.predict(given), inputs.rows)

    def stats(self) -> Mapping[str, float]:
        """None."""
        return {}

    def close(self) -> None:
        """The memory goes with the last reference."""


def _described(deployment: Deployment, path: Path) -> Mapping[str, Any]:
    """The ``MLmodel`` file.

    Raises:
        ModelNotServableError: it cannot be read, or is of another model.
    """
    file = path / "MLmodel"
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        description = yaml.load(file.read_bytes(), loader)  # noqa: S506  # a safe one
    except (OSError, yaml.YAMLError) as error:
        raise ModelNotServableError(
            deployment.model, f"{file} cannot be read: {error}", "headrace doctor"
        ) from error
    if not isinstance(description, dict):
        raise ModelNotServableError(deployment.model, f"{file} is no MLmodel file")
    found = description.get("model_id")
    if found is not None and found != deployment.model_id:
        raise ModelNotServableError(
            deployment.model, f"{path} holds {found}, not {deployment.model_id}"
        )
    return description


def _example(path: Path, description: Mapping[str, Any], signature: Signature) -> bytes:
    """The input example that was logged with the model, else a row of neutral values."""
    logged = (description.get("saved_input_example_info") or {}).get("serving_input_path")
    if logged:
        try:
            return (path / str(logged)).read_bytes()
        except OSError as error:
            log.warning("%s: the logged input example is gone: %s", path, error)
    return json.dumps(signature.example()).encode()


def _environment() -> dict[str, str]:
    """Where there is PySpark, MLflow's search for plugins imports a module that ends the process
    without this variable."""
    spark = importlib.util.find_spec("pyspark")
    if spark is None or not spark.origin:
        return dict(os.environ)
    return {"SPARK_HOME": str(Path(spark.origin).parent), **os.environ}


def _fetch(deployment: Deployment, tracking_uri: str) -> Path:
    """The model's directory by MLflow's client, in a process of its own: it is large and slow.

    Raises:
        ModelNotServableError: MLflow does not find it, or takes too long.
    """
    command = (sys.executable, "-P", "-c", _FETCH, tracking_uri, deployment.model_uri)
    try:
        done = subprocess.run(  # noqa: S603
            command,
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            check=True,
            env=_environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise ModelNotServableError(
            deployment.model, f"it could not be fetched within {FETCH_SECONDS:.0f} s"
        ) from error
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or [f"exit status {error.returncode}"])[-1]
        raise ModelNotServableError(
            deployment.model, f"it cannot be fetched: {reason[:300]}", "headrace doctor"
        ) from error
    return Path(done.stdout.strip().splitlines()[-1])
