"""The whole path on a team's database. MLflow's forty migrations alone take some seconds there."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from tests.catalog.conftest import postgresql as postgresql  # the server of the catalog's tests
from tests.modelling import ModelProject, feature_rows
from tests.promotion.conftest import GATE, add_versions, verdict

from headrace.approvals import ApprovalRule, approve, key_file, new_key, signer_of
from headrace.catalog import guards
from headrace.evidence import Keys, verify_chain
from headrace.promotion import (
    ChampionChangedError,
    GateSpec,
    build,
    override,
    promote,
    promote_approved,
    take_away,
    waits_for,
)
from headrace.promotion.records import moves
from headrace.registry import champion, resolve

MakeModels = Callable[..., ModelProject]

pytestmark = pytest.mark.slow


@pytest.fixture
def database(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a database of its own, which the settings name."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    monkeypatch.setenv("HEADRACE_DATABASE", f"{postgresql}/{name}")
    return name


def test_models_are_built_and_promoted_on_postgresql(
    make_models: MakeModels, database: str
) -> None:
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


def test_approvals_overrides_and_races_on_postgresql(
    make_models: MakeModels, database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HEADRACE_USER", "dan")
    monkeypatch.setenv("HEADRACE_KEYS", str(tmp_path / "keys"))
    workspace = make_models(rows=feature_rows(60)).workspace
    add_versions(workspace, 5)
    groups = {"leads": {name: new_key(name)[1] for name in ("ann", "bob")}}
    gate = GATE.model_copy(update={"approvals": ApprovalRule(count=2, group="leads")})
    decided = promote(workspace, verdict(1, None, gate=gate), gate)
    ask = waits_for(workspace, "failure", gate, groups).ask
    for name in ("ann", "bob"):
        approve(workspace.store, ask, name, signer_of(key_file(name)), by=name)
    with ThreadPoolExecutor(4) as pool:
        states = list(
            pool.map(lambda _: promote_approved(workspace, decided, gate, groups).state, range(4))
        )
    assert states == ["promoted"] * 4

    def attempt(version: int) -> int | None:
        try:
            promote(workspace, verdict(version, 1), GATE)
        except ChampionChangedError:
            return None
        return version

    with ThreadPoolExecutor(6) as pool:
        won = {each for each in pool.map(attempt, [2, 3, 4] * 3) if each is not None}
    top = champion(workspace, "failure")
    assert top is not None
    assert won == {top.version}
    assert len(moves(workspace, "failure")) == 2
    override(workspace, resolve(workspace, "failure/5"), reason="a test")
    assert [each.version for each in guards.overrides(workspace.store)] == [5]
    take_away(workspace, "failure", reason="a test")

    def first(version: int) -> int | None:
        try:
            promote(workspace, verdict(version, None), GATE)
        except ChampionChangedError:
            return None
        return version

    # Nobody holds the alias: there is no row to lock.
    with ThreadPoolExecutor(6) as pool:
        won = {each for each in pool.map(first, [1, 2, 3] * 2) if each is not None}
    top = champion(workspace, "failure")
    assert top is not None
    assert won == {top.version}
    assert verify_chain(workspace.store, Keys(workspace.paths).public()).problems == ()
