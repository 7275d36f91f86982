"""``headrace run`` as a user types it: order, freshness, failures, crashes, two at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from deltalake import DeltaTable

pytestmark = pytest.mark.slow

Make = Callable[..., Any]

TABLES = ["bronze/readings", "silver/readings", "gold/features", "gold/latest"]
PREDICTIONS = "gold/failure_predictions"


def steps(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {step["step"]: step for step in json.loads(done.stdout)["steps"]}


def rows(root: Path, table: str) -> pd.DataFrame:
    frame: pd.DataFrame = DeltaTable(str(root / "warehouse/main" / table)).to_pandas()
    frame = frame.reindex(sorted(frame.columns), axis=1)
    return frame.sort_values(list(frame.columns)).reset_index(drop=True)


def state(root: Path) -> dict[str, Any]:
    """Everything that must be the same however often a run was interrupted."""
    found: dict[str, Any] = {table: rows(root, table) for table in TABLES}
    predictions = rows(root, PREDICTIONS)
    found[PREDICTIONS] = predictions[["device_id", "hour", "model_version"]]
    found["score"] = predictions.sort_values(["device_id", "hour"])["score"].round(12).tolist()
    found["champion"] = query(root, "SELECT name, alias, version FROM registered_model_aliases")
    found["versions"] = query(root, "SELECT name, version FROM model_versions")
    return found


def query(root: Path, sql: str) -> list[tuple[Any, ...]]:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(root / ".headrace/headrace.db")) as connection:
        return connection.execute(sql).fetchall()


def assert_same(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert left.keys() == right.keys()
    for key, value in left.items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(value, right[key], obj=key)
        else:
            assert value == right[key], key


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, write_project: Make) -> Any:
    small = write_project(tmp_path_factory.mktemp("undisturbed"))
    small.run("run")
    return small


def test_the_second_run_does_nothing(undisturbed: Any) -> None:
    before = state(undisturbed.root)
    versions = {
        t: DeltaTable(str(undisturbed.root / "warehouse/main" / t)).version() for t in TABLES
    }
    again = undisturbed.run("run", "--json")
    assert {step["state"] for step in steps(again).values()} == {"fresh"}
    assert "Nothing to do" in undisturbed.run("run").stdout
    assert_same(before, state(undisturbed.root))
    for table, version in versions.items():
        assert DeltaTable(str(undisturbed.root / "warehouse/main" / table)).version() == version


def test_plan_says_nothing_would_run_and_changes_nothing(undisturbed: Any) -> None:
    facts = json.loads(undisturbed.run("plan", "--json").stdout)
    assert [step["step"] for step in facts["steps"] if step["stale"]] == []
    assert "Everything is fresh" in undisturbed.run("plan").stdout


def test_status_shows_tables_model_endpoint_and_predictions(undisturbed: Any) -> None:
    shown = undisturbed.run("status").stdout
    for name in ("main.bronze.readings", "main.gold.features", "failure", "failure_predictions"):
        assert name in shown
    facts = json.loads(undisturbed.run("status", "--json").stdout)
    assert facts["models"][0]["champion"] == 1
    silver = next(t for t in facts["tables"] if t["name"] == "main.silver.readings")
    (in_range,) = silver["expectations"]
    assert (in_range["action"], in_range["failed"]) == ("drop", 12)
    assert in_range["passed"] == silver["rows"]


def test_new_raw_data_refreshes_what_depends_on_it(make_project: Make) -> None:
    small = make_project()
    small.run("run")
    small.add_raw(5)
    plan = json.loads(small.run("plan", "--json").stdout)
    reasons = {step["step"]: step["reason"] for step in plan["steps"]}
    assert all(step["stale"] for step in plan["steps"] if step["kind"] == "table")
    assert "new file" in reasons["table main.bronze.readings"]
    done = steps(small.run("run", "--json"))
    assert done["table main.bronze.readings"]["rows_written"] == 30 * 96
    assert len(rows(small.root, "bronze/readings")) == 5 * 30 * 96
    assert done["table main.gold.features"]["state"] == "done"


def test_an_edit_refreshes_the_table_and_its_dependants_only(make_project: Make) -> None:
    small = make_project()
    small.run("run")
    small.edit("transformations/latest.sql", "2026-01-04 00:00:00", "2026-01-04 12:00:00")
    done = steps(small.run("run", "--json"))
    states = {name: step["state"] for name, step in done.items()}
    assert states["table main.gold.latest"] == "done"
    assert states["predictions main.gold.failure_predictions"] == "done"
    assert states["table main.gold.features"] == "fresh"
    assert states["model failure"] == "fresh"


def test_a_run_uses_the_projects_store_whatever_mlflow_points_to(
    make_project: Make, tmp_path: Path
) -> None:
    small = make_project(days=2)
    elsewhere = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    small.run("run", MLFLOW_TRACKING_URI=elsewhere, MLFLOW_REGISTRY_URI=elsewhere)
    assert query(small.root, "SELECT alias, version FROM registered_model_aliases") == [
        ("production", 1)
    ]
    assert not (tmp_path / "elsewhere.db").exists()


def test_a_model_is_not_trained_beside_its_lock_unless_that_is_recorded(
    make_project: Make,
) -> None:
    small = make_project(days=2)
    small.write("requirements.txt", "scikit-learn\n")
    small.write("requirements.lock", "# complete\nscikit-learn==0.1\n")
    refused = small.run("run", "failure", "--json", check=False)
    assert refused.returncode == 1
    error = steps(refused)["model failure"]["error"]
    assert error["error_code"] == "environment_drift"
    assert "scikit-learn==0.1 is wanted" in error["why"]
    assert "headrace run --allow-drift" in error["next"]
    small.run("run", "failure", "--allow-drift")
    query_of = "SELECT version, value FROM model_version_tags WHERE key = 'headrace.drift'"
    ((version, drift),) = query(small.root, query_of)
    assert version == 1
    assert "scikit-learn==0.1 is wanted" in drift


def test_a_failed_step_blocks_only_what_needs_it(make_project: Make) -> None:
    small = make_project()
    small.edit(
        "training/failure.py",
        "return make_pipeline",
        "raise ValueError('no luck')\n    return make_pipeline",
    )
    shown = small.run("run", "--json", check=False)
    assert shown.returncode == 1
    done = steps(shown)
    assert done["table main.gold.latest"]["state"] == "done"
    assert done["model failure"]["state"] == "failed"
    assert "no luck" in json.dumps(done["model failure"]["error"])
    assert "training/failure.py" in json.dumps(done["model failure"]["error"])
    assert done["endpoint failure"]["state"] == "blocked"
    assert done["predictions main.gold.failure_predictions"]["state"] == "blocked"
    small.edit("training/failure.py", "raise ValueError('no luck')\n    ", "")
    rerun = steps(small.run("run", "--json"))
    assert rerun["table main.gold.features"]["state"] == "fresh"
    assert rerun["model failure"]["state"] == "done"


def test_a_corrupt_file_among_good_ones_is_named_and_nothing_is_written(make_project: Make) -> None:
    small = make_project(days=3)
    small.run("run", "silver.readings")
    before = DeltaTable(str(small.root / "warehouse/main/bronze/readings")).version()
    small.add_raw(4)
    broken = small.root / "raw/day-05.parquet"
    broken.write_bytes((small.root / "raw/day-04.parquet").read_bytes()[:5000])
    shown = small.run("run", "silver.readings", check=False)
    assert shown.returncode == 1
    assert "day-05.parquet" in shown.stdout + shown.stderr
    assert "Traceback" not in shown.stdout + shown.stderr
    assert DeltaTable(str(small.root / "warehouse/main/bronze/readings")).version() == before
    broken.unlink()
    small.run("run", "silver.readings")
    assert len(rows(small.root, "bronze/readings")) == 4 * 30 * 96


def test_two_runs_at_once_one_is_refused(make_project: Make) -> None:
    small = make_project()
    first = subprocess.Popen(
        [sys.executable, "-m", "headrace", "run"],
        cwd=small.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lock = small.root / ".headrace/run.lock"
    deadline = time.monotonic() + 60
    while not (lock.exists() and "process" in lock.read_text()):
        assert time.monotonic() < deadline, "the first run never took the lock"
        time.sleep(0.05)
    facts = json.loads(small.run("status", "--json").stdout)
    assert f"process {first.pid} " in facts["run_in_progress"]
    second = small.run("run", check=False)
    assert second.returncode == 1
    assert "Another run of this project is in progress" in second.stderr
    assert str(first.pid) in second.stderr
    out, err = first.communicate(timeout=300)
    assert first.returncode == 0, out + err
    assert json.loads(small.run("status", "--json").stdout)["run_in_progress"] is None


#: One in each stage; the packages' own tests go through the others.
CRASH_POINTS = [
    "pipeline.written",
    "pipeline.committed",
    "mlflow-tables",
    "training.logged",
    "build.registered",
    "build.judged",
    "build.promoted",
    "scoring.committed",
]


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_killed_at_a_point_a_rerun_ends_in_the_same_state(
    make_project: Make, undisturbed: Any, point: str
) -> None:
    small = make_project()
    killed = small.run("run", check=False, HEADRACE_CRASH_AT=point)
    assert killed.returncode == 137, killed.stdout + killed.stderr
    assert "was killed" in small.run("status").stdout
    small.run("run")
    assert_same(state(undisturbed.root), state(small.root))


@pytest.mark.parametrize("after", [2.0, 5.0])
def test_killed_at_a_random_moment_a_rerun_ends_in_the_same_state(
    make_project: Make, undisturbed: Any, after: float
) -> None:
    small = make_project()
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace", "run"], cwd=small.root, stdout=subprocess.DEVNULL
    )
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    small.run("run")
    assert_same(state(undisturbed.root), state(small.root))


def test_a_pipe_gets_one_plain_line_a_step(undisturbed: Any) -> None:
    shown = undisturbed.run("run").stdout.splitlines()
    assert [line.split()[0] for line in shown[:7]] == [f"{n}/7" for n in range(1, 8)]
    assert not any("\x1b" in line for line in shown)
