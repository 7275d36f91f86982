"""Refresh what is stale in a project: a process of its own, which tests kill."""

from __future__ import annotations

import sys
from pathlib import Path

from headrace.pipeline import load_pipeline
from headrace.workspace import open_workspace


def main(root: Path) -> None:
    pipeline = load_pipeline(open_workspace(root), root / "spark-pipeline.yml")
    for name in pipeline.order():
        if pipeline.freshness(name).stale:
            pipeline.refresh(name, full="--full" in sys.argv and name == "main.bronze.events")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
