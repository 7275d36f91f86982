"""What a project says about an endpoint."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from headrace.durations import Duration
from headrace.registry.reference import PinnedModel


class Rollout(BaseModel):
    """How a new deployment takes over: its share of the traffic, step by step."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: list[int] = Field(
        default=[100], description="percent of the traffic at each step; the last is 100"
    )
    every: Duration = Field(default=timedelta(0), description="time between two steps: 30s, 2m, 1h")

    @field_validator("steps")
    @classmethod
    def _rising_to_100(cls, steps: list[int]) -> list[int]:
        rising = all(a < b for a, b in itertools.pairwise(steps))
        if not steps or not rising or steps[0] < 1 or steps[-1] != 100:
            raise ValueError("steps rise from at least 1 to exactly 100, such as [10, 50, 100]")
        return steps

    @model_validator(mode="after")
    def _steps_need_time(self) -> Self:
        if len(self.steps) > 1 and self.every <= timedelta(0):
            raise ValueError("several steps need the time between them, such as every: 2m")
        return self


class EndpointSpec(BaseModel):
    """An endpoint of ``headrace.yaml``.

    ``key`` names the columns of a request that keep a caller on one deployment while traffic
    shifts; they are logged with each prediction and need not be inputs of the model.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$", description="name of the endpoint")
    model: PinnedModel = Field(description="name@alias or name/version")
    key: list[str] = Field(
        default_factory=list, description="columns of a request that keep a caller on one version"
    )
    rollout: Rollout = Field(
        default_factory=Rollout, description="how a new version takes over; at once if not given"
    )
