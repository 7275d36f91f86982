"""Loading a deployment's model: as a kernel where there is a proven one, else in workers."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from headrace.environments import ensure, lock_of
from headrace.errors import HeadraceError
from headrace.ids import new_id
from headrace.kernels import KernelDamagedError, load_kernel
from headrace.parity.environment import compare_environment, installed_in
from headrace.parity.errors import EnvironmentDiffersError
from headrace.payloads.errors import ModelNotServableError
from headrace.payloads.signature import Signature
from headrace.serving.scorer import KernelScorer, Scorer, WorkerScorer
from headrace.workers import WorkerPool, WorkerSpec

if TYPE_CHECKING:
    from headrace.endpoints.records import Deployment
    from headrace.environments import Environment, Lock
    from headrace.kernels.runtime import Kernel
    from headrace.serving.live import Live
    from headrace.serving.pool import ThreadPool

log = logging.getLogger(__name__)

FETCH_SECONDS: Final = 600.0
_FETCH: Final = """
import sys
from headrace.workers.process import die_with
die_with(int(sys.argv[4]))
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
print(mlflow.artifacts.download_artifacts(sys.argv[2], dst_path=sys.argv[3]), flush=True)
"""


class Loader:
    """Loads models in the reconciler's thread.

    Args:
        live: what is being served; tells the bounds of an endpoint's workers.
        pool: threads for large requests.
        directory: for the temporary files of workers, and for models from elsewhere.
        loop: the event loop that answers requests.
        proof: raises EvidenceError for a model that may not answer; nothing of it is loaded.
    """

    def __init__(
        self,
        live: Live,
        pool: ThreadPool,
        directory: Path,
        loop: asyncio.AbstractEventLoop | None = None,
        proof: Callable[[Deployment, Path], None] | None = None,
    ) -> None:
        self.live = live
        self.pool = pool
        self.directory = directory
        self.loop = loop
        self.proof = proof
        self._pools: weakref.WeakSet[WorkerPool] = weakref.WeakSet()

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
            EvidenceError: it is not proven.
        """
        if known and (known / "MLmodel").is_file():
            path = known
        else:
            path = _fetched(deployment, tracking_uri, self.directory / "models")
        if self.proof is not None:
            self.proof(deployment, path)
        description = _described(deployment, path)
        signature = Signature.of_model(path, deployment.model)
        example = _example(path, description, signature)
        kernel = _kernel(deployment, path)
        if kernel is None:
            return self._worker(deployment, path, signature, example), path
        return KernelScorer(kernel, signature, example, self.pool), path

    async def close(self) -> None:
        """End all workers, in their event loop."""
        await asyncio.gather(*(pool.close() for pool in list(self._pools)))

    def _worker(
        self, deployment: Deployment, path: Path, signature: Signature, example: bytes
    ) -> Scorer:
        """Workers that have loaded the model.

        Raises:
            ModelNotServableError: its environment cannot be built, or it does not load there.
        """
        if self.loop is None:
            raise RuntimeError("workers need the event loop that answers requests")
        try:
            lock = lock_of(path)
            environment = ensure(lock)
            _same_environment(deployment, lock, environment)
            # Also before a worker that takes the place of another, with files of years later.
            proof = None if self.proof is None else partial(self.proof, deployment, path)
            spec = self._spec(deployment)
            pool = WorkerPool(path, environment, spec, self.directory, deployment.model, proof)
            started = asyncio.run_coroutine_threadsafe(pool.start(), self.loop)
            started.result()
            self._pools.add(pool)
        except HeadraceError as error:
            raise ModelNotServableError(
                deployment.model, f"{error.what} {error.why or ''}".strip(), error.next
            ) from error
        return WorkerScorer(pool, signature, example, self.loop, self.pool)

    def _spec(self, deployment: Deployment) -> WorkerSpec:
        endpoint = self.live.endpoints.get(deployment.endpoint)
        return endpoint.record.spec.workers if endpoint else WorkerSpec()


def _same_environment(deployment: Deployment, lock: Lock, environment: Environment) -> None:
    """Ask the interpreter of a built environment what it has; this one's own was just compared.

    Raises:
        EnvironmentDiffersError: names the first line of the lock that it does not keep.
    """
    if environment.current:
        return
    report = compare_environment(lock, installed_in(environment), "worker")
    if not report.agreed:
        raise EnvironmentDiffersError(deployment.model, report)


def _kernel(deployment: Deployment, path: Path) -> Kernel | None:
    """The proven graph; ``None`` where there is none that may be used."""
    try:
        return load_kernel(path)
    except KernelDamagedError as error:
        # The model itself still answers.
        log.warning("%s is scored by workers: %s", deployment.model, error)
        return None


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


def _fetched(deployment: Deployment, tracking_uri: str, home: Path) -> Path:
    """The model's directory below ``home``, copied there once: its name is the model's id.

    Raises:
        ModelNotServableError: MLflow does not find it, or takes too long.
    """
    path = home / deployment.model_id
    if (path / "MLmodel").is_file():
        return path
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = home / new_id("partial")
    partial.mkdir()
    try:
        copied = _fetch(deployment, tracking_uri, partial)
        try:
            copied.rename(path)
        except OSError:
            if not path.is_dir():  # else another process was first, with the same files
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def _fetch(deployment: Deployment, tracking_uri: str, target: Path) -> Path:
    """A copy by MLflow's client, in a process of its own: it is large and slow.

    Raises:
        ModelNotServableError: MLflow does not find it, or takes too long.
    """
    arguments = (tracking_uri, deployment.model_uri, str(target), str(os.getpid()))
    try:
        done = subprocess.run(  # noqa: S603
            (sys.executable, "-P", "-c", _FETCH, *arguments),
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
