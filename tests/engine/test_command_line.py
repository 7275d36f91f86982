from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_a_session_starts_under_python_c(tmp_path: Path) -> None:
    (tmp_path / "headrace.yaml").write_text("name: command\n")
    code = (
        "import headrace\n"
        "from pyspark.sql import functions as f\n"
        "print(headrace.spark().range(7).agg(f.sum('id')).first()[0])\n"
        "import __main__; print(hasattr(__main__, '__file__'))"
    )
    environment = {name: v for name, v in os.environ.items() if not name.startswith("SPARK_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment | {"HEADRACE_PROJECT": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split() == ["21", "False"], done.stderr
