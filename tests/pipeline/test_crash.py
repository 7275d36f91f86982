"""A process that is killed at any point of a refresh: running again ends as if nothing happened."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace import lakehouse
from headrace.catalog import TableName
from headrace.pipeline import store
from headrace.pipeline.errors import StreamStateError

from .conftest import EVENTS, Project

POINTS = ["begun", "written", "prepared", "committed", "registered", "recorded"]
TABLES = ["bronze.events", "gold.totals"]

GOLD = """
from pyspark import pipelines as dp
from pyspark.sql import functions as F


@dp.materialized_view(name="gold.totals")
def totals():
    return spark.table("bronze.events").agg(F.sum("value").alias("total"), F.count("*").alias("n"))
"""


def run(project: Project, *arguments: str, crash_at: str = "") -> int:
    """Refresh the project in a process of its own; its exit status."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("run_project.py")), project.root, *arguments],
        env={**os.environ, "HEADRACE_CRASH_AT": crash_at and f"pipeline.{crash_at}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode in (0, 137), done.stderr
    return done.returncode


def facts(project: Project) -> dict[str, Any]:
    """Everything that must not depend on a crash."""
    database, lineage = project.workspace.store, project.workspace.lineage
    found: dict[str, Any] = {}
    for table in TABLES:
        location = project.location(table)
        last = store.last_done(database, f"main.{table}")
        assert last is not None
        ids = last.inputs.pop("ids")
        catalog = project.workspace.catalog
        assert ids == {name: lakehouse.table_id(catalog.location_for(name)) for name in ids}
        found[table] = {
            "known": sorted(ids),
            "rows": project.rows(table),
            "version": lakehouse.latest_version(location),
            "recorded": (last.version, last.rows, last.batch, last.epoch, last.inputs),
            "operations": [
                (each.kind, [read.version for read in each.reads], len(each.files))
                for each in lineage.operations(subject=f"main.{table}")
            ],
            "producers": len(lineage.producers(TableName.parse(table), last.version or 0)),
            "unfinished": store.unfinished(database, f"main.{table}"),
            "files": sorted(
                len(list(directory.rglob("*.parquet")))
                for directory in location.iterdir()
                if directory.name != "_delta_log"
            ),
        }
    files = store.files_read(database, "main.bronze.events", 0)
    found["files read"] = sorted(
        (Path(path).name, file.size, file.batch) for (_, path), file in files.items()
    )
    # Paths hold the project's directory.
    text = json.dumps(found, default=str).replace(str(project.root), "")
    return dict(json.loads(text))


@pytest.fixture
def prepared(make_project: Callable[..., Project]) -> Callable[[str], Project]:
    """Makes projects that have run once and then got a second raw file."""

    def prepare(name: str) -> Project:
        project = make_project(name)
        project.write("transformations/bronze.py", EVENTS)
        project.write("transformations/gold.py", GOLD)
        project.parquet("raw/events/1.parquet", id=[1, 2], value=[1.0, 2.0])
        project.run()
        project.parquet("raw/events/2.parquet", id=[3], value=[3.0])
        return project

    return prepare


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_kill_in_a_streaming_table(prepared: Callable[[str], Project], point: str) -> None:
    undisturbed = prepared("undisturbed")
    undisturbed.run()
    killed = prepared("killed")
    assert run(killed, crash_at=point) == 137
    killed.run()
    assert facts(killed) == facts(undisturbed)
    assert killed.run() == {}


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_kill_in_a_materialized_view(prepared: Callable[[str], Project], point: str) -> None:
    undisturbed = prepared("undisturbed")
    undisturbed.run()
    killed = prepared("killed")
    killed.load().refresh("bronze.events")
    assert run(killed, crash_at=point) == 137
    assert killed.rows("gold.totals") in ([(3.0, 2)], [(6.0, 3)])
    killed.run()
    assert facts(killed) == facts(undisturbed)
    assert killed.run() == {}


@pytest.mark.slow
@pytest.mark.parametrize("point", ["written", "committed"])
def test_kill_in_the_first_refresh(make_project: Callable[..., Project], point: str) -> None:
    projects = []
    for name in ("undisturbed", "killed"):
        project = make_project(name)
        project.write("transformations/bronze.py", EVENTS)
        project.write("transformations/gold.py", GOLD)
        project.parquet("raw/events/1.parquet", id=[1, 2], value=[1.0, 2.0])
        projects.append(project)
    undisturbed, killed = projects
    undisturbed.run()
    assert run(killed, crash_at=point) == 137
    assert killed.workspace.catalog.find("bronze.events") is None
    killed.run()
    assert facts(killed) == facts(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("point", ["written", "committed"])
def test_a_killed_rebuild_is_taken_up_again(prepared: Callable[[str], Project], point: str) -> None:
    project = prepared("killed")
    project.run()
    (project.root / "raw/events/1.parquet").unlink()
    file = project.root / "transformations/bronze.py"
    file.write_text(file.read_text() + "\nextra = 1\n")
    assert run(project, "--full", crash_at=point) == 137
    project.run()
    assert project.rows("bronze.events") == [(3, 3.0)]
    assert project.rows("gold.totals") == [(3.0, 1)]
    assert project.run() == {}


@pytest.mark.slow
def test_killed_again_while_recovering(prepared: Callable[[str], Project]) -> None:
    project = prepared("killed")
    assert run(project, crash_at="committed") == 137
    assert run(project, crash_at="registered") == 137
    assert run(project, crash_at="recorded") == 137
    project.run()
    assert project.column("bronze.events", "id") == [1, 2, 3]
    assert len(project.workspace.lineage.operations(subject="main.bronze.events")) == 2


def test_interrupted_refresh_is_said_so(prepared: Callable[[str], Project]) -> None:
    project = prepared("killed")
    assert run(project, crash_at="written") == 137
    assert project.freshness("bronze.events").reason == "its last refresh was interrupted"
    # Readers see the version before.
    assert project.column("bronze.events", "id") == [1, 2]


def test_database_that_was_lost_is_noticed(prepared: Callable[[str], Project]) -> None:
    project = prepared("lost")
    project.workspace.close()
    shutil.rmtree(project.root / ".headrace")
    with pytest.raises(StreamStateError, match="cannot go on"):
        project.run()
