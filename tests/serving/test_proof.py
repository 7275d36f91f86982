"""The plane loads nothing under a protected alias that did not earn it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from tests.planes import Served, eventually, has_state, row, spec

from headrace.catalog import guards
from headrace.endpoints import EndpointSpec, endpoint_status
from headrace.endpoints.records import EndpointRecord, model_directory
from headrace.evidence import Decision, EvidenceError, Keys, append, digests_of
from headrace.evidence.errors import EvidenceMissingError
from headrace.payloads.errors import ModelNotServableError
from headrace.serving import running_plane
from headrace.serving.live import Live, LiveEndpoint
from headrace.serving.proof import Proof

from .fakes import deployment

if TYPE_CHECKING:
    from headrace.catalog import Store


def files_of(project: Served, kind: str) -> Path:
    found = model_directory(project.workspace.store, project.versions[kind].model_id)
    assert found is not None
    return found


def state(project: Served, kind: str) -> None:
    """Give a version its alias, as an override does."""
    version = project.versions[kind]
    with project.workspace.store.begin() as connection:
        append(
            connection,
            Keys(project.paths),
            Decision(
                "overridden",
                version.name,
                version.version,
                digests_of(files_of(project, kind)),
                {"override": {"reason": "a test"}},
            ),
        )


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deployments get into the database by another way than ``deploy``, which would refuse."""
    module = sys.modules["headrace.endpoints.deploy"]
    monkeypatch.setattr(module, "_prove", lambda *_: None)


@pytest.fixture
def protected(project: Served, tmp_path: Path) -> Served:
    """The project with a protected alias; its models are copies that can be broken."""
    guards.protect(project.workspace.store, ["production"], "tests")
    copies = tmp_path / "models"
    with project.workspace.store.begin() as connection:
        for kind in ("first", "second"):
            copy = copies / kind
            shutil.copytree(files_of(project, kind), copy)
            connection.execute(
                text("UPDATE logged_models SET artifact_location = :to WHERE model_id = :id"),
                {"to": copy.as_uri(), "id": project.versions[kind].model_id},
            )
    return project


@pytest.mark.slow
def test_a_green_that_is_not_proven_never_answers_and_blue_goes_on(
    protected: Served, unchecked: None
) -> None:
    state(protected, "first")
    protected.deploy("first")
    with running_plane(protected.paths) as url:
        client = protected.client(url)
        first = client.score("scores", [row()])
        assert first.status == 200
        state(protected, "second")
        graph = files_of(protected, "second") / "kernel" / "model.onnx"
        graph.write_bytes(graph.read_bytes() + b" ")
        green = protected.deploy("second")
        eventually(lambda: has_state(protected.workspace, green, "failed"))
        reason = next(
            each.reason
            for each in endpoint_status(protected.workspace, "scores", history=9).deployments
            if each.id == green
        )
        assert reason is not None
        assert "changed: kernel/model.onnx" in reason
        again = client.score("scores", [row()])
        assert again.status == 200
        assert again.headers["x-headrace-model-version"] == "1"
        unproven = protected.deploy("third", spec())
        eventually(lambda: has_state(protected.workspace, unproven, "failed"))
        assert client.score("scores", [row()]).status == 200
    # What passed is remembered: a plane whose database is away starts with it.
    for file in protected.paths.state.glob("headrace.db*"):
        file.rename(file.with_name(file.name.replace("headrace", "away")))
    with running_plane(protected.paths) as url:
        assert protected.client(url).score("scores", [row()]).status == 200


@pytest.mark.slow
def test_a_plane_that_starts_anew_looks_again(protected: Served, unchecked: None) -> None:
    state(protected, "first")
    protected.deploy("first")
    with running_plane(protected.paths) as url:
        assert protected.client(url).score("scores", [row()]).status == 200
    with protected.workspace.store.begin() as connection:
        connection.execute(text("DELETE FROM headrace_evidence"))
    with running_plane(protected.paths) as url:
        reply = protected.client(url).score("scores", [row()])
        assert reply.status == 503
        assert b"no signed statement" in reply.body


class World:
    """A proof over a database that can be taken away."""

    def __init__(self, project: Served, model: str = "model@production") -> None:
        self.project = project
        self.store: Store | None = project.workspace.store
        live = Live()
        record = EndpointRecord(EndpointSpec(name="scores", model=model), 1, None)
        live.endpoints = {"scores": LiveEndpoint(record, None, {}, None)}
        self.proof = Proof(project.paths, live, lambda: self.store)

    def passes(self) -> None:
        self.proof(deployment(), files_of(self.project, "first"))


def test_what_the_alias_asks_for(protected: Served) -> None:
    world = World(protected)
    with pytest.raises(EvidenceMissingError):
        world.passes()
    World(protected, "model/1").passes()
    World(protected, "model@canary").passes()
    state(protected, "first")
    world.passes()


class Broken:
    """A database that fails when it is read."""

    def reading(self) -> None:
        raise OperationalError("SELECT", {}, Exception("it is locked"))


@pytest.mark.parametrize("store", [None, Broken()])
def test_without_the_database_what_it_last_said_counts(protected: Served, store: object) -> None:
    world = World(protected)
    world.store = store  # type: ignore[assignment]
    with pytest.raises(EvidenceError):
        world.passes()
    state(protected, "first")
    world.store = protected.workspace.store
    world.passes()
    world.store = store  # type: ignore[assignment]
    world.passes()
    (files_of(protected, "first") / "MLmodel").write_text("other")
    with pytest.raises(EvidenceError, match="changed: MLmodel"):
        world.passes()


def test_an_unprotected_alias_stays_so_without_the_database(protected: Served) -> None:
    guards.protect(protected.workspace.store, [], "tests")
    world = World(protected)
    world.passes()
    world.store = None
    world.passes()
    assert list((protected.paths.state / "evidence").iterdir()) == [
        protected.paths.state / "evidence" / "protected"
    ]


def test_nothing_is_loaded_for_an_endpoint_that_is_gone(protected: Served) -> None:
    proof = Proof(protected.paths, Live(), lambda: None)
    with pytest.raises(ModelNotServableError, match="withdrawn"):
        proof(deployment(), files_of(protected, "first"))
