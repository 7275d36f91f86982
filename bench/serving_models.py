"""The two models that are served, trained and registered by a Headrace project.

The peers serve the same fitted models, taken from the project's registry: as joblib, as
LightGBM's text format and as plain MLflow directories.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FEATURES = 16
MODELS = ("forest", "lightgbm")
BODIES = 64  # different requests that a load generator goes through in turn

_PROJECT = """
name: bench-serving
models:
  forest: &model
    train: training/models.py:forest
    table: gold.features
    label: label
    task: classification
    time: at
    exclude: [key]
    key: [key]
    holdout: {last: 20%}
    seed: 7
    gate: {metric: roc_auc, min: {roc_auc: 0.6}, resamples: 200}
  lightgbm:
    <<: *model
    train: training/models.py:lightgbm
endpoints:
  forest: {model: forest@production}
  lightgbm: {model: lightgbm@production}
"""

_TRAINING = """
from lightgbm import LGBMClassifier
from sklearn.ensemble import RandomForestClassifier


def forest(X, y, *, seed):
    return RandomForestClassifier(100, max_depth=12, n_jobs=2, random_state=seed).fit(X, y)


def lightgbm(X, y, *, seed):
    return LGBMClassifier(n_estimators=200, num_leaves=31, random_state=seed, verbose=-1).fit(X, y)
"""


@dataclass(frozen=True)
class Trained:
    """A registered model.

    Attributes:
        name: of the model and of its endpoint.
        files: a directory with ``model.joblib``, ``model.bst``, ``mlflow/`` and ``kernel/``,
            each where it exists.
        columns: names of the features.
        expected: the score of each of ``rows``, by the model itself.
        rows: rows to send.
    """

    name: str
    files: Path
    columns: list[str]
    rows: list[list[float]]
    expected: list[float]


def make_project(folder: Path) -> None:
    """A project with a table of 20,000 rows, its two models trained, gated and deployed."""
    import numpy as np
    import pyarrow as pa

    from headrace import lakehouse
    from headrace.workspace import open_workspace

    shutil.rmtree(folder, ignore_errors=True)
    (folder / "training").mkdir(parents=True)
    (folder / "headrace.yaml").write_text(_PROJECT)
    (folder / "training/models.py").write_text(_TRAINING)
    random = np.random.default_rng(0)
    count = 20_000
    values = random.normal(size=(count, FEATURES))
    signal = values[:, 0] + values[:, 1] * values[:, 2] + 0.5 * random.normal(size=count)
    table = pa.table(
        {f"x{number}": values[:, number] for number in range(FEATURES)}
        | {
            "key": np.arange(count),
            "at": pa.array(np.arange(count) * 1_000_000, pa.timestamp("us", "UTC")),
            "label": signal > 0.5,
        }
    )
    workspace = open_workspace(folder)
    entry = workspace.catalog.create_table("gold.features")
    assert entry.location is not None
    lakehouse.write(entry.location, table)
    workspace.close()
    subprocess.run([sys.executable, "-m", "headrace", "run"], cwd=folder, check=True, timeout=600,
                   stdout=subprocess.DEVNULL)  # fmt: skip


def export(project: Path, name: str, target: Path) -> Trained:
    """Take the production version out of the registry, in the formats that the peers read."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    root = Path(__file__).resolve().parent.parent
    arguments = (project.resolve(), name, target.resolve())
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "bench.serving_models", *map(str, arguments)],
        cwd=root, check=True, timeout=300, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return load_exported(name, target)


def load_exported(name: str, target: Path) -> Trained:
    """What ``export`` has written."""
    said = json.loads((target / "rows.json").read_text())
    return Trained(name, target, said["columns"], said["rows"], said["expected"])


def export_here(project: str, name: str, target: str) -> None:
    """``export`` in a process of its own, which MLflow's import is left to."""
    import joblib
    import numpy as np
    import pandas as pd
    from mlflow.artifacts import download_artifacts

    from headrace.registry import resolve
    from headrace.workspace import open_workspace

    workspace = open_workspace(Path(project))
    import mlflow

    mlflow.set_tracking_uri(workspace.tracking_uri)
    version = resolve(workspace, f"{name}@production")
    directory = Path(download_artifacts(version.model_uri))
    files = Path(target)
    columns = [f"x{number}" for number in range(FEATURES)]
    rows = pd.DataFrame(
        np.random.default_rng(1).normal(size=(1024 + BODIES, FEATURES)).round(6), columns=columns
    )
    if name == "forest":
        model = mlflow.sklearn.load_model(str(directory))
        model.set_params(n_jobs=1)  # a thread pool costs more than it gives for single rows
        joblib.dump(model, files / "model.joblib")
        expected = model.predict_proba(rows)[:, 1]
        _save(files, rows, "sklearn", sk_model=model, pyfunc_predict_fn="predict_proba",
              serialization_format="cloudpickle")  # fmt: skip
    else:
        model = mlflow.lightgbm.load_model(str(directory))
        model.booster_.save_model(str(files / "model.bst"))
        expected = model.predict_proba(rows)[:, 1]
        _save(files, rows, "lightgbm", lgb_model=model.booster_)
    if (directory / "kernel").is_dir():
        shutil.copytree(directory / "kernel", files / "kernel")
    (files / "rows.json").write_text(
        json.dumps(
            {"columns": columns, "rows": rows.values.tolist(), "expected": expected.tolist()}
        )
    )
    workspace.close()


def _save(files: Path, rows: object, flavor: str, **options: object) -> None:
    import importlib

    from mlflow.models import infer_signature

    module = importlib.import_module(f"mlflow.{flavor}")
    module.save_model(
        path=str(files / "mlflow"),
        signature=infer_signature(rows),
        pip_requirements=["mlflow"],
        **options,
    )


if __name__ == "__main__":
    export_here(*sys.argv[1:])
