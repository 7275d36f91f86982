"""What a build states, where it is used, and that nothing unproven is."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text
from tests.modelling import ModelProject, feature_rows, make_model_project

from headrace.cli import cli
from headrace.endpoints import EndpointSpec, deploy, endpoint_names
from headrace.endpoints.records import model_directory
from headrace.evidence import EvidenceError, Keys, evidence_of, rotate, verify, verify_chain
from headrace.evidence.envelope import peek
from headrace.evidence.errors import (
    BundleExistsError,
    EvidenceMissingError,
    EvidenceRefusedError,
    NoKeyToTrustError,
)
from headrace.promotion import GateSpec, build, override
from headrace.promotion.statement import model_files
from headrace.registry import resolve
from headrace.scoring import PredictionSpec, score

GATE = GateSpec(metric="roc_auc", min={"roc_auc": 0.5}, slices=["model"], resamples=200)
ENDPOINT = EndpointSpec(name="failure", model="failure@production")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelProject]:
    """Version 1 was promoted, version 2 over it, and version 3 refused."""
    project = make_model_project(tmp_path_factory.mktemp("built") / "project", feature_rows(600))
    for params in ({"depth": 1, "trees": 1}, {"depth": 6, "trees": 30}, {"depth": 1, "trees": 2}):
        build(project.workspace, project.spec(params=params), GATE)
    yield project
    project.workspace.close()


@pytest.fixture
def mine(built: ModelProject, tmp_path: Path) -> Iterator[ModelProject]:
    """A copy of it to break, whose addresses lead to its own files."""
    root = tmp_path / "mine"
    shutil.copytree(built.root, root, ignore=shutil.ignore_patterns("headrace.db*"))
    source, target = (each / ".headrace/headrace.db" for each in (built.root, root))
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
        drop_guards(new)
        moved = {"was": str(built.root), "now": str(root)}
        for place in (
            "logged_models.artifact_location",
            "model_versions.storage_location",
            "headrace_entries.location",
        ):
            table, column = place.split(".")
            new.execute(f"UPDATE {table} SET {column} = replace({column}, :was, :now)", moved)
        new.commit()
    project = ModelProject(root)
    yield project
    project.workspace.close()


def drop_guards(connection: sqlite3.Connection) -> None:
    """As someone with the file can; they come back when the project is opened."""
    query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    for (name,) in connection.execute(query).fetchall():
        connection.execute(f"DROP TRIGGER {name}")


def predicate(project: ModelProject, version: int) -> dict[str, Any]:
    newest = evidence_of(project.workspace.store, "failure", version)[0]
    found: dict[str, Any] = peek(newest.envelope)["predicate"]
    return found


def ran(project: ModelProject, *words: str, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.chdir(project.root)
    return CliRunner().invoke(cli, words)


def test_a_promotion_states_what_it_rests_on(built: ModelProject) -> None:
    workspace = built.workspace
    version = resolve(workspace, "failure@production")
    says = predicate(built, 2)
    assert (version.version, says["kind"], says["alias"]) == (2, "promoted", "production")
    assert says["model"] == {
        "name": "failure",
        "version": 2,
        "model_id": version.model_id,
        "run_id": version.run_id,
    }
    first = evidence_of(workspace.store, "failure", 1)[0]
    assert says["champion"]["evidence"] == first.digest
    assert [(each["name"], each["version"]) for each in says["inputs"]] == [
        ("main.gold.features", int(version.tags["headrace.table_version"]))
    ]
    assert says["holdout"]["digest"] == version.tags["headrace.holdout_digest"]
    assert says["holdout"]["rows"] == int(version.tags["headrace.holdout_rows"])
    assert says["rule"]["metric"] == "roc_auc"
    assert says["verdict"]["difference"]["low"] > 0
    assert {each["slice"] for each in says["verdict"]["slices"]} == {"m0", "m1", "m2"}
    assert says["kernel"]["status"] == "proven"
    assert says["environment"]["digest"] == version.tags["headrace.environment_digest"]
    assert says["environment"]["lock"]
    assert (says["environment"]["project_lock"], says["environment"]["drift"]) == ("none", None)
    assert says["code"]["digest"] == version.tags["headrace.code_digest"]
    assert (says["sequence"], says["previous"]) == (2, first.digest)
    assert version.tags["headrace.evidence"] == evidence_of(workspace.store, "failure", 2)[0].digest


def test_every_decision_verifies_and_is_in_the_chain(built: ModelProject) -> None:
    workspace = built.workspace
    public = Keys(workspace.paths).public()
    for number, kind in ((1, "promoted"), (2, "promoted"), (3, "refused")):
        version = resolve(workspace, f"failure/{number}")
        [evidence] = evidence_of(workspace.store, "failure", number)
        with model_files(workspace, version) as directory:
            found = verify(evidence.envelope, public, model=directory)
        assert found.ok, found.problems
        assert found.kind == kind
    chain = verify_chain(workspace.store, public)
    assert chain.ok, chain.problems
    assert chain.length == 3


def test_verify_on_the_command_line(
    built: ModelProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "evidence.json"
    words = ("verify", "failure@production", "--chain", "-o", str(file))
    shown = ran(built, *words, monkeypatch=monkeypatch)
    assert shown.exit_code == 0, shown.output
    for text_ in ("failure/2", "VERIFIED", "none is missing", "follows from its numbers"):
        assert text_ in shown.output
    by_file = ran(built, "verify", str(file), "--chain", "--json", monkeypatch=monkeypatch)
    facts = json.loads(by_file.output)
    assert (facts["verified"], facts["subject"], facts["sequence"]) == (True, "failure/2", 2)
    refused = ran(built, "verify", "failure/3", monkeypatch=monkeypatch)
    assert refused.exit_code == 0
    assert "refused" in refused.output
    alone = ran(built, "verify", "--chain", monkeypatch=monkeypatch)
    assert (alone.exit_code, "3 statements" in alone.output) == (0, True)
    for wrong in (("verify",), ("verify", "--chain", "-o", "x")):
        assert ran(built, *wrong, monkeypatch=monkeypatch).exit_code == 2


def test_a_bundle_is_all_that_another_machine_needs(
    built: ModelProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = tmp_path / "away" / "bundle"
    words = ("verify", "failure@production", "--bundle", str(away))
    assert f"Wrote {away}" in ran(built, *words, monkeypatch=monkeypatch).output
    assert sorted(path.name for path in away.parent.iterdir()) == ["bundle"]
    assert sorted(path.name for path in away.iterdir()) == [
        "evidence.json",
        "model",
        "public-key.pem",
    ]
    again = ran(built, *words, monkeypatch=monkeypatch)
    assert isinstance(again.exception, BundleExistsError)
    monkeypatch.chdir(away)
    check = ("verify", "evidence.json", "--model", "model", "--key", "public-key.pem")
    assert CliRunner().invoke(cli, check).exit_code == 0
    unknown = CliRunner().invoke(cli, check[:4])
    assert isinstance(unknown.exception, NoKeyToTrustError)
    (away / "model" / "MLmodel").unlink()
    assert CliRunner().invoke(cli, check).exit_code == 1


def test_a_file_of_another_chain_is_told(
    built: ModelProject, mine: ModelProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that was kept elsewhere tells that the database was put back."""
    file = tmp_path / "kept.json"
    ran(built, "verify", "failure/3", "-o", str(file), monkeypatch=monkeypatch)
    with mine.workspace.store.begin() as connection:
        connection.execute(text("DELETE FROM headrace_evidence WHERE sequence = 3"))
    shown = ran(mine, "verify", str(file), "--chain", monkeypatch=monkeypatch)
    assert shown.exit_code == 1
    assert "is not in the chain of this project" in shown.output
    assert "NOT VERIFIED" in shown.output


