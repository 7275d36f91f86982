from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from headrace import lakehouse
from headrace.scoring import PredictionSpec, score, scoring_freshness

from .conftest import MLFLOW_WARNINGS, Scored, rows

pytestmark = MLFLOW_WARNINGS


def reason(scored: Scored, spec: PredictionSpec | None = None) -> str | None:
    """Why the table is stale; ``None`` if it is fresh."""
    verdict = scoring_freshness(scored.workspace, spec or scored.spec)
    return verdict.reason if verdict.stale else None


def test_each_cause_of_staleness_is_told_and_goes_away(
    scored: Scored, log_model: Callable[..., int]
) -> None:
    source = f"main.gold.{scored.name}"
    assert reason(scored) == "never scored"
    score(scored.workspace, scored.spec)
    assert reason(scored) is None

    scored.write_input(rows(12))
    assert reason(scored) == f"input {source} moved from version 0 to 1"
    score(scored.workspace, scored.spec)
    assert reason(scored) is None

    scored.promote(log_model(scored.model, "model_input[['a']].rename(columns={'a': 'score'})"))
    moved = f"{scored.model}@production moved from {scored.model}/1 to {scored.model}/2"
    assert reason(scored) == moved
    score(scored.workspace, scored.spec)
    assert reason(scored) is None

    other = scored.spec.model_copy(update={"columns": ["site"]})
    assert "settings" in str(reason(scored, other))


def test_a_write_by_someone_else_is_told_but_upkeep_is_not(scored: Scored) -> None:
    done = score(scored.workspace, scored.spec)
    scored.write_input(rows(2, start=10), mode="append", replace_schema=False)
    score(scored.workspace, scored.spec)
    location = str(scored.workspace.catalog.resolve(scored.spec.table).location)
    lakehouse.compact(location)
    assert lakehouse.latest_version(location) == 2
    assert reason(scored) is None

    lakehouse.write(location, lakehouse.read(location, done.version), mode="overwrite")
    assert str(reason(scored)).startswith(f"version 3 of main.{scored.spec.table} was written by")
    score(scored.workspace, scored.spec)
    assert len(scored.predictions()) == 12


def test_a_dropped_table_is_made_again(scored: Scored) -> None:
    score(scored.workspace, scored.spec)
    scored.workspace.catalog.drop(scored.spec.table)
    assert reason(scored) == f"main.{scored.spec.table} is gone"
    assert score(scored.workspace, scored.spec).scored == 10
    assert reason(scored) is None


def test_an_input_that_was_dropped_and_made_again_is_scored_again(scored: Scored) -> None:
    score(scored.workspace, scored.spec)
    shutil.rmtree(str(scored.workspace.catalog.resolve(scored.spec.input).location))
    scored.write_input(rows(7))
    assert reason(scored) == f"input main.gold.{scored.name} was dropped and made again"
    score(scored.workspace, scored.spec)
    assert len(scored.predictions()) == 7
    assert reason(scored) is None


@pytest.mark.parametrize("full", [False, True])
def test_other_tables_do_not_matter(scored: Scored, full: bool) -> None:
    score(scored.workspace, scored.spec, full=full)
    other = Scored(scored.workspace, f"{scored.name}_other", scored.model)
    other.write_input(rows(3))
    score(other.workspace, other.spec)
    assert reason(scored) is None
    assert reason(other) is None


def test_a_model_that_is_not_there_yet_leaves_its_table_stale(scored: Scored) -> None:
    unborn = scored.spec.model_copy(update={"model": "unborn@production", "table": "gold.unborn"})
    assert reason(scored, unborn) == "never scored"
