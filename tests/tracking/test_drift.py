"""A training beside a lock: refused where the environment is another one, or on the record."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from tests.modelling import ModelProject, feature_rows

from headrace.environments import Lock, from_environment, lock_of, write_lock
from headrace.registry import register
from headrace.registry.register import _directory
from headrace.tracking import last_trained, train, training_freshness
from headrace.tracking.errors import EnvironmentDriftError

if TYPE_CHECKING:
    from headrace.workspace import Workspace

MakeModels = Callable[..., ModelProject]


def artifact(workspace: Workspace, run_id: str, name: str) -> Path:
    return Path(workspace.mlflow().download_artifacts(run_id, name))


def test_a_run_records_its_lock_and_how_its_environment_differs(make_models: MakeModels) -> None:
    project = make_models(rows=feature_rows(400))
    workspace, spec = project.workspace, project.spec()

    project.write("requirements.txt", "scikit-learn\npandas\n")
    exact = from_environment(project.root)
    six = next(line for line in exact.requirements if line.startswith("six=="))
    hashed = Lock(exact.text.replace(six, f"{six} \\\n    --hash=sha256:{'1' * 64}"))
    write_lock(project.root, hashed)
    trained = train(workspace, spec)
    assert (trained.lock, trained.drift) == (hashed.digest, None)
    tags = register(workspace, spec, trained).tags
    assert tags["headrace.lock"] == hashed.digest
    assert "headrace.drift" not in tags
    assert artifact(workspace, trained.run_id, "requirements.lock").read_text() == hashed.text
    directory = _directory(workspace.mlflow(), trained.model_id)
    assert directory is not None
    assert f"{six} --hash=sha256:{'1' * 64}" in lock_of(directory).lines
    assert not training_freshness(workspace, spec).stale

    write_lock(project.root, Lock(hashed.text.replace(six, "six==0.1")))
    assert training_freshness(workspace, spec).stale
    with pytest.raises(EnvironmentDriftError) as caught:
        train(workspace, spec)
    line = f"six==0.1 is wanted, {metadata.version('six')} is installed"
    assert caught.value.drift[0] == line
    before = last_trained(workspace, spec.name)
    assert before is not None
    assert before.run_id == trained.run_id

    drifted = train(workspace, spec, allow_drift=True)
    assert drifted.drift is not None
    assert drifted.drift.splitlines()[0] == line
    assert register(workspace, spec, drifted).tags["headrace.drift"] == drifted.drift
    assert last_trained(workspace, spec.name) == drifted
    assert workspace.mlflow().get_run(drifted.run_id).data.tags["headrace.drift"] == drifted.drift


def test_without_a_lock_a_version_says_so_and_its_circumstances(models: ModelProject) -> None:
    workspace, spec = models.workspace, models.spec()
    trained = train(workspace, spec)
    assert register(workspace, spec, trained).tags["headrace.lock"] == "none"
    facts = json.loads(artifact(workspace, trained.run_id, "circumstances.json").read_text())
    assert {pool["user_api"] for pool in facts["runtime"]["thread_pools"]} >= {"blas", "openmp"}
    assert facts["runtime"]["cpus"] >= 1
    assert len(facts["rows"]["train"]) == len(facts["rows"]["holdout"]) == 64
    assert facts["rows"]["train"] != facts["rows"]["holdout"]
    answers = pq.read_table(artifact(workspace, trained.run_id, "holdout/predictions.parquet"))
    assert answers.column_names == ["score", "label"]
    assert answers.num_rows == trained.holdout.rows
