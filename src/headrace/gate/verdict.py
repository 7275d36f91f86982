"""What the gate found. Immutable; kept in the database as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from headrace import clock


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null")


class Bound(_Frozen):
    """One bound on one metric, overall or in a slice.

    Attributes:
        metric: its name.
        bound: at least this, or at most where less is better.
        value: the candidate's.
        met: whether it is.
        column, slice: where; both ``None`` overall.
        rows: rows of that part.
    """

    metric: str
    bound: float
    value: float
    met: bool
    rows: int
    column: str | None = None
    slice: str | None = None


class SliceReport(_Frozen):
    """The gate's metric in one slice, for a person; bounds are apart.

    Attributes:
        column, slice: which rows.
        rows: how many.
        positives: how many are positive; ``None`` unless there are two classes.
        judged: whether there were enough rows to hold the slice to its bounds.
        candidate, champion: the gate's metric; ``None`` where it has no value.
    """

    column: str
    slice: str
    rows: int
    positives: int | None
    judged: bool
    candidate: float | None
    champion: float | None


class Difference(_Frozen):
    """The paired comparison with the champion.

    Attributes:
        champion: the champion's metric.
        gain: positive where the candidate is better, also for losses.
        low, high: the paired bootstrap interval of the gain.
        confidence: its level.
        resamples: how many resamples had a value.
        units: how many rows, or groups of rows, were resampled.
        grouped_by: the column of the groups.
    """

    champion: float
    gain: float
    low: float
    high: float
    confidence: float
    resamples: int
    units: int
    grouped_by: str | None = None


class Verdict(_Frozen):
    """The outcome of one judgement.

    Attributes:
        id: unique.
        model: registered model name.
        version: the candidate.
        champion: the version it was compared with; ``None`` for a first model.
        promoted: whether it may take the alias.
        reasons: where it failed, one sentence each; empty if promoted.
        metric: the gate's metric.
        candidate: the candidate's value of it.
        difference: ``None`` for a first model.
        bounds: every bound with its outcome.
        slices: the metric by slice.
        rows: rows of the hold-out.
        holdout_digest, gate_digest: the rows and the rule.
        judged_at: when.
    """

    id: str
    model: str
    version: int
    champion: int | None
    promoted: bool
    reasons: tuple[str, ...]
    metric: str
    candidate: float
    difference: Difference | None
    bounds: tuple[Bound, ...]
    slices: tuple[SliceReport, ...]
    rows: int
    holdout_digest: str
    gate_digest: str
    judged_at: datetime

    @property
    def summary(self) -> str:
        """One line: what happened, and by how much."""
        measured = f"{self.metric} {self.candidate:.4g}"
        if self.difference is not None:
            measured += f", {gain_text(self.difference)} over version {self.champion}"
        if self.promoted:
            return f"version {self.version} promoted: {measured}"
        return f"version {self.version} refused: {'; '.join(self.reasons)}"

    def as_json(self) -> dict[str, Any]:
        """A stable, documented shape; times in ISO 8601."""
        body = self.model_dump(mode="json")
        body["judged_at"] = clock.iso(self.judged_at)
        body["summary"] = self.summary
        return body

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Verdict:
        """The verdict that ``as_json`` wrote."""
        return cls.model_validate({name: body[name] for name in cls.model_fields})


def gain_text(difference: Difference) -> str:
    """Such as ``+0.031 (95 % interval +0.012 to +0.05)``."""
    return (
        f"{difference.gain:+.3g} ({difference.confidence * 100:g} % interval "
        f"{difference.low:+.3g} to {difference.high:+.3g})"
    )
