"""How many people must say yes after the gate did: ``approvals:`` of a gate."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from headrace.durations import Duration


class ApprovalRule(BaseModel):
    """Approvals that a version needs before it may take the alias."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int = Field(
        default=0, ge=0, le=100, description="so many members, none of them the requester"
    )
    group: str | None = Field(default=None, description="a group of `groups`")
    expires: Annotated[Duration, Field(gt=timedelta())] = Field(
        default=timedelta(days=7), description="an approval counts for so long"
    )

    @model_validator(mode="after")
    def _names_a_group(self) -> Self:
        if self.count and self.group is None:
            raise ValueError("give the group that approves: approvals: {count: 2, group: leads}")
        return self


def _count_alone(value: object) -> object:
    return {"count": value} if isinstance(value, int) and not isinstance(value, bool) else value


Approvals = Annotated[ApprovalRule, BeforeValidator(_count_alone)]
"""``0``, or ``{count: 2, group: leads, expires: 7d}``."""
