"""What a project says about an endpoint."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from headrace import percents
from headrace.durations import Duration
from headrace.registry.reference import PinnedModel
from headrace.requestlog.policy import LogPolicy
from headrace.workers.spec import WorkerSpec

Percent = Annotated[percents.Percent, Field(gt=0)]
"""A share of the requests, written such as ``1%`` or ``0.5%``."""


def _longer_than_nothing(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("a limit on the latency is longer than nothing, such as 50ms")
    return value


Limit = Annotated[Duration, AfterValidator(_longer_than_nothing)]
"""A latency, written such as ``50ms``."""


class RollbackRules(BaseModel):
    """When a rollout goes back by itself. Each limit is one for the new deployment alone.

    It goes back once a limit is proven to be exceeded, and does not go forward while one is
    exceeded unproven or the requests are too few.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    error_rate: Annotated[Percent, Field(lt=1)] | None = Field(
        default=None, description="share of the requests that fail, such as 1%"
    )
    latency_p50: Limit | None = Field(default=None, description="median latency, such as 5ms")
    latency_p95: Limit | None = Field(default=None, description="latency of 95 % of the answers")
    latency_p99: Limit | None = Field(default=None, description="latency of 99 % of the answers")
    distance: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="mean absolute difference of the scores on mirrored requests, or share of "
        "the labels that differ",
    )
    min_requests: int = Field(
        default=20, ge=1, description="requests that a step forward needs, if there are rules"
    )

    @property
    def any(self) -> bool:
        """Whether there is a rule."""
        limits = self.error_rate, self.latency_p50, self.latency_p95, self.latency_p99
        return self.distance is not None or any(limit is not None for limit in limits)


class Rollout(BaseModel):
    """How a new deployment takes over: its share of the traffic, step by step."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: list[int] = Field(
        default=[100], description="percent of the traffic at each step; the last is 100"
    )
    every: Duration = Field(default=timedelta(0), description="time between two steps: 30s, 2m, 1h")
    mirror: Annotated[Percent, Field(le=1)] | None = Field(
        default=None,
        description="share of the live deployment's requests that the new one gets a copy of, "
        "without answering them, before and during the steps",
    )
    rollback: RollbackRules = Field(
        default_factory=RollbackRules, description="when the rollout goes back by itself"
    )

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
        if self.mirror is not None and self.every <= timedelta(0):
            raise ValueError("mirroring needs a time before the first step, such as every: 2m")
        return self

    @model_validator(mode="after")
    def _rules_can_be_judged(self) -> Self:
        if self.rollback.distance is not None and self.mirror is None:
            raise ValueError(
                "a limit on the distance needs requests that both versions score, "
                "such as mirror: 20%"
            )
        if self.rollback.any and self.mirror is None and len(self.steps) == 1:
            raise ValueError(
                "rules need a part of the traffic to judge, such as steps: [10, 50, 100] "
                "or mirror: 20%"
            )
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
    workers: WorkerSpec = Field(
        default_factory=WorkerSpec,
        description="bounds of the processes that score a model which has no kernel",
    )
    log: LogPolicy = Field(
        default_factory=LogPolicy, description="what the request log keeps; everything if not given"
    )