def directory(project: ModelProject, number: int = 2) -> Path:
    version = resolve(project.workspace, f"failure/{number}")
    found = model_directory(project.workspace.store, version.model_id)
    assert found is not None
    assert project.root in found.parents
    return found


def test_a_proven_version_is_deployed_and_scores(mine: ModelProject) -> None:
    version = resolve(mine.workspace, "failure@production")
    assert deploy(mine.workspace, ENDPOINT, version).model_version == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = score(mine.workspace, predictions())
    assert (made.model, made.scored) == ("failure/2", 600)


def predictions(model: str = "failure@production") -> PredictionSpec:
    return PredictionSpec(
        table="gold.predictions", model=model, input="gold.features", key=["device", "at"]
    )


def _swap_kernel(project: ModelProject) -> None:
    graph = directory(project) / "kernel" / "model.onnx"
    graph.write_bytes(graph.read_bytes() + b" ")
    # Batch scoring works with a copy of its own, which is made once.
    shutil.rmtree(project.workspace.paths.temporary / "models", ignore_errors=True)


def _remove_statement(project: ModelProject) -> None:
    with project.workspace.store.begin() as connection:
        connection.execute(text("DELETE FROM headrace_evidence WHERE version = 2"))


def _edit_statement(project: ModelProject) -> None:
    with project.workspace.store.begin() as connection:
        change = "UPDATE headrace_evidence SET envelope = replace(envelope, 'e', 'f')"
        connection.execute(text(change))


def _swap_keys(project: ModelProject) -> None:
    shutil.rmtree(project.workspace.paths.state / "keys")
    Keys(project.workspace.paths).ensure()


