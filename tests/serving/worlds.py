"""A project with reconcilers and fake models, for tests of what happens without HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.planes import eventually, make_root, unprotect

from headrace.endpoints import EndpointSpec, Rollout, deploy, endpoint_status
from headrace.registry import ModelVersion
from headrace.serving.live import Live, LiveDeployment
from headrace.serving.reconciler import Reconciler
from headrace.workspace import Workspace, open_workspace

from .fakes import Adder, FakeLoader


class World:
    """A project, and reconcilers on it."""

    def __init__(self, root: Path) -> None:
        self.workspace: Workspace = open_workspace(make_root(root).root)
        unprotect(self.workspace)
        self.loader = FakeLoader()
        self.started: list[Reconciler] = []

    def start(self) -> Reconciler:
        made = Reconciler(self.workspace.paths, Live(), self.loader)
        self.started.append(made)
        return made

    def deploy(self, number: int, every: str = "0s", **rollout: Any) -> str:
        version = ModelVersion("model", number, f"m-{number}", None)
        return deploy(self.workspace, self.spec(every=every, **rollout), version).id

    def spec(self, **rollout: Any) -> EndpointSpec:
        return EndpointSpec(
            name="scores",
            model="model@production",
            key=["device"],
            rollout=Rollout.model_validate(rollout),
        )

    def state(self, number: int) -> str:
        statuses = endpoint_status(self.workspace, "scores", history=20).deployments
        return next(s.state for s in statuses if s.version == number)

    def database(self) -> Path:
        return self.workspace.paths.state / "headrace.db"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "project")
    yield made
    for started in made.started:
        started.close()
        if started.store is not None:
            started.store.close()
    made.workspace.close()


def colours(plane: Reconciler) -> set[str]:
    endpoint = plane.live.endpoints.get("scores")
    return set(endpoint.loaded) if endpoint else set()


def adder(deployment: LiveDeployment) -> Adder:
    assert isinstance(deployment.scorer, Adder)
    return deployment.scorer


def ticked(plane: Reconciler) -> bool:
    plane.tick()
    return True


def settle(plane: Reconciler, wanted: set[str]) -> None:
    def tick() -> bool:
        plane.tick()
        return colours(plane) == wanted

    eventually(tick)
