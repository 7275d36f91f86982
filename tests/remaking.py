"""A model in production made again, after its code and its table have moved on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from headrace import lakehouse

BROKEN = "raise RuntimeError('edited since')\n"


def make_again_after_changes(root: Path, model: str, source: str, table: str) -> dict[str, Any]:
    """What ``headrace reproduce MODEL@production`` finds once everything around it has changed.

    The training file is edited, the feature table gets rows appended, and is overwritten.
    """
    location = root / "warehouse" / "main" / table.replace(".", "/")
    rows = lakehouse.read(location)
    lakehouse.write(location, rows.slice(0, 10), mode="append")
    lakehouse.write(location, rows.slice(10, 500), mode="overwrite")
    (root / source).write_text(BROKEN)
    done = subprocess.run(
        [sys.executable, "-m", "headrace", "reproduce", f"{model}@production", "--json"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["verdict"] == "same", found["reasons"]
    assert done.returncode == 0
    return found


def assert_bit_equal(found: dict[str, Any]) -> None:
    """All predictions on the hold-out agree to the last bit.

    The model's file need not: sums inside it depend on the order in which threads end.
    """
    states = {each["name"]: each["state"] for each in found["findings"]}
    names = ("train rows", "holdout rows", "code", "environment", "predictions", "metrics")
    assert {name: states[name] for name in names} == dict.fromkeys(names, "same")
    assert (found["largest_difference"], found["labels_different"]) == (0.0, 0)
