"""Scoring on an engine in another process, reached by its address."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.scoring import scoring_freshness

from .conftest import MLFLOW_WARNINGS, Scored, rows
from .engines import CLIENT, serve

pytestmark = [*MLFLOW_WARNINGS, pytest.mark.slow]


@pytest.fixture
def engine_address(tmp_path: Path) -> Iterator[str]:
    """The ``sc://`` address of a server process."""
    with serve(tmp_path) as address:
        yield address


def test_rows_are_scored_by_workers_that_lack_this_package(
    scored: Scored, engine_address: str, tmp_path: Path
) -> None:
    script = tmp_path / "client.py"
    script.write_text(CLIENT)

    def run() -> str:
        root = scored.workspace.paths.root
        environment = os.environ | {
            "HEADRACE_PROJECT": str(root),
            "HEADRACE_ENGINE": engine_address,
        }
        environment.pop("SPARK_REMOTE", None)
        done = subprocess.run(
            [sys.executable, str(script), scored.spec.model_dump_json()],
            env=environment,
            cwd=root,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]

    assert run() == "scored 10 0 overwrite"
    assert scored.predictions()["score"].tolist() == [i * 1.25 for i in range(10)]
    changed = rows(11)
    changed.loc[3, "a"] = 50.0
    scored.write_input(changed)
    assert run() == "scored 2 9 merge"
    assert not scoring_freshness(scored.workspace, scored.spec).stale


GIVEN = """
import os
from pathlib import Path

import pyarrow as pa

from headrace.registry import resolve
from headrace.scoring.sample import score_rows
from headrace.workspace import open_workspace

workspace = open_workspace(Path(os.environ["HEADRACE_PROJECT"]))
rows = pa.table({"a": [3.0, 1.0, 2.0], "b": [0.5, None, 0.25]})
print(score_rows(workspace, resolve(workspace, os.environ["MODEL"]), rows).answers.to_pydict())
workspace.close()
"""


def test_given_rows_keep_their_order(scored: Scored, engine_address: str, tmp_path: Path) -> None:
    script = tmp_path / "given.py"
    script.write_text(GIVEN)
    said = []
    for engine in (engine_address, "sail"):
        root = scored.workspace.paths.root
        wanted = {"HEADRACE_PROJECT": str(root), "HEADRACE_ENGINE": engine, "MODEL": scored.model}
        environment = os.environ | wanted
        environment.pop("SPARK_REMOTE", None)
        done = subprocess.run(
            [sys.executable, str(script)],
            env=environment,
            cwd=root,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.splitlines()[-1])
    assert said[0] == said[1]
    assert said[0].startswith("{'score': [")
