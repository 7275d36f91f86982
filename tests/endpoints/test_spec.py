"""What a project may say of an endpoint."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from headrace.endpoints import EndpointSpec, Rollout
from headrace.requestlog import request_table


def test_a_rollout_reads_from_yaml_values_and_goes_back() -> None:
    rollout = Rollout.model_validate({"steps": [10, 50, 100], "every": "2m"})
    assert rollout.every == timedelta(minutes=2)
    assert Rollout.model_validate(rollout.model_dump(mode="json")) == rollout
    assert Rollout() == Rollout(steps=[100])


@pytest.mark.parametrize(
    ("rollout", "message"),
    [
        ({"steps": []}, "steps rise"),
        ({"steps": [10, 50]}, "steps rise"),
        ({"steps": [50, 10, 100], "every": "1s"}, "steps rise"),
        ({"steps": [0, 100], "every": "1s"}, "steps rise"),
        ({"steps": [10, 100]}, "need the time between them"),
        ({"steps": [10, 100], "every": 5}, "text with a unit"),
        ({"step": [100]}, "Extra inputs"),
    ],
)
def test_a_rollout_that_makes_no_sense_is_refused(rollout: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Rollout.model_validate(rollout)


def test_rules_read_percents_and_durations_and_go_back() -> None:
    rollout = Rollout.model_validate(
        {
            "steps": [10, 50, 100],
            "every": "2m",
            "mirror": "12.5 %",
            "rollback": {"error_rate": "1%", "latency_p99": "50ms", "distance": 0.05},
        }
    )
    assert (rollout.mirror, rollout.rollback.error_rate) == (0.125, 0.01)
    assert rollout.rollback.latency_p99 == timedelta(milliseconds=50)
    assert rollout.model_dump(mode="json")["mirror"] == "12.5%"
    assert Rollout.model_validate(rollout.model_dump(mode="json")) == rollout
    assert rollout.rollback.any
    assert not Rollout().rollback.any


STEPS = {"steps": [10, 100], "every": "1m"}


@pytest.mark.parametrize(
    ("rollout", "message"),
    [
        ({**STEPS, "rollback": {"error_rate": 0.01}}, "text with its sign, such as 1%"),
        ({**STEPS, "rollback": {"error_rate": "1"}}, '"1" is no percentage; write it as 1%'),
        ({**STEPS, "rollback": {"error_rate": "0%"}}, "greater than 0"),
        ({**STEPS, "rollback": {"error_rate": "100%"}}, "less than 1"),
        ({**STEPS, "rollback": {"latency_p99": 50}}, "text with a unit"),
        ({**STEPS, "rollback": {"latency_p99": "0s"}}, "longer than nothing"),
        ({**STEPS, "rollback": {"latency_p90": "5ms"}}, "Extra inputs"),
        ({**STEPS, "rollback": {"distance": 0.1}}, "both versions score, such as mirror: 20%"),
        ({**STEPS, "mirror": "10%", "rollback": {"distance": float("nan")}}, "finite"),
        ({**STEPS, "rollback": {"min_requests": 0}}, "greater than or equal to 1"),
        ({**STEPS, "mirror": "101%"}, "less than or equal to 1"),
        ({"mirror": "10%"}, "mirroring needs a time before the first step"),
        ({"rollback": {"error_rate": "1%"}}, "rules need a part of the traffic"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rollout: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Rollout.model_validate(rollout)


@pytest.mark.parametrize("name", ["", "Scores", "1st", "a_b", "a/b", "a" * 64])
def test_a_name_is_one_segment_of_a_url(name: str) -> None:
    with pytest.raises(ValidationError):
        EndpointSpec(name=name, model="m@production")


def test_the_request_table_is_named_after_the_endpoint() -> None:
    assert request_table("device-failure") == "ops.device_failure_requests"
