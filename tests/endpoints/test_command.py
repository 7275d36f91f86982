"""``headrace endpoints``: what it shows and does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.planes import make_root, unprotect

from headrace.cli import cli
from headrace.cli.endpoints import SharesError
from headrace.endpoints import EndpointSpec, deploy, rollout
from headrace.endpoints.errors import EndpointNotFoundError, NothingToGoBackToError
from headrace.endpoints.rules import Judgement
from headrace.errors import HeadraceError
from headrace.registry import ModelVersion
from headrace.workspace import Workspace, open_workspace


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    root = make_root(tmp_path / "project").root
    monkeypatch.chdir(root)
    opened = open_workspace(root)
    unprotect(opened)
    yield opened
    opened.close()


def go_live(workspace: Workspace, number: int, **settings: Any) -> str:
    spec = EndpointSpec.model_validate(
        {
            "name": "scores",
            "model": "model@production",
            "rollout": {"steps": [10, 100], "every": "1h", **settings},
        }
    )
    deployment = deploy(workspace, spec, ModelVersion("model", number, f"m-{number}", "run"))
    rollout.mark_ready(workspace.store, "scores", deployment.id)
    return deployment.id


def ran(*words: str) -> Result:
    return CliRunner().invoke(cli, ["endpoints", *words], catch_exceptions=True)


def told(*words: str) -> str:
    result = ran(*words)
    assert result.exit_code == 0, result.output
    return result.output


def failed(*words: str) -> HeadraceError:
    error = ran(*words).exception
    assert isinstance(error, HeadraceError)
    return error


def test_without_endpoints_there_is_nothing_to_show(workspace: Workspace) -> None:
    assert "Endpoints: none" in told()


def test_the_table_tells_the_rollout(workspace: Workspace) -> None:
    go_live(workspace, 1)
    go_live(workspace, 2)
    shown = told()
    for words in ("scores", "blue ready", "green ready", "90 %", "10 %", "step 1/2, then 100 % in"):
        assert words in shown
    assert "forward: it answered its smoke request" in shown


def test_one_endpoint_is_shown_with_its_decisions(workspace: Workspace) -> None:
    go_live(workspace, 1)
    second = go_live(workspace, 2)
    bad = Judgement("violated", "error_rate is 100.00% of 5 requests", "violated", 5)
    rollout.go_back(workspace.store, "scores", second, bad)
    shown = told("scores")
    assert "rolled back: error_rate is 100.00% of 5 requests" in shown
    assert "green 10 -> 0 %" in shown
    as_json = json.loads(told("scores", "--json"))
    assert [d["action"] for d in as_json["decisions"]] == ["rollback", "forward", "forward"]
    assert json.loads(told("--json"))["endpoints"][0]["name"] == "scores"


def test_traffic_is_moved_from_the_command_line(workspace: Workspace) -> None:
    go_live(workspace, 1)
    go_live(workspace, 2)
    assert told("pause", "scores") == "scores: the rollout of model/2 is paused\n"
    assert "paused, step 1/2" in told()
    assert told("resume", "scores") == "scores: the rollout of model/2 goes on\n"
    assert told("shift", "scores", "blue=60", "green=40%") == "scores: blue 60 %, green 40 %\n"
    assert told("rollback", "scores") == "scores: blue answers with model/1\n"
    assert json.loads(told("scores", "--json"))["shares"] == {"blue": 100, "green": 0}
    assert isinstance(failed("rollback", "scores"), NothingToGoBackToError)


def test_an_endpoint_may_be_named_as_a_subcommand(workspace: Workspace) -> None:
    error = failed("show", "pause")
    assert isinstance(error, EndpointNotFoundError)
    assert error.name == "pause"


def test_a_wrong_name_is_told(workspace: Workspace) -> None:
    go_live(workspace, 1)
    assert 'did you mean "scores"?' in str(failed("score"))


@pytest.mark.parametrize("share", ["blue", "blue=half", "blue=-5", "blue=1.5"])
def test_unreadable_shares_are_told(workspace: Workspace, share: str) -> None:
    assert isinstance(failed("shift", "scores", share), SharesError)


def test_it_loads_no_model_library(workspace: Workspace) -> None:
    """A rollback must not wait for imports."""
    code = (
        "import sys\n"
        "from headrace.cli.endpoints import command\n"
        "command(['--json'], standalone_mode=False)\n"
        "heavy = {'pandas', 'numpy', 'pyarrow', 'pyspark', 'mlflow', 'deltalake', 'rich'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=workspace.paths.root,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "HEAVY []" in done.stdout
