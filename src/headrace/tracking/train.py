"""Training in a run that writes its own record."""

from __future__ import annotations

import hashlib
import importlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace import clock
from headrace.crash import crash_point
from headrace.environments import NO_LOCK, PROJECT_LOCK
from headrace.errors import HeadraceError, is_disk_full
from headrace.ids import new_id
from headrace.tracking import environment, store
from headrace.tracking.answers import Recorder, does_not_load, sample
from headrace.tracking.code import (
    GitState,
    Source,
    accepted,
    git_state,
    read_source,
    training_function,
    user_frame,
)
from headrace.tracking.data import Source as Table
from headrace.tracking.data import TrainingData, pin, prepare
from headrace.tracking.errors import (
    DiskFullError,
    TrainingFailedError,
)
from headrace.tracking.evaluation import check_labels, measure, predicted, scores
from headrace.tracking.flavor import Logged, log_model
from headrace.tracking.holdout import freeze
from headrace.tracking.importance import Importance, importance
from headrace.tracking.inputs import dataset_inputs, rows_digest
from headrace.tracking.mlflow_store import experiment_id, load_model, on_store
from headrace.tracking.runs import alive, settle, settle_finished
from headrace.tracking.runtime import runtime, steady
from headrace.tracking.store import HoldoutRecord, TrainingRecord

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

    from headrace.tracking.spec import TrainingSpec
    from headrace.workspace import Workspace


@dataclass(frozen=True)
class Digests:
    """Sha256 of what a model was made of."""

    spec: str
    code: str
    environment: str


@dataclass(frozen=True)
class TrainedModel:
    """A finished training.

    Attributes:
        name: registered model name.
        run_id: the MLflow run.
        model_id, model_uri: the logged model, immutable.
        task: ``binary``, ``multiclass`` or ``regression``.
        table, table_version: the rows it was made from.
        metrics: by name, with the prefixes ``train_`` and ``holdout_``.
        holdout: the frozen hold-out.
        digests: of spec, code and environment.
        seconds: time in the training function.
        lock: sha256 of the project's lock that the environment was held against, or ``none``.
        drift: how the environment differed from that lock, a line each; ``None``: it did not.
    """

    name: str
    run_id: str
    model_id: str
    model_uri: str
    task: str
    table: str
    table_version: int
    metrics: dict[str, float]
    holdout: HoldoutRecord
    digests: Digests
    seconds: float
    lock: str = NO_LOCK
    drift: str | None = None


@dataclass(frozen=True)
class _Job:
    workspace: Workspace
    spec: TrainingSpec
    table: Table
    source: Source
    installed: environment.Installed
    git: GitState | None
    client: MlflowClient
    run_id: str

    @property
    def root(self) -> Path:
        return self.workspace.paths.root


@dataclass(frozen=True)
class _Fitted:
    model: object
    logged: Logged
    predict: Callable[[pd.DataFrame], pd.DataFrame]
    seconds: float


def train(
    workspace: Workspace, spec: TrainingSpec, *, allow_drift: bool | None = None
) -> TrainedModel:
    """Train a model on the current version of its table, in an MLflow run of its own.

    The run holds the data it read as MLflow inputs, parameters, metrics on both parts,
    importance, pictures, the source, the environment, and the model with its signature. What is
    wrong with the spec or the table's columns is found before a run is made; a training that
    fails leaves a failed run with the reason, one that is killed a run that the next training
    marks as killed.

    Args:
        workspace: the project.
        spec: what to train.
        allow_drift: train also where the environment is not the project's lock, and record how
            it differs; ``HEADRACE_ALLOW_DRIFT`` if not given.

    Raises:
        EnvironmentDriftError: the environment is not the project's lock.
        TrainingError: a subclass says what is wrong with the data, the source or the model.
        TableNotFoundError: there is no such table.
    """
    table = pin(workspace, spec)
    source = read_source(workspace.paths.root, spec)
    installed = environment.allowed(workspace.paths.root, spec.name, allow_drift)
    _import_skops(source)
    settle(workspace)
    workspace.spark()  # before the run, whose tags name the session
    with on_store(workspace) as client, _run(workspace, spec, table, source, installed) as run_id:
        git = git_state(workspace.paths.root)
        job = _Job(workspace, spec, table, source, installed, git, client, run_id)
        data = prepare(_read(job), spec, table)
        _log_inputs(job, data)
        with training_function(workspace.paths.root, spec) as function:
            fitted = _fit(job, data, function)
        metrics = _evaluate(job, data, fitted)
        crash_point("training.logged")
        frozen = freeze(workspace, spec, table, data)
        _tag(job, data, frozen)
        store.finish(
            workspace.store,
            run_id,
            status="finished",
            task=data.task,
            model_id=fitted.logged.model_id,
            holdout_digest=frozen.digest,
            train_rows=len(data.train.y),
            seconds=fitted.seconds,
            metrics=metrics,
            finished_at=clock.now(),
        )
        crash_point("training.recorded")
    trained = last_trained(workspace, spec.name)
    assert trained is not None  # noqa: S101  # finished above
    return trained


