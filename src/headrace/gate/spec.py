"""What a model must show before it goes live: ``gate:`` of a model in ``headrace.yaml``."""

from __future__ import annotations

import hashlib
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headrace.errors import did_you_mean
from headrace.gate.metrics import METRICS


def _known(name: str) -> str:
    if name not in METRICS:
        hint = did_you_mean(name, METRICS)
        known = ", ".join(METRICS)
        raise ValueError(f'"{name}" is no metric; ' + (hint or f"there are {known}"))
    return name


class GateSpec(BaseModel):
    """The rule by which a candidate replaces the champion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str = Field(description="the metric on which the candidate must be better")
    min: dict[str, float] = Field(
        default_factory=dict,
        description="bounds to meet overall: at least, or at most where less is better",
    )
    slices: list[str] = Field(
        default_factory=list, description="columns whose every value must meet slice_min"
    )
    slice_min: dict[str, float] | None = Field(
        default=None, description="bounds for each slice; those of min if not given"
    )
    min_positives: int = Field(
        default=10, ge=1, description="a slice with fewer rows of either class is not judged"
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="level of the interval")
    resamples: int = Field(default=2000, ge=100, le=100_000, description="bootstrap resamples")
    min_gain: float = Field(
        default=0.0, ge=0, description="the interval of the gain must lie above this"
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
