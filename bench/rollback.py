"""How long one command takes from its start to the first answer by the version before."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

from bench.serving_models import FEATURES, make_project
from headrace.endpoints import EndpointSpec, deploy, endpoint_status
from headrace.registry import ModelVersion, resolve
from headrace.serving import running_plane
from headrace.settings import Paths, read_token
from headrace.workspace import Workspace, open_workspace

ROOT: Final = Path(__file__).resolve().parent.parent
HOME: Final = ROOT / ".bench"
COMMAND: Final = "python -m bench.rollback"
ENDPOINT: Final = "forest"
BODY: Final = json.dumps(
    {"dataframe_records": [{f"x{number}": 0.5 for number in range(FEATURES)}]}
).encode()


def main() -> None:
    """Measure, print the figures, and keep them in ``.bench/rollback.json``."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=5)
    runs = arguments.parse_args().runs
    HOME.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HOME) as scratch:
        folder = Path(scratch) / "project"
        make_project(folder)
        workspace = open_workspace(folder)
        seconds = measured(workspace, runs)
        workspace.close()
    print(f"rollback: median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s")
    result = {
        "work": "headrace endpoints rollback, to the first answer by the version before",
        "system": "headrace",
        "value": round(statistics.median(seconds), 3),
        "unit": "s",
        "ratio": 1.0,
        "command": COMMAND,
    }
    (HOME / "rollback.json").write_text(json.dumps([result], indent=2) + "\n")


def measured(workspace: Workspace, runs: int) -> list[float]:
    """Seconds of each of so many rollbacks."""
    spec = EndpointSpec(name=ENDPOINT, model=f"{ENDPOINT}@production")
    before, after = (resolve(workspace, f"{name}@production") for name in ("forest", "lightgbm"))
    seconds = []
    with running_plane(workspace.paths) as url:
        deploy(workspace, spec, before)
        until(workspace, url, before)
        for _ in range(runs):
            deploy(workspace, spec, after)
            until(workspace, url, after)
            began = time.perf_counter()
            command = [sys.executable, "-m", "headrace", "endpoints", "rollback", ENDPOINT]
            process = subprocess.Popen(command, cwd=workspace.paths.root, stdout=subprocess.DEVNULL)
            until(workspace, url, before)
            seconds.append(time.perf_counter() - began)
            process.wait(60)
    return seconds


def until(workspace: Workspace, url: str, version: ModelVersion) -> None:
    """Ask until a version answers.

    Raises:
        RuntimeError: it does not, for two minutes.
    """
    deadline = time.monotonic() + 120
    while asked(workspace.paths, url) != version.name:
        if time.monotonic() > deadline:
            states: list[Any] = list(endpoint_status(workspace, ENDPOINT).deployments)
            raise RuntimeError(f"{version.name} does not answer: {states}")
        time.sleep(0.005)


def asked(paths: Paths, url: str) -> str | None:
    """The model that answers a request."""
    headers = {
        "authorization": f"Bearer {read_token(paths).reveal()}",
        "content-type": "application/json",
    }
    request = urllib.request.Request(
        f"{url}/endpoints/{ENDPOINT}/invocations", data=BODY, headers=headers
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        model: str | None = reply.headers["x-headrace-model"]
        return model


if __name__ == "__main__":
    main()
