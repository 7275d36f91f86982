"""What the gate decided, with all that it found. Kept in the database as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from headrace import clock
from headrace.gate.findings import Difference, Findings


class Verdict(Findings):
    """The outcome of one judgement.

    Attributes:
        id: unique.
        model: registered model name.
        version: the candidate.
        promoted: whether it may take the alias.
        reasons: where it failed, one sentence each; empty if promoted.
        gate_digest: the rule.
        judged_at: when.
    """

    id: str
    model: str
    version: int
    promoted: bool
    reasons: tuple[str, ...]
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
        """The verdict that ``as_json`` wrote.

        Raises:
            pydantic.ValidationError: it is another shape.
        """
        return cls.model_validate({name: body[name] for name in cls.model_fields if name in body})


def gain_text(difference: Difference) -> str:
    """Such as ``+0.031 (95 % interval +0.012 to +0.05)``."""
    return (
        f"{difference.gain:+.3g} ({difference.confidence * 100:g} % interval "
        f"{difference.low:+.3g} to {difference.high:+.3g})"
    )
