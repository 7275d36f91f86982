from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from tests.modelling import ModelProject

from headrace.tracking.context import SessionContext

if TYPE_CHECKING:
    import pytest

MakeModels = Callable[..., ModelProject]


def test_mlflow_finds_the_provider() -> None:
    (entry,) = [
        each
        for each in entry_points(group="mlflow.run_context_provider")
        if each.name == "headrace"
    ]
    assert entry.load() is SessionContext


def test_outside_a_project_there_are_no_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "headrace.workspace", raising=False)
    assert not SessionContext().in_context()
    assert SessionContext().tags() == {}


def test_a_run_of_a_project_names_it(
    make_models: MakeModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, other = make_models(), make_models()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", project.workspace.tracking_uri)
    assert SessionContext().tags() == {"headrace.project": project.root.name}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other.workspace.tracking_uri)
    assert SessionContext().tags() == {"headrace.project": other.root.name}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////nowhere/else.db")
    assert not SessionContext().in_context()
