"""Versions made again in a process of their own."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.modelling import ModelProject, feature_rows

from headrace import environments, lakehouse
from headrace.locks import exclusive
from headrace.registry import ModelVersion, register
from headrace.reproduce import KeepDirectoryError, Reproduction, reproduce
from headrace.reproduce.again import SCRIPT, environment_of
from headrace.tracking import train

from .conftest import artifacts

Make = Callable[..., ModelVersion]

HELPED = """
from training.helper import Doubled


def train(X, y, groups, time, *, seed, depth=3):
    assert len(groups) == len(time) == len(X)
    return Doubled(depth, seed).fit(X, y)
"""

HELPER = """
from sklearn.ensemble import RandomForestClassifier


class Doubled(RandomForestClassifier):
    def __init__(self, depth=3, seed=0):
        super().__init__(n_estimators=30, n_jobs=2)
        self.depth, self.seed = depth, seed

    def fit(self, X, y):
        self.max_depth, self.random_state = self.depth, self.seed
        return super().fit(X, y)
"""

BY_CHANCE = """
import numpy as np
import mlflow
from sklearn.tree import DecisionTreeClassifier


def train(X, y):
    mlflow.log_metric("drawn", 1.0)
    rows = np.random.default_rng().integers(0, len(X), len(X))
    return DecisionTreeClassifier(max_depth=6).fit(X.iloc[rows], y.iloc[rows])
"""

BESIDE = """
from pathlib import Path

from sklearn.linear_model import LogisticRegression


def train(X, y):
    strength = float(Path({path!r}).read_text())
    return LogisticRegression(C=strength).fit(X, y)
"""

WAITS = """
import time
from pathlib import Path

from sklearn.linear_model import LogisticRegression


def train(X, y):
    if not Path({path!r}).exists():
        time.sleep(600)
    return LogisticRegression().fit(X, y)
"""

FLAVORS = {
    "lightgbm": """
from lightgbm import LGBMClassifier


def train(X, y, *, seed):
    return LGBMClassifier(n_estimators=20, random_state=seed, verbose=-1, subsample=0.7).fit(X, y)
""",
    "xgboost": """
from xgboost import XGBRegressor


def train(X, y, *, seed):
    return XGBRegressor(n_estimators=20, random_state=seed, subsample=0.7).fit(X, y)
""",
    "pyfunc": """
import mlflow
import numpy as np
import pandas as pd


class Ranks(mlflow.pyfunc.PythonModel):
    def __init__(self, weights):
        self.weights = weights

    def predict(self, context, model_input, params=None):
        score = 1 / (1 + np.exp(-(model_input.fillna(0).to_numpy() @ self.weights)))
        return pd.DataFrame({"score": score})


def train(X, y, *, seed):
    return Ranks(np.linalg.lstsq(X.fillna(0).to_numpy(), y.to_numpy() * 2.0 - 1, rcond=None)[0])
