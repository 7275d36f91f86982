"""The process that trains again: the recorded code on the recorded rows, and nothing of Headrace.

Run as a script with the Python of the version's own environment. ``mlflow``, ``pandas`` and
``pyarrow`` are all it needs beside what the training itself imports.

    process.py DIRECTORY PARENT

It reads ``job.json``, the frames and ``code/`` below the directory, and writes ``answer.json``,
``reproduced.arrow`` and ``registered.arrow`` (what the model that was trained now and the one
that is registered say of the hold-out) and ``model/`` (the files of the model). A training that
fails leaves ``failure.json`` and exit status 3.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # this directory, whose modules are named like others

import importlib
import importlib.util
import inspect
import json
import os
import platform
import shutil
import signal
import time
import traceback
from importlib import metadata
from pathlib import Path
from typing import Any

#: Under this name the training function was loaded; pickled classes of its file carry it.
MODULE = "headrace_training_source"
PR_SET_PDEATHSIG = 1
#: What MLflow writes about a model, beside the model itself.
ABOUT = ("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt")
#: What any model of the version is loaded with. All else in its directory is the model itself.
ALONG = (*ABOUT, "headrace.json", "code")
FAILED = 3


class RegisteredFailsError(Exception):
    """The registered model does not answer, though one that was trained again does."""


def main() -> None:
    """Do what ``job.json`` says."""
    home = Path(sys.argv[1])
    die_with(int(sys.argv[2]))
    job = json.loads((home / "job.json").read_text())
    try:
        if any("sklearn" in path.read_text() for path in (home / "code").rglob("*.py")):
            # In the order in which they are fast to import, see tracking/train.py.
            importlib.import_module("scipy.special")
            importlib.import_module("skops.io")
        importlib.import_module("mlflow")
        model, seconds = trained(home, job)
        saved(home, job, model)
        answer = {"seconds": seconds, **circumstances()}
    except Exception as error:  # noqa: BLE001  # user code: whatever it is, it is told
        tell_failure(home, error)
        sys.exit(FAILED)
    partial = home / "answer.json.partial"
    partial.write_text(json.dumps(answer, indent=2))
    partial.replace(home / "answer.json")


def die_with(parent: int) -> None:
    """End this process when its parent ends, however that happens."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def trained(home: Path, job: dict[str, Any]) -> tuple[Any, float]:
    """The model, and the seconds in the training function, which gets what it got then."""
    features, label = frame(home / "train.X.arrow"), series(home / "train.y.arrow")
    offered = {
        "groups": series(home / "train.groups.arrow"),
        "time": series(home / "train.time.arrow"),
        **job["params"],
        "seed": job["seed"],
    }
    function = training_function(home / "code", job)
    parameters = inspect.signature(function).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        names = {parameter.name for parameter in parameters}
        offered = {name: value for name, value in offered.items() if name in names}
    started = time.perf_counter()
    model = function(features.copy(), label.copy(), **offered)
    return model, time.perf_counter() - started


def training_function(root: Path, job: dict[str, Any]) -> Any:
    """The recorded function; the modules that were recorded with it can be imported."""
    import cloudpickle  # type: ignore[import-untyped,unused-ignore]

    path = root / job["file"]
    # The file's directory comes last: training/xgboost.py must not hide the package.
    sys.path[:] = [str(root), *sys.path, str(path.parent)]
    found = importlib.util.spec_from_file_location(MODULE, path)
    assert found is not None  # noqa: S101  # a .py file always has a loader
    module = importlib.util.module_from_spec(found)
    sys.modules[MODULE] = module
    # Compiled under the path that it had: it is part of what a pickled function holds.
    exec(compile(path.read_bytes(), job["compiled_as"], "exec"), module.__dict__)  # noqa: S102
    for local in [*sys.modules.values()]:
        if str(getattr(local, "__file__", None) or "").startswith(str(root) + os.sep):
            cloudpickle.register_pickle_by_value(local)
    return getattr(module, job["function"])


