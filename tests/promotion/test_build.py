"""From spec to verdict, undisturbed and killed at every point."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from tests.modelling import ModelProject, feature_rows, put_alias

from headrace.evidence.errors import EvidenceRefusedError
from headrace.promotion import GateSpec, build, build_freshness, judge
from headrace.promotion.errors import FilesChangedError, ModelNotLoadableError
from headrace.promotion.store import alias_moves, verdicts
from headrace.registry import champion, versions

MakeModels = Callable[..., ModelProject]

GATE = GateSpec(metric="roc_auc", min={"roc_auc": 0.5}, resamples=200)


def state(project: ModelProject) -> dict[str, Any]:
    """What a person sees: versions, aliases, verdicts, moves, and how the runs ended."""
    workspace = project.workspace
    client = workspace.mlflow()
    experiment = client.get_experiment_by_name("failure")
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    top = champion(workspace, "failure")
    with workspace.store.reading() as connection:
        judged = connection.execute(
            select(verdicts.c.version, verdicts.c.champion, verdicts.c.promoted).order_by(
                verdicts.c.sequence
            )
        )
        moved = connection.execute(
            select(alias_moves.c.from_version, alias_moves.c.to_version).order_by(
                alias_moves.c.sequence
            )
        )
        return {
            "versions": [each.version for each in versions(workspace, "failure")],
            "tags": [each.tags.get("headrace.verdict") for each in versions(workspace, "failure")],
            "champion": None if top is None else top.version,
            "verdicts": [tuple(row) for row in judged],
            "moves": [tuple(row) for row in moved],
            "finished": sum(run.info.status == "FINISHED" for run in runs),
            "running": sum(run.info.status == "RUNNING" for run in runs),
        }


def test_a_build_does_what_is_due_and_then_nothing(make_models: MakeModels) -> None:
    project = make_models(rows=feature_rows(600))
    workspace, weak = project.workspace, project.spec(params={"depth": 1, "trees": 1})
    assert build_freshness(workspace, weak, GATE).reason == "never trained"
    first = build(workspace, weak, GATE)
    assert (first.changed, first.verdict.promoted, first.version.version) == (True, True, 1)
    again = build(workspace, weak, GATE)
    assert not again.changed
    assert again.verdict.id == first.verdict.id
    assert not build_freshness(workspace, weak, GATE).stale

    strong = project.spec(params={"depth": 6, "trees": 30})
    assert build_freshness(workspace, strong, GATE).reason == "settings changed: params"
    better = build(workspace, strong, GATE)
    assert (better.verdict.promoted, better.verdict.champion) == (True, 1)
    worse = build(workspace, weak, GATE)
    assert (worse.verdict.promoted, worse.version.version) == (False, 3)
    assert state(project) == {
        "versions": [3, 2, 1],
        "tags": ["refused", "promoted", "promoted"],
        "champion": 2,
        "verdicts": [(1, None, True), (2, 1, True), (3, 2, False)],
        "moves": [(None, 1), (1, 2)],
        "finished": 3,
        "running": 0,
    }


def test_full_trains_again(make_models: MakeModels) -> None:
    project = make_models(rows=feature_rows(400))
    one = build(project.workspace, project.spec(), GATE)
    two = build(project.workspace, project.spec(), GATE, full=True)
    assert (one.version.version, two.version.version) == (1, 2)
    assert not two.verdict.promoted


def test_another_gate_judges_the_same_version_again(make_models: MakeModels) -> None:
    project = make_models(rows=feature_rows(400))
    build(project.workspace, project.spec(), GATE)
    strict = GATE.model_copy(update={"min": {"roc_auc": 0.999}})
    assert build_freshness(project.workspace, project.spec(), strict).reason == (
        "version 1: the gate changed"
    )
    result = build(project.workspace, project.spec(), strict)
    assert (result.version.version, result.verdict.promoted) == (1, False)
    found = state(project)
    assert (found["champion"], found["moves"]) == (1, [(None, 1)])


def test_files_that_change_while_the_gate_runs_are_not_stated(
    make_models: MakeModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_models(rows=feature_rows(400))
    # The package has a function of that name.
    module = sys.modules["headrace.promotion.build"]
    asked = judge

    def slow(*arguments: Any) -> Any:
        found = asked(*arguments)
        (file,) = project.workspace.paths.artifacts.rglob("MLmodel")
        file.write_text(file.read_text() + "# swapped")
        return found

    monkeypatch.setattr(module, "judge", slow)
    with pytest.raises(FilesChangedError, match="changed while the gate ran") as caught:
        build(project.workspace, project.spec(), GATE)
    assert caught.value.names == ["MLmodel"]
    found = state(project)
    assert (found["champion"], found["verdicts"]) == (None, [])
    monkeypatch.undo()
    (file,) = project.workspace.paths.artifacts.rglob("MLmodel")
    link = file.with_name("linked")
    link.symlink_to("/etc/passwd")
    with pytest.raises(ModelNotLoadableError, match="linked is a link"):
        build(project.workspace, project.spec(), GATE)
    link.unlink()


def test_a_champion_that_was_damaged_is_not_beaten(make_models: MakeModels) -> None:
    project = make_models(rows=feature_rows(400))
    build(project.workspace, project.spec(), GATE)
    (file,) = project.workspace.paths.artifacts.rglob("MLmodel")
    file.write_text(file.read_text() + "# damaged")
    with pytest.raises(EvidenceRefusedError, match="version 1") as refused:
        build(project.workspace, project.spec(), GATE, full=True)
    assert "changed: MLmodel" in str(refused.value.why)


def test_a_roll_back_by_hand_is_left_alone(make_models: MakeModels) -> None:
    project = make_models(rows=feature_rows(600))
    build(project.workspace, project.spec(params={"depth": 1, "trees": 1}), GATE)
    better = project.spec(params={"depth": 6, "trees": 30})
    build(project.workspace, better, GATE)
    put_alias(project.workspace, "failure", 1)
    assert not build(project.workspace, better, GATE).changed
    assert state(project)["champion"] == 1


def test_a_champion_that_changes_while_the_gate_runs_is_compared_again(
    make_models: MakeModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_models(rows=feature_rows(600))
    build(project.workspace, project.spec(params={"depth": 1, "trees": 1}), GATE)
    build(project.workspace, project.spec(params={"depth": 1, "trees": 2}), GATE, full=True)
    put_alias(project.workspace, "failure", 1)
    moved: list[str] = []

    def meanwhile(point: str) -> None:
        if point == "build.judged" and not moved:
            moved.append(point)
            put_alias(project.workspace, "failure", 2)

    monkeypatch.setattr(sys.modules["headrace.promotion.build"], "crash_point", meanwhile)
    result = build(project.workspace, project.spec(params={"depth": 6, "trees": 30}), GATE)
    assert moved
    assert (result.verdict.champion, result.verdict.promoted) == (2, True)


BUILD = """
    from pathlib import Path
    from headrace.promotion import GateSpec, build
    from headrace.tracking import TrainingSpec
    from headrace.workspace import open_workspace

    spec = TrainingSpec.model_validate_json({spec!r})
    gate = GateSpec.model_validate_json({gate!r})
    build(open_workspace(Path.cwd()), spec, gate)
"""
POINTS = [
    "training.started",
    "training.logged",
    "training.recorded",
    "build.trained",
    "build.registered",
    "build.judged",
    "build.promoted",
]


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_killed_build_is_finished_by_the_next(make_models: MakeModels, point: str) -> None:
    project = make_models(rows=feature_rows(400))
    build(project.workspace, project.spec(params={"depth": 1, "trees": 1}), GATE)
    spec = project.spec(params={"depth": 6, "trees": 30})
    code = BUILD.format(spec=spec.canonical(), gate=GATE.model_dump_json())
    done = project.python(code, HEADRACE_CRASH_AT=point)
    assert done.returncode == 137, done.stderr
    result = build(project.workspace, spec, GATE)
    assert result.changed is (point != "build.promoted")
    assert state(project) == {
        "versions": [2, 1],
        "tags": ["promoted", "promoted"],
        "champion": 2,
        "verdicts": [(1, None, True), (2, 1, True)],
        "moves": [(None, 1), (1, 2)],
        "finished": 2,
        "running": 0,
    }
    assert not build(project.workspace, spec, GATE).changed
