"""Ctrl-C ends what is under way and leaves the server to what unwinds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import os, signal, time
import headrace

spark = headrace.spark()
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", spark.range(3).count())
"""


def test_the_server_outlives_an_interrupt(tmp_path: Path) -> None:
    (tmp_path / "headrace.yaml").write_text("name: x\n")
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, "interrupted 3"), done.stderr