def _import_skops(source: Source) -> None:
    """Import what scikit-learn models are saved with, in the order that is fast.

    While skops is imported it looks for each of SciPy's functions in all modules there are, in
    their order: after MLflow, and with SciPy last, that takes two to four seconds longer.
    """
    if any("sklearn" in text for text in source.files.values()):
        importlib.import_module("scipy.special")
        importlib.import_module("skops.io")


def last_trained(workspace: Workspace, name: str) -> TrainedModel | None:
    """The last finished training of a model, also one whose process was killed afterwards."""
    record = store.last(workspace.store, name)
    if record is None or record.model_id is None or record.holdout_digest is None:
        return None
    settle_finished(workspace, record.run_id)
    frozen = store.holdout(workspace.store, record.holdout_digest)
    assert frozen is not None  # noqa: S101  # kept before the training was finished
    tags = workspace.mlflow().get_run(record.run_id).data.tags
    return TrainedModel(
        name=name,
        run_id=record.run_id,
        model_id=record.model_id,
        model_uri=f"models:/{record.model_id}",
        task=str(record.task),
        table=record.table_name,
        table_version=record.table_version,
        metrics=record.metrics or {},
        holdout=frozen,
        digests=Digests(record.spec_digest, record.code_digest, record.environment_digest),
        seconds=record.seconds or 0.0,
        lock=tags.get("headrace.lock", NO_LOCK),
        drift=tags.get("headrace.drift"),
    )


@contextmanager
def _run(
    workspace: Workspace,
    spec: TrainingSpec,
    table: Table,
    source: Source,
    installed: environment.Installed,
) -> Iterator[str]:
    """An MLflow run with its record; both end as what happened inside.

    Raises:
        DiskFullError: no space was left, for the run's files or for its record.
    """
    cause: BaseException | None = None
    try:
        with _mlflow_run(workspace, spec) as run_id, alive(workspace.paths, run_id):
            store.start(
                workspace.store,
                TrainingRecord(
                    run_id=run_id,
                    model=spec.name,
                    status="running",
                    spec=spec.canonical(),
                    spec_digest=spec.digest,
                    code_digest=source.digest,
                    environment_digest=installed.digest,
                    table_name=table.name,
                    table_version=table.version,
                    started_at=clock.now(),
                ),
            )
            crash_point("training.started")
            try:
                yield run_id
            except BaseException as error:
                cause = error
                _failed(workspace, run_id, error)
                raise
    except Exception as error:
        # What failed inside tells more than that its run could not be ended after it; the next
        # training ends that run.
        first = error if cause is None else cause
        if is_disk_full(first) or is_disk_full(error):
            raise DiskFullError(spec.name, str(workspace.paths.root), first) from error
        raise first  # noqa: B904  # itself, or what it hides


@contextmanager
def _mlflow_run(workspace: Workspace, spec: TrainingSpec) -> Iterator[str]:
    import mlflow

    nested = mlflow.active_run() is not None
    experiment = experiment_id(workspace, spec.name)
    name = new_id(spec.name)[:-12]
    with mlflow.start_run(experiment_id=experiment, run_name=name, nested=nested) as run:
        yield run.info.run_id


def _failed(workspace: Workspace, run_id: str, error: BaseException) -> None:
    import mlflow

    reason = str(error) if isinstance(error, HeadraceError) else repr(error)
    mlflow.set_tag("headrace.error", reason[:4000])
    store.finish(workspace.store, run_id, status="failed", error=reason, finished_at=clock.now())


def _read(job: _Job) -> Any:
    """The rows as an Arrow table, through the engine so that the lineage knows."""
    spark = job.workspace.spark()
    with job.workspace.engine.recording(kind="train", subject=job.spec.name, run_id=job.run_id):
        reader = spark.read.option("versionAsOf", str(job.table.version))
        quoted = [f"`{name}`" for name in job.table.columns]
        return reader.table(job.table.name).select(*quoted).toArrow()


def _log_inputs(job: _Job, data: TrainingData) -> None:
    """Datasets and parameters, before anything can fail in the user's code."""
    from mlflow.entities import Param

    job.client.log_inputs(job.run_id, dataset_inputs(job.table, data, job.spec.label))
    values: dict[str, object] = {
        **{str(name): value for name, value in job.spec.params.items()},
        "seed": job.spec.seed,
        "train_rows": len(data.train.y),
        "holdout_rows": len(data.holdout.y),
        "features": len(data.train.X.columns),
        "holdout_rule": str(job.spec.holdout),
    }
    params = [Param(name, str(value)[:6000]) for name, value in values.items()]
    job.client.log_batch(job.run_id, params=params)


