"""The request log behind a real plane: kills, policies, ground truth, and what stays private."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.planes import Served, eventually, row, spec

from headrace import lakehouse
from headrace.endpoints import EndpointSpec, endpoint_status, read_plane
from headrace.requestlog.spool import writers
from headrace.serving import running_plane

from .test_plane import (
    Load,
    is_running,
    kill_plane,
    logged,
    shippers,
    up,
    wait_until_logged,
)

MARKER = "marker-7f3a"


def with_log(**log: Any) -> EndpointSpec:
    """The usual endpoint with a policy of its log."""
    return EndpointSpec.model_validate({**spec().model_dump(mode="json"), "log": log})


def another_shipper(project: Served, than: int) -> bool:
    """Whether the one that was killed has a successor."""
    return shippers(project) not in ([], [than])


@pytest.mark.slow
def test_kills_of_plane_and_shipper_under_load_lose_nothing(project: Served) -> None:
    project.deploy("first")
    with running_plane(project.paths) as url, Load(project.client(url)) as load:
        for _ in range(2):
            load.more(50)
            [shipper] = eventually(lambda: shippers(project))
            os.kill(shipper, signal.SIGKILL)
            load.more(50)
            kill_plane(project)
            eventually(partial(another_shipper, project, shipper))
        load.more(50)
    wait_until_logged(project, [identifier for identifier, *_ in load.answers])
    assert writers(project.paths.spool) == []
    assert endpoint_status(project.workspace, "scores").served == len(logged(project))


@pytest.mark.slow
def test_a_killed_supervisor_under_load_loses_nothing(project: Served) -> None:
    project.deploy("first")
    with up(project) as (process, url), Load(project.client(url)) as load:
        load.more(100)
        process.kill()
        process.wait()
        eventually(lambda: not shippers(project), 60)
    answered = [identifier for identifier, *_ in load.answers]
    assert len(answered) >= 100
    counted = Counter(r["prediction_id"] for r in logged(project))
    assert set(answered) <= set(counted)
    assert max(counted.values()) == 1
    assert writers(project.paths.spool) == []


def test_what_is_redacted_is_on_no_disk(project: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_LOG", "debug")
    monkeypatch.setenv("HEADRACE_LOG_FORMAT", "json")
    project.deploy("first", with_log(redact=["owner", "device"]))
    log = project.paths.state / "plane.log"
    with running_plane(project.paths) as url:
        client = project.client(url)
        ids = client.score("scores", [row(owner=MARKER, device=MARKER)]).json["prediction_ids"]
        assert client.score("scores", [{**row(owner=MARKER), "a": MARKER}]).status == 400
        assert MARKER not in client.request("/metrics").body.decode()
        wait_until_logged(project, ids)
        assert files_with(MARKER, project.paths.root) == []
    [found] = logged(project)
    assert json.loads(found["request"])["owner"] == "[redacted]"
    assert json.loads(found["request"])["a"] == 1.0
    assert found["key"] is None
    assert files_with(MARKER, project.paths.root) == []
    for line in log.read_text().splitlines():
        assert {"time", "level", "logger", "message"} <= set(json.loads(line))


def files_with(text: str, root: Path) -> list[Path]:
    return [f for f in root.rglob("*") if f.is_file() and text.encode() in f.read_bytes()]


def test_a_sample_leaves_few_rows_and_exact_counts(project: Served) -> None:
    project.deploy("first", with_log(sample="30%"))
    with running_plane(project.paths) as url:
        client = project.client(url)
        for _ in range(60):
            assert client.score("scores", [row(), row()]).status == 200
    status = endpoint_status(project.workspace, "scores")
    assert (status.served, status.deployments[0].scored_rows) == (60, 120)
    kept = Counter(r["request_id"] for r in logged(project))
    assert status.deployments[0].logged == len(kept)
    assert 3 <= len(kept) <= 40, "six sigma around 18"
    assert set(kept.values()) == {2}


def test_ground_truth_joins_its_prediction(project: Served) -> None:
    project.deploy("first")
    with running_plane(project.paths) as url:
        client = project.client(url)
        [first, second] = client.score("scores", [row(a=1), row(a=2)]).json["prediction_ids"]
        labels = [{"prediction_id": first, "label": 1}, {"prediction_id": second, "label": 0}]
        body = json.dumps({"labels": labels}).encode()
        reply = client.request("/endpoints/scores/ground-truth", body)
        assert (reply.status, reply.json) == (202, {"accepted": 2})
        location = project.workspace.catalog.location_for("ops.scores_ground_truth")
        eventually(lambda: lakehouse.exists(location), 10)
    view = project.workspace.spark().sql(
        "SELECT prediction_id, score, label_value FROM ops.scores_labelled"
    )
    found = {r.prediction_id: (r.score, r.label_value) for r in view.collect()}
    assert found == {first: (1021.0, 1.0), second: (1022.0, 0.0)}


def test_the_shipper_runs_beside_the_plane_and_ends_with_it(project: Served) -> None:
    with running_plane(project.paths):
        [shipper] = eventually(lambda: shippers(project))
        assert is_running(shipper)
    assert not is_running(shipper)
    assert shippers(project) == []


def test_a_second_ctrl_c_waits_for_nothing(project: Served) -> None:
    project.deploy("first")
    with up(project) as (process, url):
        ids = project.client(url).score("scores", [row()]).json["prediction_ids"]
        [shipper] = eventually(lambda: shippers(project))
        # A shipper that does not come to its end by itself.
        os.kill(shipper, signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        running = read_plane(project.paths)
        assert running is not None
        eventually(lambda: not is_running(running.pid))
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert not is_running(shipper)
    with running_plane(project.paths):
        wait_until_logged(project, ids)
