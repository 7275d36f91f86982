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


@pytest.mark.parametrize("name", ["", "Scores", "1st", "a_b", "a/b", "a" * 64])
def test_a_name_is_one_segment_of_a_url(name: str) -> None:
    with pytest.raises(ValidationError):
        EndpointSpec(name=name, model="m@production")


def test_the_request_table_is_named_after_the_endpoint() -> None:
    assert request_table("device-failure") == "ops.device_failure_requests"
