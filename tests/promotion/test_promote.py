"""Moving the alias: one transaction, compared and set. Versions are rows; no model is loaded."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from tests.modelling import ModelProject, feature_rows, put_alias
from tests.promotion.conftest import GATE, add_versions, verdict

from headrace.promotion import ChampionChangedError, Verdict, last_verdict, promote, take_away
from headrace.promotion.store import alias_moves, verdicts
from headrace.registry import champion

if TYPE_CHECKING:
    from headrace.workspace import Workspace

MakeModels = Callable[..., ModelProject]


@pytest.fixture
def workspace(make_models: MakeModels) -> Workspace:
    """A project whose model ``failure`` has four versions and no champion."""
    workspace = make_models(rows=feature_rows(60)).workspace
    add_versions(workspace, 4)
    return workspace


def alias(workspace: Workspace, name: str = "production") -> int:
    client = MlflowClient(workspace.tracking_uri, workspace.tracking_uri)
    return int(client.get_model_version_by_alias("failure", name).version)


def rows(workspace: Workspace) -> tuple[int, int]:
    """How many verdicts and how many moves are recorded."""
    with workspace.store.reading() as connection:
        counts = [
            connection.scalar(select(func.count()).select_from(each))
            for each in (verdicts, alias_moves)
        ]
    return int(counts[0] or 0), int(counts[1] or 0)


def test_mlflow_sees_the_alias_its_tags_and_the_next_move(workspace: Workspace) -> None:
    promote(workspace, verdict(1, None), GATE)
    assert alias(workspace) == 1
    promote(workspace, verdict(2, 1), GATE)
    assert alias(workspace) == 2
    seen = workspace.mlflow().get_model_version("failure", "2")
    assert seen.aliases == ["production"]
    assert seen.tags["headrace.verdict"] == "promoted"
    assert seen.tags["headrace.verdict_summary"] == (
        "version 2 promoted: average_precision 0.7, "
        "+0.2 (95 % interval +0.1 to +0.3) over version 1"
    )
    with workspace.store.reading() as connection:
        moves = connection.execute(select(alias_moves).order_by(alias_moves.c.sequence)).all()
    assert [(move.from_version, move.to_version) for move in moves] == [(None, 1), (1, 2)]
    assert rows(workspace) == (2, 2)


def test_a_refused_candidate_keeps_its_version_with_the_reasons(workspace: Workspace) -> None:
    promote(workspace, verdict(1, None), GATE)
    refused = verdict(2, 1, promoted=False)
    promote(workspace, refused, GATE)
    assert alias(workspace) == 1
    seen = workspace.mlflow().get_model_version("failure", "2")
    assert seen.tags["headrace.verdict"] == "refused"
    assert "recall 0.2 is below 0.5" in seen.tags["headrace.verdict_summary"]
    kept = last_verdict(workspace, "failure", 2)
    assert kept is not None
    assert kept.as_json() == refused.as_json()
    assert rows(workspace) == (2, 1)


def test_a_verdict_is_carried_out_once(workspace: Workspace) -> None:
    first = verdict(1, None)
    promote(workspace, first, GATE)
    promote(workspace, verdict(2, 1), GATE)
    promote(workspace, first, GATE)
    assert alias(workspace) == 2
    assert rows(workspace) == (2, 2)


@pytest.mark.parametrize("promoted", [True, False])
def test_a_champion_that_changed_meanwhile_is_noticed(workspace: Workspace, promoted: bool) -> None:
    promote(workspace, verdict(1, None), GATE)
    put_alias(workspace, "failure", 3)
    with pytest.raises(ChampionChangedError, match="compared with version 1; now it is version 3"):
        promote(workspace, verdict(2, 1, promoted=promoted), GATE)
    assert alias(workspace) == 3
    assert last_verdict(workspace, "failure", 2) is None
    assert rows(workspace) == (1, 2)


def test_an_alias_that_appeared_or_went_is_noticed(workspace: Workspace) -> None:
    promote(workspace, verdict(1, None), GATE)
    with pytest.raises(ChampionChangedError, match="compared with no version"):
        promote(workspace, verdict(2, None), GATE)
    take_away(workspace, "failure", reason="a test")
    with pytest.raises(ChampionChangedError, match="now it is no version"):
        promote(workspace, verdict(2, 1), GATE)
    assert champion(workspace, "failure") is None


def test_the_version_in_production_can_be_judged_again(workspace: Workspace) -> None:
    promote(workspace, verdict(1, None), GATE)
    promote(workspace, verdict(1, None, promoted=False), GATE)
    assert alias(workspace) == 1
    assert rows(workspace) == (2, 1)


def test_aliases_are_apart(workspace: Workspace) -> None:
    promote(workspace, verdict(1, None), GATE)
    promote(workspace, verdict(2, None), GATE, alias="staging")
    assert (alias(workspace), alias(workspace, "staging")) == (1, 2)


def test_of_many_at_once_one_wins(workspace: Workspace) -> None:
    promote(workspace, verdict(1, None), GATE)
    candidates = [verdict(2 + number % 3, 1) for number in range(9)]

    def attempt(each: Verdict) -> int | None:
        try:
            promote(workspace, each, GATE)
        except ChampionChangedError:
            return None
        return each.version

    with ThreadPoolExecutor(9) as pool:
        outcomes = [each for each in pool.map(attempt, candidates) if each is not None]
    # Others of the winning version are recorded beside it; none moves the alias again.
    assert set(outcomes) == {alias(workspace)}
    assert rows(workspace)[1] == 2


def test_nothing_is_kept_of_a_promotion_that_fails_half_way(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OperationalError("INSERT", {}, Exception("database or disk is full"))

    monkeypatch.setattr(sys.modules["headrace.promotion.promote"], "_move", full)
    with pytest.raises(OperationalError):
        promote(workspace, verdict(1, None), GATE)
    assert rows(workspace) == (0, 0)
    assert champion(workspace, "failure") is None
    assert "headrace.verdict" not in workspace.mlflow().get_model_version("failure", "1").tags
