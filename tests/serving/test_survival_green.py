"""A green that answers wrongly, slowly, or crashes: rolled back by rule, blue never affected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.planes import Served, eventually, has_state
from tests.serving.underload import (
    asked,
    assert_answers_are_right,
    assert_logged_once,
    version_of,
)

from headrace.endpoints import EndpointSpec, decisions, endpoint_status
from headrace.serving import running_plane

if TYPE_CHECKING:
    from tests.load import OpenLoop

pytestmark = pytest.mark.slow


def endpoint(**rollout: object) -> EndpointSpec:
    """An endpoint whose rollouts have rules."""
    return EndpointSpec.model_validate(
        {"name": "scores", "model": "model@production", "key": ["device"], "rollout": rollout}
    )


def assert_blue_was_not_affected(load: OpenLoop) -> None:
    """What blue answered is right and in time, and nothing that it should have answered failed."""
    assert_answers_are_right(load)
    blue = [sent for sent in load.answered() if version_of(sent) == "1"]
    assert blue
    assert max(sent.latency for sent in blue) < 10


@pytest.mark.parametrize(
    ("kind", "rollout", "rule"),
    [
        (
            "second",  # each of its scores is 1,000 away from the right one
            {"steps": [1, 100], "every": "2s", "mirror": "100%", "rollback": {"distance": 5.0}},
            "distance",
        ),
        (
            "slow",  # 0.3 s a call
            {"steps": [20, 100], "every": "1h", "rollback": {"latency_p95": "100ms"}},
            "latency_p95",
        ),
        (
            "slow",
            {
                "steps": [1, 100],
                "every": "1h",
                "mirror": "50%",
                "rollback": {"latency_p50": "100ms"},
            },
            "latency_p50",
        ),
    ],
    ids=["wrong", "slow", "slow on mirrored requests"],
)
def test_a_bad_green_is_rolled_back(
    project: Served, kind: str, rollout: dict[str, object], rule: str
) -> None:
    rules = endpoint(**rollout)
    project.deploy("first", rules)
    with running_plane(project.paths) as url, asked(project, url) as load:
        load.more(50)
        green = project.deploy(kind, rules)
        eventually(
            lambda: any(
                d.deployment == green and d.action == "rollback"
                for d in decisions(project.workspace, "scores")
            ),
            60,
        )
        client = project.client(url)
        eventually(lambda: client.request("/endpoints/scores").json["traffic"]["blue"] == 100)
        mark = load.due
        load.more(50)
    assert load.failed() == []
    assert_blue_was_not_affected(load)
    assert {version_of(sent) for sent in load.answered() if sent.number >= mark} == {"1"}
    decided = next(
        d for d in decisions(project.workspace, "scores") if d.deployment == green
        and d.action == "rollback"
    )  # fmt: skip
    (violated,) = [check for check in decided.evidence["checks"] if check["violated"]]
    assert violated["rule"] == rule
    assert decided.decided_by == "rollout"
    assert_logged_once(project, load)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("unloadable", "this model does not load"),
        ("unusable", "this model does not predict"),
    ],
)
def test_a_green_that_crashes_on_start_never_takes_traffic(
    project: Served, kind: str, reason: str
) -> None:
    project.deploy("first")
    with running_plane(project.paths) as url, asked(project, url) as load:
        load.more(20)
        green = project.deploy(kind, endpoint(steps=[10, 100], every="1s"))
        eventually(lambda: has_state(project.workspace, green, "failed"), 60)
        newest = endpoint_status(project.workspace, "scores").deployments[0]
        assert reason in (newest.reason or "")
        load.more(50)
    assert load.failed() == []
    assert {version_of(sent) for sent in load.answered()} == {"1"}
    assert_blue_was_not_affected(load)
    assert_logged_once(project, load)
