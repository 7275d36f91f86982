"""The outcome of one comparison, kept as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.parity.record import Recorded


@dataclass(frozen=True)
class Disagreement:
    """One value of one row that differs.

    Attributes:
        row: of the recorded rows, from 0.
        output: ``score`` or ``label``.
        recorded: what the training process answered.
        answered: what was answered now; ``None`` where there was no answer.
    """

    row: int
    output: str
    recorded: Any
    answered: Any

    def __str__(self) -> str:
        now = "no answer" if self.answered is None else repr(self.answered)
        return f"row {self.row}: {self.output} {self.recorded!r} at training, {now}"


@dataclass(frozen=True)
class ParityReport:
    """The recorded rows, sent one way.

    Attributes:
        route: ``batch``, ``live, JSON`` or ``live, Arrow``.
        rows: how many were sent; 0 where the model has no record.
        agreed: whether all answers agree; ``None`` where nothing was recorded to agree with.
        difference: the largest distance of two scores, relative to scores above 1; ``None`` where
            a score is missing.
        disagreements: rows whose score or label differs.
        tolerance: distance of two scores that counts as equal.
        margin: labels may differ where a row is this close to another label.
        examples: the first disagreements.
        reason: why they do not agree, or were not compared.
        record: digest of the record.
        by: what answered: ``kernel DIGEST``, ``environment DIGEST``, ``pyfunc``.
    """

    route: str
    rows: int
    agreed: bool | None
    difference: float | None = 0.0
    disagreements: int = 0
    tolerance: float = 0.0
    margin: float = 0.0
    examples: tuple[Disagreement, ...] = ()
    reason: str | None = None
    record: str | None = None
    by: str | None = None

    @property
    def summary(self) -> str:
        """One line."""
        if self.agreed is None:
            return f"{self.route}: not compared, {self.reason}"
        if not self.agreed:
            return f"{self.route}: {self.reason}"
        apart = "equal" if not self.difference else f"within {self.difference:.1e}"
        return f"{self.route}: {self.rows} rows agree, {apart}"

    def as_json(self) -> dict[str, Any]:
        """Plain values, without infinities."""
        body = asdict(self)
        for example in body["examples"]:
            for name in ("recorded", "answered"):
                value = example[name]
                if isinstance(value, float) and not math.isfinite(value):
                    example[name] = str(value)
        return body

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> ParityReport:
        """The report that ``as_json`` wrote."""
        examples = tuple(Disagreement(**each) for each in body["examples"])
        return cls(**{**body, "examples": examples})


def unrecorded(route: str, why: str = "the training recorded no answers") -> ParityReport:
    """The report of a model that has nothing to be compared with."""
    return ParityReport(route, 0, None, difference=None, reason=why)


def failed(
    route: str, why: str, recorded: Recorded | None = None, by: str | None = None
) -> ParityReport:
    """The report of rows that got no answers at all."""
    rows = 0 if recorded is None else recorded.rows
    digest = None if recorded is None else recorded.digest
    return ParityReport(route, rows, False, None, rows, reason=why, record=digest, by=by)
