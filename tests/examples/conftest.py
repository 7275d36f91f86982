"""A copy of an example, run as a user runs it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from deltalake import DeltaTable

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"


@dataclass(frozen=True)
class Example:
    """A copy of an example project, with the directory of its data."""

    root: Path
    data: Path

    def run(self, *words: str, timeout: float = 300) -> str:
        """``headrace run`` in a fresh process; its output."""
        command = [sys.executable, "-m", "headrace", "run", "--conf", f"data={self.data}", *words]
        done = subprocess.run(
            command, cwd=self.root, capture_output=True, text=True, timeout=timeout
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def table(self, name: str) -> pd.DataFrame:
        """A table's rows, read from Delta without Headrace."""
        location = self.root / "warehouse" / "main" / name.replace(".", "/")
        rows: pd.DataFrame = DeltaTable(location).to_pandas()
        return rows

    @property
    def database(self) -> str:
        """MLflow's tracking URI."""
        return f"sqlite:///{self.root / '.headrace' / 'headrace.db'}"


@pytest.fixture(scope="session")
def copy_example(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Example]:
    """A factory of copies: ``copy_example("turbofan", "cmapss_fd001")``; skips without the data."""

    def copy(name: str, data: str) -> Example:
        if not (DATA / data).is_dir():
            pytest.skip(f"NOT TESTED: the data set {data} is not at {DATA / data}")
        root = tmp_path_factory.mktemp("example") / name
        ignored = shutil.ignore_patterns(".headrace", "warehouse", "__pycache__")
        shutil.copytree(ROOT / "examples" / name, root, ignore=ignored)
        return Example(root, DATA / data)

    return copy
