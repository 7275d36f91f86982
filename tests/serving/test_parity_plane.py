"""A running plane with a green whose model answers otherwise in its worker."""

from __future__ import annotations

import pytest
from tests.modelling import models as models
from tests.parity.registered import Registered, registered
from tests.parity.registered import forest as forest
from tests.planes import Client, eventually, has_state

from headrace.endpoints import EndpointSpec, deploy, endpoint_status
from headrace.parity.store import reports_of_deployment
from headrace.serving import running_plane
from headrace.settings import read_token

pytestmark = pytest.mark.slow

SWAYED = """
import os

import mlflow.pyfunc
import numpy as np
import pandas as pd


class Swayed(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        score = 1 / (1 + np.exp(-model_input["heat"])) * 0.5
        return score + 0.25 if os.environ.get("SWAYED") else score


def train(X, y):
    return Swayed()
"""


def test_it_never_takes_traffic_and_blue_goes_on(
    forest: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = forest.project
    project.write("training/swayed.py", SWAYED)
    swayed = registered(project, name="swayed", train="training/swayed.py:train")
    workspace = project.workspace
    endpoint = EndpointSpec(name="scores", model="failure/1")
    blue = deploy(workspace, endpoint, forest.version).id
    monkeypatch.setenv("SWAYED", "1")
    with running_plane(workspace.paths) as url:
        client = Client(url, read_token(workspace.paths).reveal())
        row = {"heat": 0.1, "shake": 0.2, "noise": 3}
        assert client.score("scores", [row]).status == 200
        green = deploy(workspace, endpoint, swayed.version).id
        eventually(lambda: has_state(workspace, green, "failed"), 60)
        reply = client.score("scores", [row])
        assert reply.status == 200
        assert reply.headers["x-headrace-model"] == "failure"
    newest = endpoint_status(workspace, "scores").deployments[0]
    assert "256 of 256 rows differ" in (newest.reason or "")
    by_route = {kept.report.route: kept.report for kept in reports_of_deployment(
        workspace.store, green)}  # fmt: skip
    assert by_route.keys() == {"live, JSON", "live, Arrow"}
    for report in by_route.values():
        assert report.by == "worker"
        assert report.difference == pytest.approx(0.25)
    assert [k.report.agreed for k in reports_of_deployment(workspace.store, blue)] == [True, True]
