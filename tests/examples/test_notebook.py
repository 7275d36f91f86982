"""The notebook runs in a process of its own; its lineage is there afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.catalog import Lineage, Store
from headrace.engine import reads_of_run
from headrace.settings import Paths

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "notebook"


@pytest.mark.slow
def test_lineage_from_raw_files_to_predictions(tmp_path: Path) -> None:
    root = tmp_path / "notebook"
    shutil.copytree(EXAMPLE, root)
    keep = {
        k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "_MLFLOW_", "SPARK_"))
    }
    for script in ("make_raw.py", "notebook.py"):
        done = subprocess.run(
            [sys.executable, script],
            cwd=root,
            env=keep,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
    run_id = done.stdout.split()[-1]

    store = Store.open(Paths(root).database_url)
    lineage = Lineage(store)
    made_features = lineage.producers("gold.features", 0)[0]
    made_predictions = lineage.producers("gold.predictions", 0)[0]
    assert [Path(file.path).name for file in made_features.files] == [
        "day-01.parquet",
        "day-02.parquet",
        "day-03.parquet",
    ]
    assert made_features.source is not None
    assert made_features.source.startswith(f"{root / 'notebook.py'}:")
    assert [(each.kind, each.name, each.version) for each in made_predictions.reads] == [
        ("table", "main.gold.features", 0),
        ("model", "models:/pump_failure/1", None),
    ]

    from mlflow import MlflowClient

    client = MlflowClient(Paths(root).database_url, Paths(root).database_url)
    run = client.get_run(run_id)
    session = run.data.tags["headrace.session_id"]
    from datetime import UTC, datetime

    started = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    learned = reads_of_run(lineage.operations(session_id=session), run_id, started)
    assert [(each.name, each.version) for op in learned for each in op.reads] == [
        ("main.gold.features", 0)
    ]
    assert client.get_model_version("pump_failure", "1").run_id == run_id
    store.close()
