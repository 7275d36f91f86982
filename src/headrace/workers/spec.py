"""What a project says about the workers of a deployment."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import BaseModel, ByteSize, ConfigDict, Field, model_validator

from headrace.durations import Duration


class WorkerSpec(BaseModel):
    """Bounds of the worker processes of one deployment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min: int = Field(
        default=1,
        ge=0,
        le=64,
        description="workers that are always there; 0 lets an idle deployment end its processes",
    )
    max: int = Field(default=2, ge=1, le=64, description="most workers at a time")
    memory: ByteSize = Field(
        default=ByteSize(2 << 30),
        ge=64 << 20,
        description="memory of one worker, such as 2GiB; a worker that needs more is replaced",
    )
    idle: Duration = Field(
        default=timedelta(minutes=5), description="a worker that had no request for so long ends"
    )
    start: Duration = Field(
        default=timedelta(minutes=2), description="time within which a worker loads the model"
    )
    queue_time: Duration = Field(
        default=timedelta(milliseconds=50),
        description="a worker is added when requests wait longer than this",
    )
    batch_rows: int = Field(
        default=256,
        ge=1,
        le=1_000_000,
        description="most rows of several requests in one call of predict; 1 turns batching off",
    )
    batch_wait: Duration = Field(
        default=timedelta(milliseconds=5),
        description="longest time that a request waits for others to share its call",
    )
    preload: bool = Field(
        default=True,
        description="keep a process with the libraries imported, from which workers are forked",
    )

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) is above max ({self.max})")
        for name in ("idle", "start"):
            if getattr(self, name) <= timedelta(0):
                raise ValueError(f"{name} is longer than nothing, such as 30s")
        return self