""",
}


def state(found: Reproduction, name: str) -> str:
    return next(each.state for each in found.findings if each.name == name)


def text(found: Reproduction, name: str) -> str:
    return next(each.text for each in found.findings if each.name == name)


@pytest.mark.slow
def test_a_version_is_made_again_whatever_became_of_code_and_table(
    make_models: Callable[..., ModelProject], tmp_path: Path
) -> None:
    project = make_models(rows=feature_rows(600))
    project.write("training/helper.py", HELPER)
    project.write("training/model.py", HELPED)
    spec = project.spec(params={"depth": 4})
    version = register(project.workspace, spec, train(project.workspace, spec))

    project.write("training/helper.py", "raise ImportError('edited since')\n")
    project.write("training/model.py", "def train(X, y): raise ValueError('edited since')\n")
    location = project.workspace.catalog.location_for("gold.features")
    lakehouse.write(location, feature_rows(300, seed=5), mode="append")
    project.put(feature_rows(700, seed=6))

    kept = tmp_path / "kept"
    found = reproduce(project.workspace, version, keep=kept)
    assert found.verdict == "same", found.reasons
    assert (found.largest, found.labels, found.rows) == (0.0, 0, 150)
    compared = {each.name: each.state for each in found.findings}
    for name in ("train rows", "holdout rows", "code", "environment", "predictions", "metrics"):
        assert compared[name] == "same"
    assert found.interpreter == "running"

    (report,) = (artifacts(project, version) / "reproductions").iterdir()
    told = json.loads(report.read_text())
    assert told["verdict"] == "same"
    assert told["findings"] == found.as_json()["findings"]
    assert version.run_id is not None
    tags = project.workspace.mlflow().get_run(version.run_id).data.tags
    assert tags["headrace.reproduced"].startswith("same at 20")

    assert {"job.json", "output.txt", "code", "model", "train.X.arrow"} <= {
        path.name for path in kept.iterdir()
    }
    assert (kept / "code/training/helper.py").read_text().strip() == HELPER.strip()
    assert not list(project.workspace.paths.temporary.glob("reproduce*"))
    with pytest.raises(KeepDirectoryError):
        reproduce(project.workspace, version, keep=kept)


@pytest.mark.slow
def test_a_training_that_draws_by_chance_comes_out_different(
    make_version: Make, project: ModelProject
) -> None:
    version = make_version("chance", BY_CHANCE)
    command = [sys.executable, "-m", "headrace", "reproduce", str(version), "--json"]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    facts = json.loads(done.stdout)
    assert facts["verdict"] == "different"
    assert facts["largest_difference"] > 0
    states = {each["name"]: each["state"] for each in facts["findings"]}
    assert (states["train rows"], states["code"]) == ("same", "same")
    assert (states["predictions"], states["metrics"]) == ("different", "different")
    assert states["files"] == "note"
    assert "scores differ, the most by" in facts["reasons"][0]


@pytest.mark.slow
def test_what_was_not_recorded_is_not_there(make_version: Make, project: ModelProject) -> None:
    beside = project.write("strength.txt", "0.5")
    version = make_version("beside", BESIDE.format(path=str(beside)))
    beside.unlink()
    found = reproduce(project.workspace, version)
    assert found.verdict == "impossible"
    assert found.exit_code == 2
    assert state(found, "training") == "missing"
    assert "training/beside.py:8" in text(found, "training")
    assert "FileNotFoundError" in text(found, "training")


def test_a_training_that_does_not_end_is_ended(make_version: Make, project: ModelProject) -> None:
    go = project.write("go", "")
    version = make_version("waits", WAITS.format(path=str(go)))
    go.unlink()
    found = reproduce(project.workspace, version, seconds=0.5)
    assert found.verdict == "impossible"
    assert "ended after 0.5 s" in text(found, "training")


@pytest.fixture(scope="module")
def plain(project: ModelProject) -> ModelVersion:
    """A version that nothing was done to."""
    spec = project.spec(name="plain")
    return register(project.workspace, spec, train(project.workspace, spec))


def test_code_that_was_changed_or_lost_is_not_run(
    plain: ModelVersion, project: ModelProject
) -> None:
    archive = artifacts(project, plain) / "code" / "training.zip"
    before = archive.read_bytes()
    try:
        with zipfile.ZipFile(archive, "w") as changed:
            changed.writestr("training/model.py", "raise SystemExit\n")
        found = reproduce(project.workspace, plain)
        assert (found.verdict, state(found, "code")) == ("impossible", "missing")
        assert "not the code that trained it" in text(found, "code")
        archive.unlink()
        found = reproduce(project.workspace, plain)
        assert "code/training.zip of its run is gone" in text(found, "code")
    finally:
        archive.write_bytes(before)


def test_a_registered_model_that_does_not_answer_is_no_failed_training(
    plain: ModelVersion, project: ModelProject
) -> None:
    (model,) = (project.root / ".headrace/artifacts").glob(
        f"*/models/{plain.model_id}/artifacts/model.skops"
    )
    before = model.read_bytes()
    model.write_bytes(before[:-40])
    try:
        found = reproduce(project.workspace, plain)
    finally:
        model.write_bytes(before)
    assert (found.verdict, state(found, "model")) == ("impossible", "missing")
    assert "The registered model does not answer" in text(found, "model")


@pytest.mark.parametrize("name", ["circumstances.json", "holdout/predictions.parquet"])
def test_a_damaged_record_is_named(name: str, plain: ModelVersion, project: ModelProject) -> None:
    path = artifacts(project, plain) / name
    before = path.read_bytes()
    path.write_bytes(before[:-9])
    try:
        found = reproduce(project.workspace, plain)
    finally:
        path.write_bytes(before)
    assert (found.verdict, state(found, "record")) == ("impossible", "missing")
    assert f"{path.name} of its run is damaged" in text(found, "record")


def test_rows_that_are_lost_are_named(plain: ModelVersion, project: ModelProject) -> None:
    location = project.workspace.catalog.location_for("gold.features")
    (file, *_) = (Path(each.path) for each in lakehouse.files(location))
    aside = file.rename(file.with_suffix(".aside"))
    try:
        found = reproduce(project.workspace, plain)
    finally:
        aside.rename(file)
    assert found.verdict == "impossible"
    assert "pinned table version is lost" in text(found, "rows")
    assert file.name in text(found, "rows")
    assert found.next is not None


def test_a_wheel_that_is_nowhere_is_named(
    plain: ModelVersion, project: ModelProject, wheels: Path
) -> None:
    (lock,) = (project.root / ".headrace/artifacts").glob(
        f"*/models/{plain.model_id}/artifacts/{environments.LOCK_FILE}"
    )
    before = lock.read_text()
    try:
        lock.write_text(before + "absent-thing==1.0\n")
        found = reproduce(project.workspace, plain, offline=True)
    finally:
        lock.write_text(before)
    assert (found.verdict, state(found, "environment")) == ("impossible", "missing")
    assert "cannot be installed" in text(found, "environment")


def test_what_a_killed_process_left_is_removed(project: ModelProject) -> None:
    temporary = project.workspace.paths.temporary
    left, used = temporary / "reproduce_left", temporary / "reproduce_used"
    for home in (left, used):
        home.mkdir()
        home.with_name(f"{home.name}.lock").touch()
    version = ModelVersion("plain", 1, "m-" + "0" * 32, None)
    with exclusive(used.with_name(f"{used.name}.lock")):
        reproduce(project.workspace, version)
    assert {path.name for path in temporary.glob("reproduce*")} == {
        "reproduce_used",
        "reproduce_used.lock",
    }
    reproduce(project.workspace, version)
    assert not list(temporary.glob("reproduce*"))


def test_a_model_of_another_origin_has_no_record(project: ModelProject) -> None:
    version = ModelVersion("plain", 1, "m-" + "0" * 32, None)
    found = reproduce(project.workspace, version)
    assert (found.verdict, state(found, "record")) == ("impossible", "missing")


def test_a_name_that_leads_nowhere_is_no_verdict(project: ModelProject) -> None:
    command = [sys.executable, "-m", "headrace", "reproduce", "nothing/1"]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "There is no registered model nothing" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("flavor", FLAVORS)
def test_each_flavour_is_made_again(flavor: str, make_version: Make, project: ModelProject) -> None:
    changes = {"label": "wear"} if flavor == "xgboost" else {}
    found = reproduce(project.workspace, make_version(flavor, FLAVORS[flavor], **changes))
    assert found.verdict == "same", found.reasons
    assert state(found, "predictions") == "same"


def test_threads_and_hash_seed_are_those_of_the_training(tmp_path: Path) -> None:
    inherited = {
        "HOME": "/home/one", "PYTHONPATH": "/elsewhere", "PYTHONHASHSEED": "7",
        "OMP_NUM_THREADS": "64", "MLFLOW_TRACKING_URI": "sqlite:///theirs", "HEADRACE_USER": "one",
    }  # fmt: skip
    runtime = {
        "cpus": 3,
        "hash_seed": 11,
        "variables": {"OMP_WAIT_POLICY": "PASSIVE"},
        "thread_pools": [
            {"internal_api": "openblas", "num_threads": 2},
            {"internal_api": "openmp", "num_threads": 3},
        ],
    }
    found = environment_of(inherited, runtime, tmp_path)
    assert found["OMP_NUM_THREADS"] == "3"
    assert found["OPENBLAS_NUM_THREADS"] == "2"
    assert found["LOKY_MAX_CPU_COUNT"] == "3"
    assert found["OMP_WAIT_POLICY"] == "PASSIVE"
    assert found["PYTHONHASHSEED"] == "11"
    assert found["HOME"] == "/home/one"
    assert str(tmp_path) in found["MLFLOW_TRACKING_URI"]
    assert not {"PYTHONPATH", "HEADRACE_USER"} & found.keys()
    chance = environment_of(inherited, {**runtime, "hash_seed": None}, tmp_path)
    assert chance["PYTHONHASHSEED"] == "0"


def test_the_process_imports_nothing_of_headrace() -> None:
    tree = ast.parse(SCRIPT.read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [x.name for x in node.names]
        )
    }
    assert "headrace" not in imported
    assert imported - set(sys.stdlib_module_names) == {
        "cloudpickle", "joblib", "mlflow", "pyarrow", "threadpoolctl", "yaml",
    }  # fmt: skip


TINY = """
import tiny
from sklearn.linear_model import LogisticRegression


