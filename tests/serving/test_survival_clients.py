"""Clients and models that take more than their share, while others ask at a constant rate."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pytest
from bench.measure import proportional
from tests.load import constant_rate
from tests.modelling import make_models as make_models
from tests.planes import Served, eventually, has_state, spec, unprotect
from tests.serving import slow_clients
from tests.serving.underload import asked, assert_answers_are_right, assert_logged_once, plane_pid

from headrace.endpoints import EndpointSpec, deploy
from headrace.registry import ModelVersion, register
from headrace.serving import running_plane
from headrace.serving.app import Limits
from headrace.settings import read_token
from headrace.tracking import train

if TYPE_CHECKING:
    from tests.modelling import ModelProject

pytestmark = pytest.mark.slow

#: Half a kilobyte a request shows with so many; a million are a matter of half an hour.
LEAK_REQUESTS = int(os.environ.get("HEADRACE_LEAK_REQUESTS", "20000"))
LEAK_BYTES = 10 << 20

LARGE = """
import mlflow
import numpy as np
import pandas as pd


class Large(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.offsets = np.load(context.artifacts["offsets"])

    def predict(self, context, model_input: pd.DataFrame, params=None):
        score = model_input["a"] + 10 * model_input["b"] + self.offsets[-1]
        return pd.DataFrame({"score": score, "label": model_input["site"]})


mlflow.models.set_model(Large())
"""


def test_ten_thousand_slow_clients_hold_up_nobody(project: Served) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10_000, hard - 2_000)
    if count < 10_000:
        warnings.warn(f"{count} slow clients: the limit on open files is {hard}", stacklevel=1)
    project.deploy("first")
    with running_plane(project.paths) as url, asked(project, url) as load:
        load.more(50)
        address = urlsplit(url)
        slow = subprocess.Popen(
            [sys.executable, slow_clients.__file__, str(address.hostname), str(address.port),
             str(count)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert slow.stdout is not None
        try:
            assert slow.stdout.readline() == "open\n"
            load.more(100)
            assert project.client(url).request("/livez").status == 200
            assert slow.stdout.readline() == "closed\n"
            assert slow.wait(30) == 0
        finally:
            slow.kill()
            slow.wait()
            slow.stdout.close()
        load.more(50)
    assert load.failed() == []
    assert_answers_are_right(load)
    assert_logged_once(project, load)


def test_a_payload_over_the_limit_is_refused_before_it_is_sent(project: Served) -> None:
    project.deploy("first")
    token = read_token(project.paths).reveal()
    head = (
        f"POST /endpoints/scores/invocations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
        f"content-type: application/json\r\ncontent-length: {Limits().body_bytes + 1}\r\n\r\n"
    )
    with running_plane(project.paths) as url, asked(project, url) as load:
        load.more(20)
        address = urlsplit(url)
        for _ in range(20):
            with socket.create_connection((address.hostname, address.port), 30) as connection:
                connection.sendall(head.encode() + b"{")
                assert connection.recv(65536).startswith(b"HTTP/1.1 413")
        load.more(20)
    assert load.failed() == []
    assert_logged_once(project, load)


def test_a_model_of_500_mb_takes_over(project: Served) -> None:
    free = shutil.disk_usage(project.paths.root).free
    if _available() < 4 << 30 or free < 3 << 30:
        pytest.skip("needs 4 GiB of free memory and 3 GiB of free disk")
    version = log_large(project, 500 << 20)
    project.deploy("first")
    with running_plane(project.paths) as url, asked(project, url) as load:
        load.more(50)
        large = deploy(project.workspace, spec(), version).id
        eventually(lambda: has_state(project.workspace, large, "ready"), 120)
        client = project.client(url)
        eventually(lambda: client.request("/endpoints/scores").json["traffic"]["green"] == 100)
        load.more(50)
    assert load.failed() == []
    assert load.ended[-1].headers["x-headrace-model-version"] == "2"
    assert_answers_are_right(load)
    assert_logged_once(project, load)


def log_large(project: Served, size: int) -> ModelVersion:
    """A version 2 that carries an array of so many bytes."""
    import mlflow
    import pandas as pd
    from mlflow.models import infer_signature

    file = project.paths.root / "offsets.npy"
    np.save(file, np.full(size // 8, 2000.0))
    script = project.paths.root / "large.py"
    script.write_text(LARGE)
    inputs = pd.DataFrame({"a": [1.0], "b": [2], "site": ["north"]})
    mlflow.set_tracking_uri(project.paths.database_url)
    with warnings.catch_warnings():
        # Of MLflow's own affairs, while it logs what the test only needs to be there.
        warnings.simplefilter("ignore")
        experiment = mlflow.create_experiment(
            "large", artifact_location=project.paths.artifacts.as_uri()
        )
        with mlflow.start_run(experiment_id=experiment) as run:
            info = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(script),
                artifacts={"offsets": str(file)},
                signature=infer_signature(inputs, pd.DataFrame({"score": [1.0], "label": ["x"]})),
                pip_requirements=["mlflow"],
            )
    file.unlink()
    return ModelVersion("model", 2, info.model_id, run.info.run_id)


@pytest.mark.timeout(3600)
def test_memory_stays_flat(make_models: Callable[..., ModelProject]) -> None:
    models = make_models()
    workspace = models.workspace
    unprotect(workspace)
    version = register(workspace, models.spec(), train(workspace, models.spec()))
    deploy(workspace, EndpointSpec(name="scores", model="failure@production"), version)
    paths = workspace.paths
    token = read_token(paths).reveal()
    row = {"heat": 0.5, "shake": 0.25, "noise": 3}
    bodies = [json.dumps({"dataframe_records": [row | {"noise": n}]}).encode() for n in range(50)]
    with running_plane(paths) as url:
        headers = {"authorization": f"Bearer {token}"}
        address = f"{url}/endpoints/scores/invocations"
        held = partial(proportional, plane_pid(paths))
        with constant_rate(address, 500, lambda n: bodies[n % 50], headers, 32) as load:
            load.more(5_000)
            before = held()
            load.more(LEAK_REQUESTS, seconds=3000)
            after = held()
    assert load.failed() == []
    assert after - before < LEAK_BYTES


def _available() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    (kib,) = [line.split()[1] for line in lines if line.startswith("MemAvailable")]
    return int(kib) * 1024
