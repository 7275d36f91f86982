"""Projects with models that answer recognisably, and a scoring plane to ask.

Every model's score is a + 10 b + its offset. ``first`` and ``second`` have kernels; the others
have code of their own, which runs in workers and gives the column ``site`` as the label.
"""

from __future__ import annotations

import importlib
import json
import shutil
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest

from headrace import kernels
from headrace.catalog import guards
from headrace.endpoints import EndpointSpec, Rollout, deploy, endpoint_status
from headrace.registry import ModelVersion
from headrace.settings import Paths, read_token
from headrace.tracking import flavor
from headrace.workspace import Workspace, open_workspace

#: The code of models without a kernel. Its configuration makes it misbehave.
MODEL = """
import time

import mlflow
import pandas as pd


class Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.config = dict(context.model_config)
        if self.config.get("broken") == "load":
            raise RuntimeError("this model does not load")

    def predict(self, context, model_input: pd.DataFrame, params=None):
        if self.config.get("broken") == "predict":
            raise RuntimeError("this model does not predict")
        time.sleep(self.config.get("seconds", 0.0))
        if (model_input["a"] == -666).any():
            raise ValueError("the model does not like this\\nsecond line")
        if (model_input["a"] == -777).any():
            time.sleep(3)
        score = model_input["a"] + 10 * model_input["b"] + self.config["offset"]
        return pd.DataFrame({"score": score, "label": model_input["site"]})


mlflow.models.set_model(Model())
"""


@dataclass
class Reply:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@dataclass
class Client:
    """Asks one plane."""

    url: str
    token: str | None

    def request(
        self,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 30,
    ) -> Reply:
        """GET, or POST where there is a body."""
        sent = {"content-type": "application/json", **(headers or {})}
        if self.token is not None:
            sent.setdefault("authorization", f"Bearer {self.token}")
        request = urllib.request.Request(self.url + path, data=body, headers=sent)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as reply:
                return Reply(reply.status, _lower(reply.headers), reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, _lower(error.headers), error.read())

    def score(self, endpoint: str, rows: list[dict[str, Any]], **headers: str) -> Reply:
        """Send rows as ``dataframe_records``."""
        body = json.dumps({"dataframe_records": rows}).encode()
        return self.request(f"/endpoints/{endpoint}/invocations", body, headers)


def row(a: float = 1.0, b: int = 2, site: str = "north", **extra: Any) -> dict[str, Any]:
    """One row that the model knows."""
    return {"a": a, "b": b, "site": site, **extra}


def spec(name: str = "scores", every: str = "0s", steps: list[int] | None = None) -> EndpointSpec:
    """An endpoint keyed by device."""
    rollout = Rollout.model_validate({"steps": steps or [100], "every": every})
    return EndpointSpec(name=name, model="model@production", key=["device"], rollout=rollout)


