"""The plane as its users see it: a real process, real models, real HTTP."""

from __future__ import annotations

from headrace import lakehouse
from headrace.serving import endpoint_status, running_plane

from .conftest import Served, eventually, row


def test_a_deployed_model_answers_and_its_request_is_in_delta(project: Served) -> None:
    project.deploy("first")
    with running_plane(project.paths) as url:
        client = project.client(url)
        reply = client.score("scores", [row(a=1, b=2, device="d-1"), row(a=3, b=4, device="d-2")])
        assert reply.status == 200, reply.body
        assert reply.json["predictions"] == [
            {"score": 1021.0, "label": "north"},
            {"score": 1043.0, "label": "north"},
        ]
        assert reply.headers["x-headrace-model-version"] == "1"
        assert reply.headers["x-headrace-deployment"] == "blue"
        ids = reply.json["prediction_ids"]
        location = project.workspace.catalog.location_for("ops.scores_requests")
        eventually(lambda: lakehouse.exists(location), 10)
        table = lakehouse.read(location).to_pylist()
    assert [r["prediction_id"] for r in table] == ids
    assert [r["key"] for r in table] == ["d-1", "d-2"]
    assert [r["score"] for r in table] == [1021.0, 1043.0]
    status = endpoint_status(project.workspace, "scores")
    assert (status.state, status.served, status.failed) == ("down", 1, 0)