def train(X, y):
    assert tiny.VERSION == "1.0"
    return LogisticRegression().fit(X, y)
"""


@pytest.mark.slow
def test_an_environment_that_is_not_here_is_built(
    make_models: Callable[..., ModelProject],
    make_wheel: Callable[..., Path],
    wheels: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wheel = make_wheel("tiny", "1.0")
    project = make_models(rows=feature_rows(400))
    project.write("training/model.py", TINY)
    project.write("requirements.txt", "tiny\n")
    installed = tmp_path / "installed"
    shutil.unpack_archive(wheel, installed, "zip")
    with monkeypatch.context() as patched:
        patched.syspath_prepend(str(installed))
        spec = project.spec()
        version = register(project.workspace, spec, train(project.workspace, spec))
    sys.modules.pop("tiny", None)
    # Everything but the one wheel comes from the index that uv is set up with here.
    monkeypatch.undo()
    monkeypatch.setenv("HEADRACE_ENVIRONMENTS", str(tmp_path / "environments"))
    found = reproduce(project.workspace, version, wheels=wheels)
    if found.verdict == "impossible" and "tiny" not in text(found, "environment"):
        pytest.skip(f"NOT TESTED: uv reaches no index here: {text(found, 'environment')}")
    assert found.verdict == "same", found.reasons
    assert found.interpreter == "built"