def eventually(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The condition's first true value; fails when it does not come in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def has_state(workspace: Workspace, deployment: str, *states: str, name: str = "scores") -> bool:
    """Whether a deployment has reached one of the states."""
    found = {d.id: d.state for d in endpoint_status(workspace, name, history=50).deployments}
    return found[deployment] in states


def make_root(root: Path) -> Paths:
    """An empty project."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "headrace.yaml").write_text("name: serving\n")
    paths = Paths(root)
    paths.make()
    return paths


def unprotect(workspace: Workspace) -> None:
    """No alias is to be earned: these models have never seen a gate."""
    guards.protect(workspace.store, [], "tests")


#: Offsets of the models that have kernels.
KERNELS = {"first": 1000.0, "second": 2000.0}


def log_kernel(offset: float, example: bool) -> str:
    """Log a linear model to the active run and prove its kernel; its id."""
    import numpy as np
    import pandas as pd
    from mlflow.models import Model, infer_signature
    from sklearn.linear_model import LinearRegression

    inputs = pd.DataFrame({"a": [1.0, 2.0], "b": [2, 3]})
    model = LinearRegression().fit(inputs, [0.0, 1.0])
    model.coef_, model.intercept_ = np.array([1.0, 10.0]), np.float64(offset)
    kind = flavor.flavor_of(model)
    assert kind is not None
    info = Model.log(
        artifact_path=None,
        flavor=flavor._Flavor(kind, {"task": "regression", "labels": None, "threshold": None}),
        name="model",
        sk_model=model,
        signature=infer_signature(inputs),
        input_example=inputs if example else None,
        pip_requirements=["scikit-learn"],
        validate_serving_input=False,
        flavor_name=kind,
    )
    report = kernels.compile_model(Path(urlsplit(info.artifact_path).path), inputs)
    assert report.proven, report.reason
    return str(info.model_id)


def log_models(paths: Paths) -> dict[str, ModelVersion]:
    """Log models that differ in their configuration; the key tells what is special."""
    import mlflow
    import pandas as pd
    from mlflow.models import infer_signature

    mlflow.set_tracking_uri(paths.database_url)
    experiment = mlflow.create_experiment("serving", artifact_location=paths.artifacts.as_uri())
    script = paths.root / "model.py"
    script.write_text(MODEL)
    inputs = pd.DataFrame({"a": [1.0], "b": [2], "site": ["north"]})
    signature = infer_signature(inputs, pd.DataFrame({"score": [1.0], "label": ["north"]}))
    kinds: dict[str, dict[str, Any]] = {
        **{kind: {"offset": offset} for kind, offset in KERNELS.items()},
        "third": {"offset": 3000.0},
        "slow": {"offset": 4000.0, "seconds": 0.3},
        "unloadable": {"offset": 0.0, "broken": "load"},
        "unusable": {"offset": 0.0, "broken": "predict"},
    }
    versions = {}
    for number, (kind, config) in enumerate(kinds.items(), 1):
        with mlflow.start_run(experiment_id=experiment) as run:
            if kind in KERNELS:
                model_id = log_kernel(config["offset"], example=kind == "first")
                versions[kind] = ModelVersion("model", number, model_id, run.info.run_id)
                continue
            info = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(script),
                model_config=config,
                signature=signature,
                input_example=inputs,
                pip_requirements=["mlflow"],
            )
        versions[kind] = ModelVersion("model", number, info.model_id, run.info.run_id)
    return versions


@dataclass
class Served:
    """A project with logged models."""

    paths: Paths
    workspace: Workspace
    versions: dict[str, ModelVersion]

    def client(self, url: str) -> Client:
        """A client that knows the token."""
        return Client(url, read_token(self.paths).reveal())

    def deploy(self, kind: str, endpoint: EndpointSpec | None = None) -> str:
        """Deploy a version; its deployment's id."""
        return deploy(self.workspace, endpoint or spec(), self.versions[kind]).id


@pytest.fixture(scope="session")
def scoring_server() -> ModuleType:
    """MLflow's own scoring server, whose import warns of its type hints."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("mlflow.pyfunc.scoring_server")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """Models logged once; tests work on copies of the database."""
    paths = make_root(tmp_path_factory.mktemp("template"))
    workspace = open_workspace(paths.root)
    unprotect(workspace)
    with warnings.catch_warnings():
        # Of MLflow's own affairs, while it logs what the tests only need to be there.
        warnings.simplefilter("ignore")
        versions = log_models(paths)
    workspace.close()
    return Served(paths, workspace, versions)


@pytest.fixture
def project(template: Served, tmp_path: Path) -> Iterator[Served]:
    """A project of its own with the logged models and nothing deployed."""
    paths = make_root(tmp_path / "project")
    for file in template.paths.state.glob("headrace.db*"):
        shutil.copy(file, paths.state / file.name)
    workspace = open_workspace(paths.root)
    yield Served(paths, workspace, template.versions)
    workspace.close()
