"""The command line itself: help, errors, exit codes, and what it does not load."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from headrace.cli import COMMANDS
from headrace.cli.errors import report

Make = Callable[..., Any]


def headrace(*words: str, cwd: Path, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headrace", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        **kwargs,
    )


def test_help_names_every_command(tmp_path: Path) -> None:
    shown = headrace("--help", cwd=tmp_path)
    assert shown.returncode == 0
    for name, text in COMMANDS.items():
        assert name in shown.stdout
        assert text[:30] in shown.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(tmp_path: Path, name: str) -> None:
    shown = headrace(name, "--help", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "Usage: headrace" in shown.stdout


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['headrace', '--help']\n"
        "from headrace.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'pandas', 'numpy', 'pyarrow', 'pyspark', 'mlflow', 'sqlalchemy', 'pydantic',"
        " 'deltalake', 'rich', 'yaml'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert "HEAVY []" in shown.stdout


def test_openmp_threads_do_not_spin_while_they_wait(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['headrace', '--help']\n"
        "from headrace.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "import sklearn.utils._openmp_helpers"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment | {"OMP_DISPLAY_ENV": "TRUE"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in shown.stderr


def test_no_garbage_is_looked_for_at_the_end(tmp_path: Path) -> None:
    code = (
        "import atexit, gc, sys; sys.argv = ['headrace', '--help']\n"
        "atexit.register(lambda: print('TRACKED', len(gc.get_objects())))\n"
        "from headrace.cli import main; main()"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    tracked = int(shown.stdout.rpartition("TRACKED")[2])
    assert tracked < 1000


def test_a_reader_that_went_away_gets_no_stack_trace(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "headrace", "--help"],
            cwd=tmp_path,
            stdout=gone,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_mistyped_command_gets_a_suggestion(tmp_path: Path) -> None:
    shown = headrace("pln", cwd=tmp_path)
    assert shown.returncode == 2
    assert 'did you mean "plan"?' in shown.stderr


def test_outside_a_project_the_error_says_what_to_type(tmp_path: Path) -> None:
    for command in ("plan", "run", "status", "score", "up"):
        shown = headrace(command, cwd=tmp_path)
        assert shown.returncode == 1
        assert "headrace init" in shown.stderr
        assert "Traceback" not in shown.stderr


def test_debug_shows_the_stack_trace(tmp_path: Path) -> None:
    assert "Traceback" in headrace("plan", "--debug", cwd=tmp_path).stderr


def test_init_writes_a_project_with_a_private_token(tmp_path: Path) -> None:
    shown = headrace("init", "mine", "--json", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    facts = json.loads(shown.stdout)
    assert "headrace.yaml" in facts["files"]
    token = tmp_path / "mine/.headrace/token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert len(token.read_text().strip()) >= 32
    assert (tmp_path / "mine/.headrace/headrace.schema.json").exists()
    again = headrace("init", "mine", cwd=tmp_path)
    assert again.returncode == 1
    assert "already holds a project" in again.stderr


def test_an_unknown_template_is_refused(tmp_path: Path) -> None:
    shown = headrace("init", "mine", "--template", "device-helth", cwd=tmp_path)
    assert shown.returncode == 1
    assert 'did you mean "device-health"?' in shown.stderr
    assert not (tmp_path / "mine").exists()


def test_conf_needs_an_equals_sign(make_project: Make) -> None:
    shown = make_project(days=0).run("plan", "--conf", "raw", check=False)
    assert shown.returncode == 1
    assert "KEY=VALUE" in shown.stderr


def test_malformed_yaml_ends_with_file_and_line(make_project: Make) -> None:
    small = make_project(days=0)
    small.edit("headrace.yaml", "name: small", "name: small\n   x: y")
    shown = small.run("plan", check=False)
    assert shown.returncode == 1
    assert "headrace.yaml:3" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_a_database_that_is_full_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    full = OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
    assert report(full) == 1
    said = capsys.readouterr().err
    assert "database or disk is full" in said
    assert "next:" in said
    assert "INSERT" not in said


def test_status_of_a_project_that_was_never_run(make_project: Make) -> None:
    shown = make_project(days=0).run("status").stdout
    for title in ("Tables: none", "Endpoints: none", "Never run."):
        assert title in shown
