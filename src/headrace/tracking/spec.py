"""How a model is trained: the entries below ``models:`` in ``headrace.yaml``."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from headrace.durations import Duration

TaskName = Literal["classification", "regression"]


def _parse_share(value: object) -> object:
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value)
        if not match:
            raise ValueError(f'"{value}" is no share; write it as 20%')
        return float(match[1]) / 100
    return value


def _parse_moment(value: object) -> object:
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time(), UTC)
    return value


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Span = Annotated[Duration, Field(gt=timedelta())]
"""A duration that is not zero."""

Share = Annotated[
    float,
    Field(gt=0, lt=1),
    BeforeValidator(_parse_share, json_schema_input_type=str | float),
]
"""A part of the rows such as ``20%`` or ``0.2``."""

Moment = Annotated[datetime, BeforeValidator(_parse_moment, json_schema_input_type=str)]


class Holdout(BaseModel):
    """Which rows are kept from training, to measure on. Exactly one rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    last: Share | None = Field(default=None, description="the latest share of the rows, by time")
    after: Moment | None = Field(default=None, description="all rows at or after a time (UTC)")
    group: Share | None = Field(default=None, description="a share of the groups, by hash")
    hash: Share | None = Field(default=None, description="a share of the rows, by hash of the key")

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if sum(rule is not None for rule in (self.last, self.after, self.group, self.hash)) != 1:
            raise ValueError("give exactly one of last, after, group, hash")
        return self

    @property
    def by_time(self) -> bool:
        """Whether the rule cuts at a moment."""
        return self.last is not None or self.after is not None

    @property
    def cutoff(self) -> datetime | None:
        """The moment of an ``after`` rule, in UTC."""
        return None if self.after is None else _in_utc(self.after)

    def __str__(self) -> str:
        if self.after is not None:
            return f"after {_in_utc(self.after):%Y-%m-%d %H:%M}"
        rule = next(name for name in ("last", "group", "hash") if getattr(self, name) is not None)
        return f"{rule} {getattr(self, rule):.4g}"


class TrainingSpec(BaseModel):
    """One model: the function that trains it, the table, and what is measured on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$", description="registered model name")
    train: str = Field(
        pattern=r"^[^:]+\.py:[A-Za-z_]\w*$", description="file.py:function, below the project"
    )
    table: str = Field(description="the feature table")
    label: str = Field(description="the column to predict")
    task: TaskName | None = Field(default=None, description="told by the label if not given")
    positive: bool | int | str | None = Field(
        default=None, description="the label to detect; the greater of the two if not given"
    )
    threshold: float | None = Field(
        default=None, description="score from which a row is labelled positive; 0.5 if not given"
    )
    key: list[str] = Field(default_factory=list, description="columns that identify a row")
    time: str | None = Field(default=None, description="the time a row speaks of")
    group: str | None = Field(default=None, description="rows of a group resemble each other")
    features: list[str] | None = Field(default=None, description="columns to learn from")
    exclude: list[str] = Field(default_factory=list, description="columns not to learn from")
    params: dict[str, Any] = Field(default_factory=dict, description="given to the function")
    seed: int = Field(default=0, ge=0, lt=2**32, description="given to the function")
    holdout: Holdout = Field(description="which rows are measured on and not learned")
    embargo: Span | None = Field(
        default=None, description="time left out before a hold-out by time"
    )
    lookback: Span | None = Field(
        default=None, description="how far back a feature row looks; used by trace"
    )

    @model_validator(mode="after")
    def _columns_of_the_rules(self) -> Self:
        if self.holdout.by_time and self.time is None:
            raise ValueError("a hold-out by time needs `time`: the column it cuts on")
        if self.holdout.group is not None and self.group is None:
            raise ValueError("a hold-out by group needs `group`: the column it draws from")
        if self.embargo is not None and not self.holdout.by_time:
            raise ValueError("an embargo needs a hold-out by time (last or after)")
        if self.features is not None and self.label in self.features:
            raise ValueError(f'the label "{self.label}" is among the features')
        if not self.key:
            derived = [column for column in (self.group, self.time) if column is not None]
            object.__setattr__(self, "key", derived)
        return self

    @property
    def file(self) -> str:
        """Path of the training source, below the project."""
        return self.train.rpartition(":")[0]

    @property
    def function(self) -> str:
        """Name of the training function."""
        return self.train.rpartition(":")[2]

    def canonical(self) -> str:
        """The same text for specs that train the same model."""
        return self.model_dump_json(include=set(TrainingSpec.model_fields))

    @property
    def digest(self) -> str:
        """Sha256 of ``canonical()``."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()
