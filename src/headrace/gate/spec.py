"""What a model must show before it goes live: ``gate:`` of a model in ``headrace.yaml``."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from headrace.durations import Duration
from headrace.errors import did_you_mean
from headrace.gate.approvals import ApprovalRule, Approvals
from headrace.gate.metrics import METRICS
from headrace.percents import Percent

Action = Literal["refuse", "warn", "skip"]
Span = Annotated[Duration, Field(gt=timedelta())]


def _known(name: str) -> str:
    if name not in METRICS:
        hint = did_you_mean(name, METRICS)
        known = ", ".join(METRICS)
        raise ValueError(f'"{name}" is no metric; ' + (hint or f"there are {known}"))
    return name


class FairnessRule(BaseModel):
    """How far a metric may lie apart between the values of a column."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str = Field(description="each of its values is a group")
    metric: str = Field(description="the metric that is compared between groups")
    max_gap: float | None = Field(
        default=None, ge=0, description="the largest value less the smallest may be this"
    )
    min_ratio: float | None = Field(
        default=None, gt=0, le=1, description="the smallest value over the largest must be this"
    )

    @model_validator(mode="after")
    def _bounds_something(self) -> Self:
        _known(self.metric)
        if self.max_gap is None and self.min_ratio is None:
            raise ValueError("give max_gap or min_ratio")
        return self


class LeakRules(BaseModel):
    """What is done about knowledge that training should not have had."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: Action = Field(
        default="refuse", description="hold-out rows whose features and label are in training too"
    )
    groups: Action = Field(
        default="refuse", description="groups on both sides of a hold-out that is not by time"
    )
    label: Action = Field(default="refuse", description="a feature that all but is the label")
    times: Action = Field(
        default="refuse", description="a time among the features that is later than the row's"
    )
    horizon: Span | None = Field(
        default=None,
        description="how far the label looks ahead: training rows so close before a hold-out by "
        "time refuse the candidate; read from the label's name if not given, and then only told",
    )
    max_shared: Percent = Field(
        default=0.01, ge=0, lt=1, description="share of hold-out rows that may be in training too"
    )
    max_label: float = Field(
        default=0.999,
        gt=0.5,
        le=1,
        description="how well one feature may tell the label: area under the ROC curve, share of "
        "the errors of the commonest class that it removes, or R²",
    )
    suspect_label: float = Field(
        default=0.98, gt=0.5, le=1, description="from here on it is told, and refuses nothing"
    )
    accept: list[str] = Field(
        default_factory=list, description="columns that are known to be no leak"
    )


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, dict) else value


class GateSpec(BaseModel):
    """The rule by which a candidate replaces the champion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str = Field(description="the metric on which the candidate must be better")
    min: dict[str, float] = Field(
        default_factory=dict,
        description="bounds to meet overall: at least, or at most where less is better",
    )
    slices: list[str] = Field(
        default_factory=list,
        description="columns; in each of their values the candidate must meet slice_min, and not "
        "be worse than the champion",
    )
    slice_min: dict[str, float] | None = Field(
        default=None, description="bounds for each slice; those of min if not given"
    )
    slice_worse: Literal["refuse", "report"] = Field(
        default="refuse",
        description="what is done where the candidate is worse than the champion with certainty",
    )
    min_positives: int = Field(
        default=10, ge=1, description="a slice with fewer rows of either class is not judged"
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="level of the interval")
    resamples: int = Field(default=2000, ge=100, le=100_000, description="bootstrap resamples")
    min_gain: float = Field(
        default=0.0, ge=0, description="the interval of the gain must lie above this"
    )
    fairness: Annotated[list[FairnessRule], BeforeValidator(_one_or_many)] = Field(
        default_factory=list, description="how far a metric may lie apart between groups"
    )
    latency_p99: Span | None = Field(
        default=None, description="99 of 100 single rows must be answered within this"
    )
    max_size: ByteSize | None = Field(
        default=None, gt=0, description="the model's files may take this, such as 50MiB"
    )
    leaks: LeakRules = Field(
        default_factory=LeakRules, description="what training should not have known"
    )
    approvals: Approvals = Field(
        default_factory=ApprovalRule, description="who must say yes after the gate did"
    )

    @field_validator("metric")
    @classmethod
    def _metric_is_known(cls, value: str) -> str:
        return _known(value)

    @model_validator(mode="after")
    def _floors_are_known(self) -> Self:
        for name in (*self.min, *(self.slice_min or {})):
            _known(name)
        if self.slice_min and not self.slices:
            raise ValueError("slice_min needs `slices`: the columns to cut by")
        return self

    @property
    def slice_floors(self) -> dict[str, float]:
        """The bounds that each slice must meet."""
        return self.min if self.slice_min is None else self.slice_min

    @property
    def digest(self) -> str:
        """Sha256 over the rule."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()