def _move_back(project: ModelProject) -> None:
    with closing(sqlite3.connect(project.root / ".headrace/headrace.db")) as connection:
        drop_guards(connection)
        connection.execute("UPDATE registered_model_aliases SET version = 1")
        connection.commit()


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (_swap_kernel, "changed: kernel/model.onnx"),
        (_remove_statement, "no signed statement"),
        (_edit_statement, "envelope: "),
        (_swap_keys, "it is signed by key"),
        (_move_back, "the last statement gives it to 2"),
    ],
)
def test_what_is_not_proven_is_neither_deployed_nor_scored(
    mine: ModelProject,
    damage: Callable[[ModelProject], None],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    damage(mine)
    version = resolve(mine.workspace, "failure@production")
    with pytest.raises(EvidenceError) as caught:
        deploy(mine.workspace, ENDPOINT, version)
    assert why in str(caught.value)
    assert endpoint_names(mine.workspace) == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(EvidenceError) as scored:
            score(mine.workspace, predictions())
    assert why in str(scored.value)
    assert mine.workspace.catalog.find("gold.predictions") is None
    shown = ran(mine, "verify", "failure@production", monkeypatch=monkeypatch)
    assert shown.exit_code == 1


def test_an_unmodified_mlflow_that_loads_the_model_breaks_nothing(mine: ModelProject) -> None:
    """It writes into the directory that the model lies in."""
    code = f"""
        import sys, warnings
        warnings.simplefilter("ignore")
        sys.dont_write_bytecode = False
        import mlflow
        mlflow.set_tracking_uri("{mine.workspace.tracking_uri}")
        mlflow.pyfunc.load_model("models:/failure@production")
    """
    done = mine.python(code, PYTHONDONTWRITEBYTECODE="")
    assert done.returncode == 0, done.stderr
    left = {path.name for path in directory(mine).rglob("*")}
    assert {"registered_model_meta", "__pycache__"} <= left
    version = resolve(mine.workspace, "failure@production")
    assert deploy(mine.workspace, ENDPOINT, version).model_version == 2


def test_a_version_by_its_number_is_not_protected(mine: ModelProject) -> None:
    """Who names a version takes what he names."""
    _swap_kernel(mine)
    pinned = ENDPOINT.model_copy(update={"model": "failure/2"})
    assert deploy(mine.workspace, pinned, resolve(mine.workspace, "failure/2")).model_version == 2


def test_a_version_that_was_never_promoted_has_no_alias_to_be_used_by(mine: ModelProject) -> None:
    with pytest.raises(EvidenceMissingError, match="Version 3 of failure has no evidence"):
        deploy(mine.workspace, ENDPOINT, resolve(mine.workspace, "failure/3"))


def test_an_overridden_version_works_and_says_so(
    mine: ModelProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    override(mine.workspace, resolve(mine.workspace, "failure/3"), reason="2 is on fire", by="ann")
    deploy(mine.workspace, ENDPOINT, resolve(mine.workspace, "failure@production"))
    shown = ran(mine, "verify", "failure@production", monkeypatch=monkeypatch)
    assert shown.exit_code == 0, shown.output
    assert "OVERRIDDEN" in shown.output
    assert "2 is on fire" in shown.output


def test_what_an_earlier_key_signed_goes_on_to_count(mine: ModelProject) -> None:
    keys = Keys(mine.workspace.paths)
    rotate(mine.workspace.store, keys)
    deploy(mine.workspace, ENDPOINT, resolve(mine.workspace, "failure@production"))
    chain = verify_chain(mine.workspace.store, keys.public())
    assert chain.ok, chain.problems


def test_the_files_must_be_there_to_be_stated(mine: ModelProject) -> None:
    from headrace.promotion.errors import ModelNotLoadableError

    shutil.rmtree(directory(mine, 3))
    with pytest.raises(ModelNotLoadableError, match="holds no model"):
        override(mine.workspace, resolve(mine.workspace, "failure/3"), reason="x", by="ann")


_PROMOTE = """
import warnings; warnings.simplefilter("ignore")
import sys
from pathlib import Path
from headrace.promotion import override
from headrace.registry import resolve
from headrace.workspace import open_workspace
workspace = open_workspace(Path(sys.argv[1]))
override(workspace, resolve(workspace, "failure/3"), reason="x", by="ann")
"""


@pytest.mark.parametrize("point", ["override.recorded", "override.moved"])
def test_a_crash_leaves_no_alias_without_its_statement(mine: ModelProject, point: str) -> None:
    mine.workspace.close()
    done = subprocess.run(
        [sys.executable, "-c", _PROMOTE, str(mine.root)],
        env={**os.environ, "HEADRACE_CRASH_AT": point},
        timeout=120,
    )
    assert done.returncode == 137
    assert resolve(mine.workspace, "failure@production").version == 2
    assert verify_chain(mine.workspace.store, Keys(mine.workspace.paths).public()).ok
    with pytest.raises(EvidenceError):
        deploy(mine.workspace, ENDPOINT, resolve(mine.workspace, "failure/3"))


def test_a_refused_error_names_its_problems(mine: ModelProject) -> None:
    _swap_kernel(mine)
    with pytest.raises(EvidenceRefusedError) as caught:
        deploy(mine.workspace, ENDPOINT, resolve(mine.workspace, "failure@production"))
    error = caught.value
    assert (error.model, error.version, error.alias) == ("failure", 2, "production")
    assert error.as_json()["error_code"] == "evidence_refused"
    assert error.next == "headrace verify failure/2"