def _fit(job: _Job, data: TrainingData, function: Callable[..., Any]) -> _Fitted:
    """Train, log the model, and load what was logged: that is what gets measured."""
    spec, part = job.spec, data.train
    offered = {"groups": part.groups, "time": part.time, **spec.params, "seed": spec.seed}
    started = time.perf_counter()
    try:
        model = function(part.X.copy(), part.y.copy(), **accepted(function, offered))
    except Exception as error:
        where = user_frame(error, job.root) or spec.train
        raise TrainingFailedError(spec.name, where, error) from error
    seconds = time.perf_counter() - started
    requirements = environment.requirements(job.root, environment.libraries(model))
    recorder = Recorder(model, sample(data.holdout.X, spec.seed), spec.name, spec.train)
    logged = log_model(
        model,
        spec,
        data.task,
        data.labels,
        part.X,
        requirements,
        recorder,
        lock=None if job.installed.check is None else job.installed.check.lock,
    )
    try:
        loaded = load_model(job.workspace, logged.model_id)
    except Exception as error:
        raise does_not_load(spec.name, spec.train, error) from error

    def predict(rows: pd.DataFrame) -> pd.DataFrame:
        answer: pd.DataFrame = predicted(loaded.predict, rows, spec.name, spec.train)
        scores(answer["score"], len(rows), spec.name, spec.train)
        if data.labels is not None:
            check_labels(answer["label"], data.labels, spec.name, spec.train)
        return answer

    return _Fitted(model, logged, predict, seconds)


def _evaluate(job: _Job, data: TrainingData, fitted: _Fitted) -> dict[str, float]:
    """Metrics, importance, pictures and files of the run."""
    from mlflow.entities import Metric

    with steady():
        on_holdout = fitted.predict(data.holdout.X)
    metrics = {"training_seconds": fitted.seconds}
    for prefix, part, predictions in (
        ("train", data.train, fitted.predict(data.train.X)),
        ("holdout", data.holdout, on_holdout),
    ):
        found = measure(data.task, part.y, predictions, data.labels)
        metrics |= {f"{prefix}_{name}": value for name, value in found.items()}
    matters = importance(
        fitted.model, fitted.predict, data.holdout, data.task, data.labels, job.spec.seed
    )
    now = clock.now()
    job.client.log_batch(
        job.run_id,
        metrics=[
            Metric(name, value, int(now.timestamp() * 1000), 0, fitted.logged.model_id)
            for name, value in metrics.items()
        ],
    )
    _log_files(job, data, on_holdout, matters)
    return metrics


def _log_files(
    job: _Job, data: TrainingData, on_holdout: pd.DataFrame, matters: Importance
) -> None:
    import tempfile

    from headrace.tracking import plots

    with tempfile.TemporaryDirectory(dir=job.workspace.paths.temporary) as scratch:
        home = Path(scratch)
        for name in ("importance", "plots", "code"):
            (home / name).mkdir()
        matters.table.to_csv(home / "importance" / "importance.csv", index=False)
        matters.table.to_json(home / "importance" / "importance.json", orient="records")
        plots.draw(
            home / "plots",
            data.task,
            data.holdout.y,
            on_holdout,
            data.labels,
            matters,
            job.spec.name,
        )
        (home / "code" / "training.zip").write_bytes(job.source.bundle())
        (home / "environment.txt").write_text(job.installed.text)
        _write_circumstances(job, home, data, on_holdout)
        spec = json.dumps(json.loads(job.spec.canonical()), indent=2)
        (home / "training.json").write_text(spec + "\n")
        job.client.log_artifacts(job.run_id, scratch)


def _write_circumstances(
    job: _Job, home: Path, data: TrainingData, on_holdout: pd.DataFrame
) -> None:
    """What another process needs to do the same, and to tell whether it did."""
    check = job.installed.check
    if check is not None:
        (home / PROJECT_LOCK).write_text(check.lock.text)
    if check is not None and not check.ok:
        (home / "drift.txt").write_text("\n".join(check.lines) + "\n")
    (home / "holdout").mkdir()
    on_holdout.to_parquet(home / "holdout" / "predictions.parquet", index=False)
    facts = {
        "runtime": runtime(),
        "rows": {
            "train": rows_digest(data.train, job.spec.label),
            "holdout": rows_digest(data.holdout, job.spec.label),
        },
        "code": hashlib.sha256(job.source.bundle()).hexdigest(),
        "headrace": metadata.version("headrace"),
    }
    (home / "circumstances.json").write_text(json.dumps(facts, indent=2) + "\n")


def _tag(job: _Job, data: TrainingData, frozen: HoldoutRecord) -> None:
    from mlflow.entities import RunTag

    tags = {
        "headrace.model": job.spec.name,
        "headrace.task": data.task,
        "headrace.table": job.table.name,
        "headrace.table_version": str(job.table.version),
        "headrace.spec_digest": job.spec.digest,
        "headrace.code_digest": job.source.digest,
        "headrace.environment_digest": job.installed.digest,
        "headrace.lock": job.installed.lock,
        "headrace.holdout_digest": frozen.digest,
        "headrace.holdout_rows": str(frozen.rows),
    }
    if job.installed.drift is not None:
        tags["headrace.drift"] = job.installed.drift
    if job.git is not None:
        tags["headrace.git_commit"] = job.git.commit
        tags["headrace.git_dirty"] = str(job.git.dirty).lower()
        tags["mlflow.source.git.commit"] = job.git.commit
    job.client.log_batch(job.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
