"""What people get wrong, and what machines do to them: a clear error, and nothing half written."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from deltalake import DeltaTable

pytestmark = pytest.mark.slow

Make = Callable[..., Any]


def failed(small: Any, *words: str) -> str:
    """Run, expect a failure a person can read, and return what was said."""
    shown = small.run(*words, check=False)
    said = shown.stdout + shown.stderr
    assert shown.returncode == 1, said
    assert "Traceback" not in said
    assert "next:" in said
    return str(said)


def test_a_table_that_no_one_defines(make_project: Make) -> None:
    small = make_project(days=1)
    small.edit("transformations/latest.sql", "FROM gold.features", "FROM gold.featurs")
    said = failed(small, "plan")
    assert "gold.featurs" in said
    assert "gold.features" in said.replace("gold.featurs", "")
    assert "latest.sql:" in said


def test_a_cycle(make_project: Make) -> None:
    small = make_project(days=1)
    small.edit("transformations/silver.py", '"bronze.readings"', '"gold.latest"')
    said = failed(small, "run")
    for place in ("silver.py:", "latest.sql:"):
        assert place in said


def test_a_column_that_vanished_upstream(make_project: Make) -> None:
    small = make_project()
    small.run("run", "gold.latest")
    before = DeltaTable(str(small.root / "warehouse/main/gold/latest")).version()
    small.edit("transformations/silver.py", 'F.max("vibration").alias("vibration_max"),', "")
    said = failed(small, "run", "gold.latest")
    assert "vibration_max" in said
    assert "gold.latest" in said
    assert DeltaTable(str(small.root / "warehouse/main/gold/latest")).version() == before
    assert len(DeltaTable(str(small.root / "warehouse/main/gold/latest")).to_pandas()) > 0


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("label: fails\n", "label: failed\n", ["failed", "gold.features"]),
        ("label: fails\n", "label: constant\n", ["constant"]),
        ("table: gold.features\n", "table: gold.nothing\n", ["gold.nothing"]),
        ("holdout: {last: 25%}", "holdout: {after: 2031-01-01}", ["hold-out"]),
        ("holdout: {last: 25%}", "holdout: {after: 2020-01-01}", ["train"]),
    ],
)
def test_a_training_that_cannot_be(
    make_project: Make, old: str, new: str, words: list[str]
) -> None:
    small = make_project(days=2)
    small.edit(
        "transformations/silver.py",
        'F.max("fails").alias("fails"),',
        'F.max("fails").alias("fails"), F.lit(1).alias("constant"),',
    )
    small.edit("headrace.yaml", old, new)
    said = failed(small, "run")
    for word in words:
        assert word in said
    assert "model" in said


def test_a_hold_out_with_one_class(make_project: Make) -> None:
    small = make_project(days=2)
    path = small.root / "raw/day-02.parquet"
    frame = pd.read_parquet(path)
    frame["fails"] = frame["fails"] * 0
    frame.to_parquet(path, index=False)
    small.edit("headrace.yaml", "holdout: {last: 25%}", "holdout: {after: 2026-01-02}")
    assert "class" in failed(small, "run")


@contextmanager
def tiny_disk(path: Path, megabytes: int) -> Iterator[None]:
    path.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)],
        capture_output=True,
        text=True,
    )
    if made.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_and_then_a_rerun(make_project: Make) -> None:
    small = make_project(days=4, devices=400)
    warehouse = small.root / "warehouse"
    with tiny_disk(warehouse, 3):
        said = failed(small, "run", "gold.latest")
        assert "space" in said.lower()
        filled = subprocess.run(
            ["mount", "-o", "remount,size=200m", str(warehouse)], capture_output=True
        )
        assert filled.returncode == 0
        small.run("run", "gold.latest")
        table = DeltaTable(str(warehouse / "main/bronze/readings"))
        assert table.to_pyarrow_table().num_rows == 4 * 400 * 96


def test_a_port_in_use(make_project: Make) -> None:
    small = make_project(days=0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = failed(small, "up", "--port", str(port))
    assert str(port) in said
    assert "--port" in said


def test_an_unreadable_database(make_project: Make) -> None:
    small = make_project(days=0)
    database = small.root / ".headrace/headrace.db"
    database.parent.mkdir(exist_ok=True)
    database.write_bytes(b"this is no database" * 100)
    assert "headrace.db" in failed(small, "plan")


def test_doctor_finds_what_is_wrong(make_project: Make) -> None:
    small = make_project(days=1)
    small.run("run", "gold.latest")
    assert small.run("doctor").returncode == 0
    token = small.root / ".headrace/token"
    token.write_text("x\n")
    token.chmod(0o644)
    log = small.root / "warehouse/main/gold/latest/_delta_log"
    log.rename(small.root / "warehouse/moved")
    shown = small.run("doctor", "--json", check=False)
    assert shown.returncode == 1
    checks = {check["name"]: check for check in json.loads(shown.stdout)["checks"]}
    assert checks["token"]["state"] == "failed"
    assert "chmod 600" in checks["token"]["next"]
    assert checks["tables"]["state"] == "failed"
    assert "gold.latest" in checks["tables"]["found"]
