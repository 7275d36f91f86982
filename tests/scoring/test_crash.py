"""A killed scoring leaves the table readable, and the next one ends in the undisturbed state."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from headrace import lakehouse
from headrace.scoring import score, scoring_freshness

from .conftest import MLFLOW_WARNINGS, Scored, rows

pytestmark = [*MLFLOW_WARNINGS, pytest.mark.slow]

SCRIPT = """
import sys
from headrace.scoring import PredictionSpec, score
from headrace.workspace import open_workspace
spec = PredictionSpec.model_validate_json(sys.argv[1])
score(open_workspace(), spec)
"""


def start(scored: Scored, crash_at: str = "") -> subprocess.Popen[str]:
    root = scored.workspace.paths.root
    script = root / "score_once.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"HEADRACE_PROJECT": str(root), "HEADRACE_CRASH_AT": crash_at}
    environment.pop("SPARK_REMOTE", None)
    return subprocess.Popen(
        [sys.executable, str(script), scored.spec.model_dump_json()],
        env=environment,
        cwd=root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def end(process: subprocess.Popen[str]) -> int:
    output, _ = process.communicate(timeout=180)
    assert process.returncode in (0, 137, -signal.SIGKILL), output
    return process.returncode


def change(scored: Scored) -> None:
    changed = pd.concat([rows(8), rows(3, start=20)])
    changed.loc[changed["id"] == 2, "a"] = 100.0
    scored.write_input(changed)


def staged(scored: Scored) -> list[Path]:
    """Parquet files in the table's directory that no version of it needs."""
    location = Path(str(scored.workspace.catalog.resolve(scored.spec.table).location))
    versions = range(scored.versions())
    known = {file.path for v in versions for file in lakehouse.files(str(location), v)}
    return [path for path in location.rglob("*.parquet") if str(path) not in known]


@pytest.mark.parametrize(
    ("point", "made"),
    [
        ("scoring.begun", False),
        ("scoring.staged", False),
        ("scoring.committed", True),
        ("scoring.recorded", True),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["first", "merge"])
def test_killed_at(scored: Scored, point: str, made: bool, first: bool) -> None:
    if not first:
        score(scored.workspace, scored.spec)
        change(scored)
    commits = 0 if first else 1
    assert end(start(scored, point)) == 137
    if not first:
        # What was there, or what was committed, and nothing in between.
        assert len(scored.predictions()) == (11 if made else 10)
    assert scoring_freshness(scored.workspace, scored.spec).reason == (
        "a scoring is under way, or was interrupted"
    )

    again = score(scored.workspace, scored.spec)

    expected = rows(10) if first else None
    if expected is None:
        expected = pd.concat([rows(8), rows(3, start=20)], ignore_index=True)
        expected.loc[expected["id"] == 2, "a"] = 100.0
    found = scored.predictions()
    assert found["id"].tolist() == expected["id"].tolist()
    assert found["score"].tolist() == (expected["a"] + expected["b"]).tolist()
    assert scored.versions() == commits + 1
    assert again.scored == (0 if made else len(expected) if first else 4)
    assert staged(scored) == []
    producers = scored.workspace.lineage.producers(scored.spec.table, again.version)
    assert [operation.writes[0].version for operation in producers] == list(range(commits, -1, -1))
    assert not scoring_freshness(scored.workspace, scored.spec).stale


def test_killed_while_the_model_predicts(
    scored: Scored, log_model: Callable[..., int], tmp_path: Path
) -> None:
    started = tmp_path / "started"
    expression = (
        f"open({str(started)!r}, 'w').close() or time.sleep(0 if os.path.exists({str(started)!r}"
        " + '.over') else 300) or pd.DataFrame({'score': model_input['a']})"
    )
    score(scored.workspace, scored.spec)
    before = scored.predictions()
    scored.promote(log_model(scored.model, expression))
    process = start(scored)
    deadline = time.monotonic() + 120
    while not started.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    assert end(process) == -signal.SIGKILL
    pd.testing.assert_frame_equal(scored.predictions(), before)

    Path(f"{started}.over").touch()
    done = score(scored.workspace, scored.spec)

    assert (done.scored, done.version) == (10, 1)
    assert scored.predictions()["score"].tolist() == rows(10)["a"].tolist()
    assert staged(scored) == []
