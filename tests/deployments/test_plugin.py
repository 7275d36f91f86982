"""MLflow's unmodified deployment client on a project and on a scoring plane."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from mlflow.deployments import get_deploy_client, run_local
from mlflow.exceptions import MlflowException
from tests.modelling import put_alias
from tests.planes import row

from headrace.deployments.plane import payload_of
from headrace.endpoints import traffic_history
from headrace.serving import running_plane
from headrace.settings import read_token

if TYPE_CHECKING:
    from tests.planes import Served


@pytest.fixture
def registered(project: Served) -> Served:
    """Versions 1 and 2 answer, version 3 does not load."""
    with warnings.catch_warnings():
        # MLflow warns of its own affairs.
        warnings.simplefilter("ignore")
        client = project.workspace.mlflow()
        client.create_registered_model("model")
        for kind in ("first", "second", "unloadable"):
            model_id = project.versions[kind].model_id
            client.create_model_version("model", f"models:/{model_id}", model_id=model_id)
    put_alias(project.workspace, "model", 1)
    return project


@pytest.fixture
def client(registered: Served) -> Any:
    return get_deploy_client(f"headrace:{registered.paths.root}")


FRAME = pd.DataFrame([row(a=1, b=2), row(a=3, b=4)])
NOW = {"wait_seconds": 0}


def names(found: list[dict[str, Any]]) -> list[str]:
    return [entry["name"] for entry in found]


def test_an_endpoint_is_declared_changed_and_withdrawn(client: Any) -> None:
    made = client.create_endpoint("scores", {"model": "model@production", "key": ["device"]})
    assert (made["name"], made["model"], made["deployments"]) == ("scores", "model@production", [])
    client.update_endpoint("scores", {"rollout": {"steps": [50, 100], "every": "1m"}})
    assert names(client.list_endpoints()) == ["scores"]
    assert client.get_endpoint("scores")["state"] == "down"
    client.delete_endpoint("scores")
    client.delete_endpoint("scores")
    assert client.list_endpoints() == []
    with pytest.raises(MlflowException) as caught:
        client.get_endpoint("scores")
    assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_without_a_plane_a_deployment_waits_to_be_loaded(client: Any) -> None:
    made = client.create_deployment("blue", "models:/model/1", endpoint="scores")
    assert (made["name"], made["endpoint"], made["state"]) == ("blue", "scores", "loading")
    assert made["model_uri"].startswith("models:/m-")
    assert names(client.list_deployments()) == ["blue"]
    assert client.get_deployment("scores/blue")["version"] == 1
    with pytest.raises(MlflowException, match="nothing serves this project"):
        client.predict(endpoint="scores", inputs=FRAME)


WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    ("blue", {"model_uri": "runs:/1/model"}, "INVALID_PARAMETER_VALUE", "models:/NAME/VERSION"),
    ("blue", {"model_uri": "models:/modle/1"}, "RESOURCE_DOES_NOT_EXIST", 'did you mean "model"'),
    ("green", {"model_uri": "models:/model/1"}, "RESOURCE_CONFLICT", "the first deployment"),
    (
        "blue",
        {"model_uri": "models:/model/1", "config": {"rolout": {}}},
        "INVALID_PARAMETER_VALUE",
        'did you mean "rollout"',
    ),
    (
        "blue",
        {"model_uri": "models:/model/1", "config": {"rollout": {"steps": [5]}}},
        "INVALID_PARAMETER_VALUE",
        "rollout",
    ),
    (
        "blue",
        {"model_uri": "models:/model/1", "config": {"wait_seconds": "long"}},
        "INVALID_PARAMETER_VALUE",
        "no number of seconds",
    ),
]


@pytest.mark.parametrize(("name", "call", "code", "words"), WRONG)
def test_what_cannot_be_deployed_says_why(
    client: Any, name: str, call: dict[str, Any], code: str, words: str
) -> None:
    with pytest.raises(MlflowException) as caught:
        client.create_deployment(name, endpoint="scores", **call)
    assert caught.value.error_code == code
    assert words in str(caught.value)
    assert client.list_endpoints() == []


def test_an_endpoint_needs_a_model(client: Any) -> None:
    with pytest.raises(MlflowException, match='"model" is missing'):
        client.create_endpoint("scores")
    with pytest.raises(MlflowException, match='no endpoint "scores"'):
        client.update_endpoint("scores", {"traffic": {"blue": 100}})


@pytest.fixture
def plane(registered: Served) -> Iterator[str]:
    with running_plane(registered.paths) as url:
        yield url


@pytest.mark.slow
def test_the_life_of_an_endpoint(
    registered: Served, client: Any, plane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    blue = client.create_deployment("blue", "models:/model@production", endpoint="scores")
    assert (blue["state"], blue["traffic"]) == ("ready", 100)
    answer = client.predict(endpoint="scores", inputs=FRAME)
    expected = pd.DataFrame({"score": [1021.0, 1043.0]})
    pd.testing.assert_frame_equal(answer.get_predictions(), expected)
    assert len(answer["prediction_ids"]) == 2

    slowly = {"rollout": {"steps": [10, 100], "every": "1h"}}
    green = client.create_deployment("green", "models:/model/2", config=slowly, endpoint="scores")
    assert (green["state"], green["traffic"]) == ("ready", 10)
    for colour, offset in (("blue", 1021.0), ("green", 2021.0)):
        answer = client.predict(colour, FRAME.iloc[:1], "scores")
        assert answer["predictions"][0]["score"] == offset
    client.update_deployment("green", config={"traffic": 25}, endpoint="scores")
    client.update_endpoint("scores", {"traffic": {"blue": 0, "green": 100}})
    shares = [entry.shares for entry in traffic_history(registered.workspace, "scores")]
    assert {"blue": 75, "green": 25} in shares
    assert client.get_endpoint("scores")["traffic"] == {"blue": 0, "green": 100}

    with pytest.raises(MlflowException, match="it takes 100 % of the traffic"):
        client.delete_deployment("green", endpoint="scores")
    client.delete_deployment("blue", endpoint="scores")
    client.delete_deployment("blue", endpoint="scores")
    assert names(client.list_deployments("scores")) == ["green"]
    with pytest.raises(MlflowException, match='has no deployment "blue"'):
        client.get_deployment("blue", "scores")

    with pytest.raises(MlflowException, match="does not load"):
        client.create_deployment("blue", "models:/model/3", endpoint="scores")
    assert client.predict(endpoint="scores", inputs=FRAME)["predictions"][0]["score"] == 2021.0

    with pytest.raises(MlflowException) as caught:
        client.predict(endpoint="scores", inputs=FRAME.drop(columns="b"))
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert 'column "b"' in str(caught.value)

    monkeypatch.setenv("HEADRACE_TOKEN", read_token(registered.paths).reveal())
    remote: Any = get_deploy_client(f"headrace:{plane}")
    assert remote.predict(endpoint="scores", inputs=FRAME)["predictions"][0]["score"] == 2021.0
    assert names(remote.list_endpoints()) == [remote.get_endpoint("scores")["name"]]
    with pytest.raises(MlflowException, match="it does not deploy"):
        remote.create_deployment("blue", "models:/model/1", endpoint="scores")
    monkeypatch.setenv("HEADRACE_TOKEN", "wrong")
    with pytest.raises(MlflowException) as caught:
        remote.predict(endpoint="scores", inputs=FRAME)
    assert caught.value.error_code == "UNAUTHENTICATED"


def test_an_address_at_which_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_TOKEN", "x")
    remote: Any = get_deploy_client("headrace:http://127.0.0.1:9")
    with pytest.raises(MlflowException) as caught:
        remote.predict(endpoint="scores", inputs=FRAME)
    assert caught.value.error_code == "TEMPORARILY_UNAVAILABLE"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n<p/>",
    ],
    ids=["nothing", "no HTTP", "half an answer", "no JSON"],
)
def test_an_address_at_which_something_else_answers(
    monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setenv("HEADRACE_TOKEN", "x")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        remote: Any = get_deploy_client(f"headrace:http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(MlflowException) as caught:
            remote.list_endpoints()
        thread.join()
    assert caught.value.error_code == "TEMPORARILY_UNAVAILABLE"


def test_a_share_is_a_whole_percent(client: Any) -> None:
    client.create_deployment("blue", "models:/model/1", endpoint="scores")
    for share in (12.5, "a half", True, None, float("nan"), 10**400):
        with pytest.raises(MlflowException, match="is no whole percent"):
            client.update_deployment("blue", config={"traffic": share}, endpoint="scores")


def test_run_local_deploys_to_the_project_here(
    registered: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(registered.paths.root)
    run_local("headrace", "scores", "models:/model/1", config=NOW)
    found: Any = get_deploy_client("headrace")
    assert names(found.list_deployments("scores")) == ["blue"]


def test_the_help_of_mlflows_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mlflow", "deployments", "help", "-t", "headrace"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "headrace:http://host:port" in done.stdout


@pytest.mark.parametrize(
    ("inputs", "payload"),
    [
        (
            pd.DataFrame({"a": [1.5, float("nan")], "t": pd.to_datetime(["2026-01-31", "NaT"])}),
            {
                "dataframe_split": {
                    "columns": ["a", "t"],
                    "data": [[1.5, "2026-01-31T00:00:00"], [None, None]],
                }
            },
        ),
        (np.array([[1, 2]]), {"inputs": [[1, 2]]}),
        ({"a": np.array([1.5])}, {"inputs": {"a": [1.5]}}),
        (
            {"instances": [[1]], "params": {"threshold": 0.5}},
            {"instances": [[1]], "params": {"threshold": 0.5}},
        ),
        ([1.5], {"inputs": [1.5]}),
    ],
)
def test_what_mlflows_client_takes_becomes_its_payload(inputs: Any, payload: Any) -> None:
    assert payload_of(inputs) == payload
