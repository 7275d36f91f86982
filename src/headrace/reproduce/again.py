"""Running the recorded training in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from headrace.reproduce.errors import NotReproducibleError
from headrace.tracking.runtime import VARIABLES
from headrace.workers.launch import exit_text, in_spawner

if TYPE_CHECKING:
    import pandas as pd

    from headrace.environments import Environment
    from headrace.reproduce.recorded import Recorded
    from headrace.tracking.data import Part, TrainingData

SCRIPT: Final = Path(__file__).with_name("process.py")
#: Would change what is imported, or where MLflow writes.
_DROPPED: Final = (
    "PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX", "MLFLOW_", "_MLFLOW_", "HEADRACE_", "SPARK_",
)  # fmt: skip
_POOLS: Final = {
    "openmp": "OMP_NUM_THREADS", "openblas": "OPENBLAS_NUM_THREADS", "mkl": "MKL_NUM_THREADS",
    "blis": "BLIS_NUM_THREADS",
}  # fmt: skip
_SAID: Final = 4000


@dataclass(frozen=True)
class Again:
    """What the process left.

    Attributes:
        answer: seconds in the training function, Python, libraries and threads.
        reproduced: what the model that was trained now says of the hold-out.
        registered: what the registered model says of it here and now.
        model: directory of the model that was trained now.
    """

    answer: dict[str, Any]
    reproduced: pd.DataFrame
    registered: pd.DataFrame
    model: Path


def train_again(
    recorded: Recorded,
    data: TrainingData,
    environment: Environment,
    root: Path,
    scratch: Path,
    seconds: float | None,
) -> Again:
    """Train in a fresh process with the environment's Python.

    Args:
        recorded: the training.
        data: its rows.
        environment: to run in.
        root: the project, under whose paths the code was compiled then.
        scratch: directory with ``code/``; everything else is written there.
        seconds: how long it may take; any time if not given.

    Raises:
        NotReproducibleError: the training fails, or takes too long.
    """
    import pandas as pd

    _write_frames(scratch, data)
    spec = recorded.spec
    job = {
        "file": spec.file,
        "function": spec.function,
        "compiled_as": str(root.resolve() / spec.file),
        "params": spec.params,
        "seed": spec.seed,
        "registered": str(recorded.model),
    }
    (scratch / "job.json").write_text(json.dumps(job, indent=2))
    variables = environment_of(os.environ, recorded.circumstances["runtime"], scratch)
    _run(recorded, environment, scratch, variables, seconds)
    return Again(
        json.loads((scratch / "answer.json").read_text()),
        pd.read_feather(scratch / "reproduced.arrow"),
        pd.read_feather(scratch / "registered.arrow"),
        scratch / "model",
    )


def environment_of(
    inherited: Mapping[str, str], runtime: dict[str, Any], scratch: Path
) -> dict[str, str]:
    """The environment variables of the process: threads and hash seed as they were then."""
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(_DROPPED) and name not in VARIABLES
    }
    # As many threads as there were, where this machine would take another number.
    pools = {
        _POOLS[pool["internal_api"]]: str(pool["num_threads"])
        for pool in runtime["thread_pools"]
        if pool.get("internal_api") in _POOLS
    }
    pools["LOKY_MAX_CPU_COUNT"] = str(runtime["cpus"])
    seed = runtime["hash_seed"]
    return {
        **kept,
        **pools,
        **runtime["variables"],
        "PYTHONHASHSEED": "0" if seed is None else str(seed),
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLBACKEND": "agg",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # What the training logs by itself goes nowhere.
        "MLFLOW_TRACKING_URI": f"sqlite:///{scratch / 'mlflow.db'}",
    }


def _write_frames(scratch: Path, data: TrainingData) -> None:
    part: Part = data.train
    for name, values in (
        ("train.X", part.X),
        ("train.y", part.y.to_frame()),
        ("train.groups", None if part.groups is None else part.groups.to_frame()),
        ("train.time", None if part.time is None else part.time.to_frame()),
        ("holdout.X", data.holdout.X),
    ):
        if values is not None:
            _write(scratch / f"{name}.arrow", values)


def _write(path: Path, frame: pd.DataFrame) -> None:
    import pyarrow as pa

    table = pa.Table.from_pandas(frame, preserve_index=False)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _run(
    recorded: Recorded,
    environment: Environment,
    scratch: Path,
    variables: dict[str, str],
    seconds: float | None,
) -> None:
    home, log = scratch / "work", scratch / "output.txt"
    home.mkdir()
    with log.open("wb") as output:
        process = in_spawner(
            lambda: subprocess.Popen(  # noqa: S603  # the environment's own Python
                [environment.python, SCRIPT, scratch, str(os.getpid())],
                cwd=home,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            _failed(recorded, "It takes too long.", None, f"it was ended after {seconds:g} s")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    failure = scratch / "failure.json"
    if failure.exists():
        told = json.loads(failure.read_text())
        if told["registered"]:
            _failed(recorded, "The registered model does not answer.", str(recorded.model),
                    told["message"], "model")  # fmt: skip
        _failed(recorded, "The recorded training fails.", told["where"],
                f"{told['type']}: {told['message']}")  # fmt: skip
    if status != 0 or not (scratch / "answer.json").exists():
        said = log.read_text(errors="replace")[-_SAID:].strip().splitlines()
        why = exit_text(status) + (f"; it said: {said[-1]}" if said else "")
        _failed(recorded, "The process that trains again ended.", None, why)


def _failed(
    recorded: Recorded, what: str, where: str | None, why: str, missing: str = "training"
) -> NoReturn:
    raise NotReproducibleError(
        str(recorded.version),
        missing,
        what,
        where=where,
        why=why,
        next=f"headrace reproduce {recorded.version} --keep DIRECTORY, and look at output.txt there",
    )
