"""How a plan is carried out: what is judged when, and what an error does to the other steps."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.planes import unprotect

from headrace.endpoints import EndpointSpec, deploy, endpoint_names
from headrace.freshness import Freshness
from headrace.project import Desired, Plan, Project, Step, apply, build, open_project
from headrace.project.status import status
from headrace.registry import ModelVersion
from headrace.workspace import Workspace, open_workspace

STALE = Freshness(True, "never")


class Watch:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def started(self, step: Step) -> None:
        self.begun.append(step.name)

    def finished(self, outcome: Any) -> None:
        """Outcomes are in the run."""


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    (tmp_path / "headrace.yaml").write_text("name: x\n")
    opened = open_workspace(tmp_path)
    yield opened
    opened.close()


def serve(workspace: Workspace, *names: str) -> None:
    unprotect(workspace)
    for name in names:
        spec = EndpointSpec(name=name, model="model@production")
        deploy(workspace, spec, ModelVersion("model", 1, "m-1", "run"))


def withdrawal(name: str, needs: tuple[str, ...] = ()) -> Step:
    return Step("withdrawal", name, needs, STALE, True, "never")


def test_an_endpoint_that_left_the_file_is_withdrawn_once(workspace: Workspace) -> None:
    serve(workspace, "kept", "left")
    project = Project.model_validate(
        {"name": "x", "endpoints": {"kept": {"name": "kept", "model": "model@production"}}}
    )
    desired = Desired(workspace, project, None)
    assert [e.name for e in status(workspace, project).endpoints] == ["kept", "left"]
    (step,) = [step for step in build(desired).steps if step.kind == "withdrawal"]
    assert (step.name, step.stale) == ("left", True)
    assert "headrace.yaml no longer has" in step.reason
    plan = Plan("x", (step,))
    assert [outcome.state for outcome in apply(desired, plan, Watch()).outcomes] == ["done"]
    assert endpoint_names(workspace) == ["kept"]
    # As a run would whose plan was made before the first one held the lock.
    late = Watch()
    assert [outcome.state for outcome in apply(desired, plan, late).outcomes] == ["fresh"]
    assert late.begun == []


def test_a_clone_of_a_project_gets_the_schema_for_editors(workspace: Workspace) -> None:
    schema = workspace.paths.state / "headrace.schema.json"
    assert not schema.exists()
    open_project(workspace)
    assert json.loads(schema.read_text())["title"] == "Headrace project"


def test_an_error_that_nobody_foresaw_stops_only_what_needs_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(workspace, "a", "b", "c")
    real: Callable[..., Any] = actions()["withdrawal"]

    def fails_for_a(desired: Desired, name: str, full: bool) -> Any:
        if name == "a":
            raise OSError(5, "Input/output error", "/disk/file")
        return real(desired, name, full)

    monkeypatch.setitem(actions(), "withdrawal", fails_for_a)
    plan = Plan("x", (withdrawal("a"), withdrawal("b", ("withdrawal a",)), withdrawal("c")))
    desired = Desired(workspace, Project(name="x"), None)
    run = apply(desired, plan, Watch())
    assert [outcome.state for outcome in run.outcomes] == ["failed", "blocked", "done"]
    error = run.outcomes[0].error
    assert error is not None
    assert (error.where, error.next) == (
        "/disk/file",
        "headrace run a --debug, for the stack trace",
    )
    assert "fails_for_a" in "".join(traceback.format_exception(error))
    last = status(workspace, desired.project).last_run
    assert last is not None
    assert last.state == "failed"


def actions() -> Any:
    """What is done for each kind of step."""
    import importlib

    return importlib.import_module("headrace.project.apply")._ACTIONS