def saved(home: Path, job: dict[str, Any], model: Any) -> None:
    """Save the model as the registered one was saved, and ask both about the hold-out."""
    registered, again = Path(job["registered"]), home / "model"
    flavors = model_file(registered)["flavors"]
    alone = home / "alone"
    save(model, flavors, alone)
    again.mkdir()
    for place in ALONG:
        if (registered / place).is_dir():
            shutil.copytree(registered / place, again / place)
        elif (registered / place).exists():
            shutil.copyfile(registered / place, again / place)
    for path in sorted(alone.rglob("*")):
        written = path.relative_to(alone)
        if path.is_file() and str(written) not in ABOUT:
            (again / written).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, again / written)
    rows = frame(home / "holdout.X.arrow")
    write(home / "reproduced.arrow", predictions(again, rows))
    try:
        write(home / "registered.arrow", predictions(registered, rows))
    except Exception as error:
        raise RegisteredFailsError(f"{type(error).__name__}: {error}") from error


def save(model: Any, flavors: dict[str, Any], target: Path) -> None:
    """MLflow's own files of a model, by the flavour of the registered one."""
    # Requirements that are given are not inferred, which takes half a minute.
    common = {"path": str(target), "pip_requirements": ["mlflow"]}
    if "lightgbm" in flavors:
        library = importlib.import_module("mlflow.lightgbm")
        library.save_model(lgb_model=model, **common)
    elif "xgboost" in flavors:
        library = importlib.import_module("mlflow.xgboost")
        library.save_model(xgb_model=model, **common)
    elif "sklearn" in flavors:
        library = importlib.import_module("mlflow.sklearn")
        then = flavors["sklearn"]
        options = {"serialization_format": then["serialization_format"]}
        if then.get("skops_trusted_types"):
            options["skops_trusted_types"] = then["skops_trusted_types"]
        library.save_model(sk_model=model, **options, **common)
    else:
        library = importlib.import_module("mlflow.pyfunc")
        library.save_model(python_model=model, **common)


def predictions(directory: Path, rows: Any) -> Any:
    """What a saved model says of rows, on one thread: sums depend on who is done first."""
    import mlflow.pyfunc
    from joblib import parallel_config  # type: ignore[import-untyped,unused-ignore]

    with parallel_config(backend="sequential"):
        return mlflow.pyfunc.load_model(str(directory)).predict(rows.copy())


def model_file(directory: Path) -> dict[str, Any]:
    """What MLflow wrote about a model."""
    import yaml

    told: dict[str, Any] = yaml.safe_load((directory / "MLmodel").read_text())
    return told


def frame(path: Path) -> Any:
    """A frame as it was written."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all().to_pandas()


def series(path: Path) -> Any:
    """The only column of a frame; ``None`` where there is no file."""
    return frame(path).iloc[:, 0] if path.exists() else None


def write(path: Path, answers: Any) -> None:
    """Write a frame."""
    import pyarrow as pa

    table = pa.Table.from_pandas(answers, preserve_index=False)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def circumstances() -> dict[str, Any]:
    """Python, libraries and threads, as ``tracking/runtime.py`` tells them."""
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped,unused-ignore]

    names = ("user_api", "internal_api", "version", "num_threads", "architecture")
    pools = [
        {key: pool[key] for key in names if pool.get(key) is not None} for pool in threadpool_info()
    ]
    cpus = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return {
        "python": platform.python_version(),
        "cpus": cpus,
        "thread_pools": sorted(pools, key=str),
        "libraries": {
            name: metadata.version(name)
            for name in ("mlflow", "numpy", "pandas", "pyarrow", "scikit-learn")
            if importlib.util.find_spec(name.replace("scikit-learn", "sklearn"))
        },
    }


def tell_failure(home: Path, error: Exception) -> None:
    """The error, and the deepest line of the recorded code that it came through."""
    code = str(home / "code") + os.sep
    known = {json.loads((home / "job.json").read_text())["compiled_as"]}
    where = None
    for step in traceback.extract_tb(error.__traceback__):
        if step.filename.startswith(code) or step.filename in known:
            where = f"{step.filename.removeprefix(code)}:{step.lineno}"
    lines = str(error).strip().splitlines() or [""]
    told = {
        "registered": isinstance(error, RegisteredFailsError),
        "type": type(error).__name__,
        "message": lines[0][:500],
        "where": where,
    }
    (home / "failure.json").write_text(json.dumps(told))
    traceback.print_exc()


if __name__ == "__main__":
    main()
