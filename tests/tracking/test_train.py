"""Training for real: the engine reads, MLflow keeps, the logged model is loaded again."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.modelling import ModelProject, feature_rows, make_model_project

from headrace import lakehouse
from headrace.environments import differences, lock_of
from headrace.tracking import TrainedModel, last_trained, load_model, store, train
from headrace.tracking.errors import (
    DiskFullError,
    ModelCannotPredictError,
    TrainingFailedError,
    TrainingSourceError,
    UnsupportedModelError,
)
from headrace.tracking.runs import settle

MakeModels = Callable[..., ModelProject]


def rows_of(project: ModelProject) -> pd.DataFrame:
    location = project.workspace.catalog.resolve("gold.features").location
    assert location is not None
    frame: pd.DataFrame = lakehouse.read(location).to_pandas()
    return frame.astype({"noise": "float64", "shake": "float64"})


def artifacts(project: ModelProject, run_id: str) -> Path:
    uri = project.workspace.mlflow().get_run(run_id).info.artifact_uri
    return Path(uri.removeprefix("file://"))


@pytest.fixture(scope="module")
def trained(models: ModelProject) -> TrainedModel:
    return train(models.workspace, models.spec(params={"depth": 4}))


def test_the_run_names_the_data_it_read(models: ModelProject, trained: TrainedModel) -> None:
    run = models.workspace.mlflow().get_run(trained.run_id)
    inputs = {each.tags[0].value: each.dataset for each in run.inputs.dataset_inputs}
    assert set(inputs) == {"train", "holdout"}
    for dataset in inputs.values():
        assert dataset.name == f"main.gold.features@v{trained.table_version}"
        source = json.loads(dataset.source)
        assert source["delta_table_version"] == trained.table_version
        assert Path(source["path"]).is_dir()
        assert mlflow.data.get_source(dataset).to_dict()["path"] == source["path"]
        columns = {
            each["name"]: each["type"] for each in json.loads(dataset.schema)["mlflow_colspec"]
        }
        assert columns == {
            "heat": "double",
            "shake": "double",
            "noise": "double",
            "fails": "boolean",
        }
    rows = [json.loads(each.profile)["num_rows"] for each in inputs.values()]
    assert sum(rows) == 1200
    assert inputs["train"].digest != inputs["holdout"].digest


def test_the_lineage_has_the_read_without_anybody_declaring_it(
    models: ModelProject, trained: TrainedModel
) -> None:
    (operation,) = models.workspace.lineage.operations(run_id=trained.run_id)
    assert (operation.kind, operation.subject) == ("train", "failure")
    (read,) = operation.reads
    assert (read.name, read.version) == ("main.gold.features", trained.table_version)


def test_the_run_keeps_parameters_metrics_and_evidence(
    models: ModelProject, trained: TrainedModel
) -> None:
    run = models.workspace.mlflow().get_run(trained.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["depth"] == "4"
    assert run.data.params["seed"] == "7"
    assert int(run.data.params["train_rows"]) + int(run.data.params["holdout_rows"]) == 1200
    for name in ("average_precision", "roc_auc", "f1", "precision", "recall", "log_loss", "brier"):
        assert run.data.metrics[f"train_{name}"] >= 0
        assert run.data.metrics[f"holdout_{name}"] >= 0
    assert run.data.metrics["holdout_roc_auc"] > 0.85
    assert run.data.metrics["training_seconds"] > 0
    assert run.data.metrics == pytest.approx(trained.metrics)
    assert run.data.tags["headrace.code_digest"] == trained.digests.code
    assert run.data.tags["headrace.environment_digest"] == trained.digests.environment
    assert run.data.tags["headrace.holdout_digest"] == trained.holdout.digest
    assert run.data.tags["headrace.project"] == models.root.name
    assert run.data.tags["headrace.session_id"] == models.workspace.engine.session_id


def test_the_run_keeps_source_environment_importance_and_pictures(
    models: ModelProject, trained: TrainedModel
) -> None:
    home = artifacts(models, trained.run_id)
    assert home.is_relative_to(models.workspace.paths.artifacts)
    with zipfile.ZipFile(io.BytesIO((home / "code" / "training.zip").read_bytes())) as archive:
        assert archive.namelist() == ["training/model.py"]
    assert "scikit-learn==" in (home / "environment.txt").read_text()
    table = pd.read_csv(home / "importance" / "importance.csv")
    assert set(table["feature"]) == {"heat", "shake", "noise"}
    assert table["feature"].iloc[0] == "heat"
    for name in ("importance", "precision_recall", "calibration"):
        with Image.open(home / "plots" / f"{name}.png") as picture:
            assert picture.width > 400
            assert sum(count > 0 for count in picture.convert("L").histogram()) > 20


def test_the_model_carries_the_lock_of_what_it_needs(
    models: ModelProject, trained: TrainedModel
) -> None:
    location = models.workspace.mlflow().get_logged_model(trained.model_id).artifact_location
    lock = lock_of(Path(location.removeprefix("file://")))
    assert lock.complete
    assert differences(lock) == []
    names = {line.split("==")[0] for line in lock.requirements}
    assert {"mlflow", "pandas", "pyarrow", "scikit-learn", "scipy", "skops"} <= names
    assert not names & {"headrace", "pytest", "xgboost-cpu"}


def test_the_model_gives_scores_and_labels_by_its_signature(
    models: ModelProject, trained: TrainedModel
) -> None:
    model = load_model(models.workspace, trained.model_id)
    assert model.metadata.get_input_schema().input_names() == ["heat", "shake", "noise"]
    assert [str(each.type) for each in model.metadata.get_output_schema().inputs] == [
        "DataType.double",
        "DataType.boolean",
    ]
    frame = rows_of(models)
    answer = model.predict(frame[["heat", "shake", "noise"]])
    assert list(answer) == ["score", "label"]
    assert answer["score"].between(0, 1).all()
    assert (answer["label"] == (answer["score"] >= 0.5)).all()


def test_a_seed_makes_the_same_model_from_rows_in_any_order(make_models: MakeModels) -> None:
    rows = feature_rows(600)
    project = make_models(rows=rows)
    first = train(project.workspace, project.spec())
    project.put(rows.take(np.random.default_rng(3).permutation(600)))
    second = train(project.workspace, project.spec())
    other = train(project.workspace, project.spec(seed=8))

    def measured(model: TrainedModel) -> dict[str, float]:
        return {name: value for name, value in model.metrics.items() if "seconds" not in name}

    assert second.table_version == first.table_version + 1
    assert measured(second) == measured(first)
    assert measured(other) != measured(first)


UNREADY = """
import mlflow.pyfunc
import pandas as pd


