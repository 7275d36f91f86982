"""The whole path on a team's database. MLflow's forty migrations alone take some seconds there."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import psycopg
import pytest
from tests.catalog.conftest import postgresql as postgresql  # the server of the catalog's tests
from tests.modelling import ModelProject, feature_rows

from headrace.promotion import ChampionChangedError, GateSpec, build, promote
from headrace.registry import resolve

MakeModels = Callable[..., ModelProject]

pytestmark = pytest.mark.slow


def test_models_are_built_and_promoted_on_postgresql(
    make_models: MakeModels, postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    monkeypatch.setenv("HEADRACE_DATABASE", f"{postgresql}/{name}")
    project = make_models(rows=feature_rows(600))
    gate = GateSpec(metric="roc_auc", resamples=200)
    weak = build(project.workspace, project.spec(params={"depth": 1, "trees": 1}), gate)
    strong = build(project.workspace, project.spec(params={"depth": 6, "trees": 30}), gate)
    assert (weak.verdict.promoted, strong.verdict.promoted) == (True, True)
    client = project.workspace.mlflow()
    assert int(client.get_model_version_by_alias("failure", "production").version) == 2
    assert resolve(project.workspace, "failure@production").model_id == strong.trained.model_id
    late = strong.verdict.model_copy(update={"id": "verdict_late", "version": 1, "champion": None})
    with pytest.raises(ChampionChangedError):
        promote(project.workspace, late, gate)
    assert not build(
        project.workspace, project.spec(params={"depth": 6, "trees": 30}), gate
    ).changed