class Unready(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        X = model_input
        return {answer}


def train(X, y):
    return Unready()
"""
LOCKED = """
import mlflow.pyfunc


class Locked(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        raise RuntimeError("no key")

    def predict(self, context, model_input, params=None):
        return model_input["heat"]


def train(X, y):
    return Locked()
"""
SKLEARN = "from sklearn.{module} import {name}\n\n\ndef train(X, y, *, seed):\n    return {name}({arguments}).fit(X, y)\n"
PIPELINE = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def train(X, y):
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
"""
LGBM = """
import lightgbm


def train(X, y, *, seed):
    return lightgbm.LGBMClassifier(n_estimators=10, random_state=seed, verbose=-1, n_jobs=1).fit(X, y)
"""
LGBM_BOOSTER = """
import lightgbm


def train(X, y, *, seed):
    settings = {"objective": "binary", "verbose": -1, "seed": seed, "num_threads": 1}
    return lightgbm.train(settings, lightgbm.Dataset(X, y), 10)
"""
XGB = """
import xgboost


def train(X, y, *, seed):
    return xgboost.XGBClassifier(n_estimators=10, max_depth=3, random_state=seed, n_jobs=1).fit(X, y)
"""
XGB_BOOSTER = """
import xgboost


def train(X, y, *, seed):
    settings = {"objective": "binary:logistic", "max_depth": 3, "seed": seed, "nthread": 1}
    return xgboost.train(settings, xgboost.DMatrix(X, y), 10)
"""
PYFUNC = """
import mlflow.pyfunc
import numpy as np


class Rule(mlflow.pyfunc.PythonModel):
    def __init__(self, cut):
        self.cut = cut

    def predict(self, context, model_input, params=None):
        return 1 / (1 + np.exp(-(model_input["heat"] - self.cut)))


def train(X, y):
    return Rule(float(X["heat"][y == 1].mean()) / 2)
"""
OWN_CLASS = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from training.steps import Squares


def train(X, y):
    return make_pipeline(Squares(), LogisticRegression(max_iter=500)).fit(X, y)
"""
STEPS = """
from sklearn.base import BaseEstimator, TransformerMixin


class Squares(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X.assign(squared=X["heat"] ** 2)
"""
CLASSIFIERS = {
    "forest": SKLEARN.format(
        module="ensemble",
        name="RandomForestClassifier",
        arguments="10, max_depth=4, random_state=seed",
    ),
    "histogram": SKLEARN.format(
        module="ensemble",
        name="HistGradientBoostingClassifier",
        arguments="max_iter=10, random_state=seed",
    ),
    "margin": SKLEARN.format(module="svm", name="LinearSVC", arguments="random_state=seed"),
    "pipeline": PIPELINE,
    "lightgbm": LGBM,
    "lightgbm booster": LGBM_BOOSTER,
    "xgboost": XGB,
    "xgboost booster": XGB_BOOSTER,
    "pyfunc": PYFUNC,
    "own class": OWN_CLASS,
}


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_classifier_of_each_flavour(models: ModelProject, kind: str) -> None:
    models.write("training/steps.py", STEPS)
    file = f"training/{kind.replace(' ', '_')}.py"
    models.write(file, CLASSIFIERS[kind])
    name = kind.replace(" ", "_")
    made = train(models.workspace, models.spec(name=name, train=f"{file}:train"))
    assert made.metrics["holdout_roc_auc"] > 0.8
    assert ("holdout_log_loss" in made.metrics) is (kind != "margin")
    model = load_model(models.workspace, made.model_id)
    frame = rows_of(models)
    answer = model.predict(frame[["heat", "shake", "noise"]])
    assert list(answer) == ["score", "label"]
    assert answer["score"].dtype == np.float64
    assert 0 < answer["label"].mean() < 0.5
    table = pd.read_csv(artifacts(models, made.run_id) / "importance" / "importance.csv")
    assert table["feature"].iloc[0] == ("shake" if kind == "lightgbm" else "heat")


@pytest.mark.parametrize(
    "text",
    [
        SKLEARN.format(
            module="ensemble",
            name="RandomForestRegressor",
            arguments="10, max_depth=6, random_state=seed",
        ),
        LGBM.replace("LGBMClassifier", "LGBMRegressor").replace("=10", "=40"),
        XGB.replace("XGBClassifier", "XGBRegressor").replace("=10", "=40"),
    ],
    ids=["sklearn", "lightgbm", "xgboost"],
)
def test_a_regression(models: ModelProject, text: str) -> None:
    models.write("training/regression.py", text)
    spec = models.spec(name="wear", label="wear", train="training/regression.py:train")
    made = train(models.workspace, spec)
    assert made.task == "regression"
    assert made.metrics["holdout_r2"] > 0.5
    assert made.metrics["holdout_rmse"] >= made.metrics["holdout_mae"] > 0
    answer = load_model(models.workspace, made.model_id).predict(
        rows_of(models)[["heat", "shake", "noise"]]
    )
    assert list(answer) == ["score"]
    plots = artifacts(models, made.run_id) / "plots"
    assert {path.name for path in plots.iterdir()} == {
        "importance.png",
        "predicted.png",
        "residuals.png",
    }


def test_several_classes_keep_their_names(models: ModelProject) -> None:
    made = train(models.workspace, models.spec(name="grade", label="grade"))
    assert made.task == "multiclass"
    assert made.metrics["holdout_f1"] > 0.5
    answer = load_model(models.workspace, made.model_id).predict(
        rows_of(models)[["heat", "shake", "noise"]]
    )
    assert set(answer["label"]) == {"bad", "fair", "good"}
    assert (artifacts(models, made.run_id) / "plots" / "confusion.png").is_file()


def test_a_threshold_moves_the_labels(models: ModelProject) -> None:
    eager = train(models.workspace, models.spec(name="eager", threshold=0.1))
    shy = train(models.workspace, models.spec(name="shy", threshold=0.9))
    assert eager.metrics["holdout_recall"] > shy.metrics["holdout_recall"]
    assert eager.metrics["holdout_roc_auc"] == shy.metrics["holdout_roc_auc"]


def test_the_function_gets_groups_and_time_if_it_asks(models: ModelProject) -> None:
    models.write(
        "training/asks.py",
        """
        from sklearn.dummy import DummyClassifier


        def train(X, y, *, groups, time, weight):
            assert len(groups) == len(time) == len(X) == len(y)
            assert set(y) == {0, 1} and groups.iloc[0] == "d000" and weight == 3
            return DummyClassifier(strategy="prior").fit(X, y)
        """,
    )
    spec = models.spec(name="asks", train="training/asks.py:train", params={"weight": 3})
    assert train(models.workspace, spec).metrics["holdout_roc_auc"] == 0.5


@pytest.mark.slow
def test_a_model_loads_without_headrace_and_without_the_project(
    models: ModelProject, tmp_path: Path
) -> None:
    models.write("training/steps.py", STEPS)
    models.write("training/own_class.py", OWN_CLASS)
    made = train(models.workspace, models.spec(name="alone", train="training/own_class.py:train"))
    location = models.workspace.mlflow().get_logged_model(made.model_id).artifact_location
    done = models.python(
        f"""
        import os, sys
        os.chdir({str(tmp_path)!r})
        sys.modules["headrace"] = None
        import pandas as pd, mlflow
        model = mlflow.pyfunc.load_model({location!r})
        frame = pd.DataFrame({{"heat": [3.0, -3.0], "shake": 0.0, "noise": 0.0}})
        print(model.predict(frame)["label"].tolist())
        print(type(mlflow.sklearn.load_model({location!r})).__name__)
        """
    )
    assert done.stdout.split("\n")[:2] == ["[True, False]", "Pipeline"], done.stderr


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("def train(X, y):\n    return 1 / 0\n", TrainingFailedError, r"broken\.py:2"),
        ("def train(X, y):\n    return X['hot']\n", TrainingFailedError, "KeyError: 'hot'"),
        ("def train(X, y):\n    return None\n", UnsupportedModelError, "returned a builtins.None"),
        ("import nowhere\ndef train(X, y): ...\n", TrainingSourceError, "No module named"),
        (UNREADY.format(answer="1 / 0"), ModelCannotPredictError, "ZeroDivisionError"),
        (
            UNREADY.format(answer="X['heat'].where(X['heat'] < 1)"),
            ModelCannotPredictError,
            "finite",
        ),
        (UNREADY.format(answer="[0.5]"), ModelCannotPredictError, r"shape \(1,\) for 256"),
        (UNREADY.format(answer="['hot'] * len(X)"), ModelCannotPredictError, "'hot'"),
        (
            UNREADY.format(answer="pd.DataFrame({'score': X['heat'], 'label': 'hot'})"),
            ModelCannotPredictError,
            "gives the label 'hot'; those of the table are False, True",
        ),
        (LOCKED, UnsupportedModelError, "does not load again: RuntimeError: no key"),
    ],
)
def test_a_training_that_fails_leaves_a_failed_run_with_the_reason(
    models: ModelProject, text: str, error: type[Exception], message: str
) -> None:
    models.write("training/broken.py", text)
    spec = models.spec(name="broken", train="training/broken.py:train")
    with pytest.raises(error, match=message):
        train(models.workspace, spec)
    client = models.workspace.mlflow()
    experiment = client.get_experiment_by_name("broken")
    newest = client.search_runs([experiment.experiment_id], max_results=1)[0]
    assert newest.info.status == "FAILED"
    assert "model broken" in newest.data.tags["headrace.error"].lower()
    record = store.last(models.workspace.store, "broken", "failed", newest.info.run_id)
    assert record is not None
    assert record.error == newest.data.tags["headrace.error"]
    assert last_trained(models.workspace, "broken") is None
    assert mlflow.active_run() is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of eight megabytes."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(mount)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a file system")
    yield mount
    # Lazily: MLflow keeps its connections to the database for the life of the process.
    subprocess.run(["umount", "--lazy", str(mount)], check=True)


@pytest.mark.parametrize("left", [60_000, 200_000])
def test_a_full_disk_is_told_and_a_later_training_succeeds(
    small_disk: Path, capfd: pytest.CaptureFixture[str], left: int
) -> None:
    project = make_model_project(small_disk / "project", feature_rows(400))
    try:
        first = train(project.workspace, project.spec())
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * (shutil.disk_usage(small_disk).free - left))
        with pytest.raises(DiskFullError, match="the disk is full"):
            train(project.workspace, project.spec(seed=8))
        assert "Traceback" not in capfd.readouterr().err
        kept = last_trained(project.workspace, "failure")
        assert kept is not None
        assert kept.run_id == first.run_id
        ballast.unlink()
        second = train(project.workspace, project.spec(seed=8))
        client = project.workspace.mlflow()
        experiment = client.get_experiment_by_name("failure")
        runs = client.search_runs([experiment.experiment_id])
        ended = {run.info.run_id: run.info.status for run in runs}
        assert ended[second.run_id] == "FINISHED"
        assert "RUNNING" not in ended.values()
    finally:
        project.workspace.close()


@pytest.mark.slow
def test_skops_is_imported_before_mlflow_where_it_is_needed(make_models: MakeModels) -> None:
    project = make_models(rows=feature_rows(400))
    project.write("training/rule.py", PYFUNC)
    code = """
        import sys
        from pathlib import Path
        from headrace.tracking import TrainingSpec, train
        from headrace.workspace import open_workspace
        train(open_workspace(Path.cwd()), TrainingSpec.model_validate_json({spec!r}))
        order = [name for name in sys.modules if name in ("scipy.special", "skops.io", "mlflow")]
        print(*order)
    """
    forest = project.python(code.format(spec=project.spec().canonical()))
    assert forest.stdout.split() == ["scipy.special", "skops.io", "mlflow"], forest.stderr
    rule = project.spec(name="rule", train="training/rule.py:train")
    assert project.python(code.format(spec=rule.canonical())).stdout.split()[0] == "mlflow"


def test_mlflow_is_left_as_it_was(models: ModelProject, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = "sqlite:////nowhere/else.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", elsewhere)
    train(models.workspace, models.spec(name="quiet"))
    import os

    assert os.environ["MLFLOW_TRACKING_URI"] == elsewhere
    assert mlflow.get_tracking_uri() == elsewhere


TRAIN = """
    from pathlib import Path
    from headrace.tracking import TrainingSpec, train
    from headrace.workspace import open_workspace
    workspace = open_workspace(Path.cwd())
    train(workspace, TrainingSpec.model_validate_json({spec!r}))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "status"),
    [
        ("training.started", "KILLED"),
        ("training.logged", "KILLED"),
        ("training.recorded", "FINISHED"),
    ],
)
def test_a_killed_training_is_settled_by_the_next(
    make_models: MakeModels, point: str, status: str
) -> None:
    project = make_models(rows=feature_rows(400))
    spec = project.spec()
    done = project.python(TRAIN.format(spec=spec.canonical()), HEADRACE_CRASH_AT=point)
    assert done.returncode == 137, done.stderr
    client = project.workspace.mlflow()
    experiment = client.get_experiment_by_name("failure")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "RUNNING"
    killed = settle(project.workspace)
    kept = last_trained(project.workspace, "failure")
    assert client.get_run(run.info.run_id).info.status == status
    if status == "KILLED":
        assert (killed, kept) == ([run.info.run_id], None)
        again = train(project.workspace, spec)
        assert again.run_id != run.info.run_id
    else:
        assert killed == []
        assert kept is not None
        assert kept.run_id == run.info.run_id


def test_a_training_that_is_alive_is_left_alone(make_models: MakeModels) -> None:
    project = make_models(rows=feature_rows(400))
    project.write(
        "training/model.py",
        """
        from pathlib import Path
        from sklearn.dummy import DummyClassifier
        from headrace.tracking.runs import settle
        from headrace.workspace import open_workspace


        def train(X, y):
            assert settle(open_workspace(Path(__file__).parent)) == []
            return DummyClassifier().fit(X, y)
        """,
    )
    made = train(project.workspace, project.spec())
    assert project.workspace.mlflow().get_run(made.run_id).info.status == "FINISHED"
