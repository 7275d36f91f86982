"""The result of making a version again."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from headrace import clock

Outcome = Literal["same", "close", "different", "impossible"]
State = Literal["same", "close", "different", "missing", "note"]

#: Exit status of the command.
EXIT: dict[Outcome, int] = {"same": 0, "close": 0, "different": 1, "impossible": 2}


@dataclass(frozen=True)
class Finding:
    """One thing that was compared.

    Attributes:
        name: rows, code, environment, predictions, metrics, files, or a circumstance.
        state: ``note`` tells a circumstance that differs and proves nothing by itself.
        text: what was found, for a person.
    """

    name: str
    state: State
    text: str


@dataclass(frozen=True)
class Reproduction:
    """A version made again, and how it compares.

    Attributes:
        model, version, run_id: of the registry, and the run that trained it.
        verdict: ``same``: the same rows and code, and the predictions on the hold-out agree to
            the last bit; ``close``: they agree within ``tolerance``, and all labels do;
            ``different``; ``impossible``: something that it was made of is gone.
        findings: each thing that was compared.
        largest: the largest distance of two predictions on the hold-out, relative to scores
            above 1; ``None`` where nothing was predicted.
        labels: how many labels differ.
        tolerance: that of the version's kernel.
        rows: of the hold-out.
        seconds: of all, and ``training_seconds`` in the training function.
        interpreter: that trained it, ``built`` from the lock or the ``running`` one.
        at, by: when, and who asked.
        next: what to type where it is impossible.
    """

    model: str
    version: int
    run_id: str | None
    verdict: Outcome
    findings: tuple[Finding, ...]
    largest: float | None = None
    labels: int | None = None
    tolerance: float | None = None
    rows: int | None = None
    seconds: float = 0.0
    training_seconds: float | None = None
    interpreter: str | None = None
    at: datetime = field(default_factory=clock.now)
    by: str = ""
    next: str | None = None

    @property
    def exit_code(self) -> int:
        """0 same or close, 1 different, 2 impossible."""
        return EXIT[self.verdict]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the verdict is not ``same``."""
        return tuple(
            each.text for each in self.findings if each.state in ("close", "different", "missing")
        )

    @property
    def summary(self) -> str:
        """One line."""
        name = f"{self.model}/{self.version}"
        if self.verdict == "same":
            return f"{name} is made again: its {self.rows:,} predictions agree to the last bit."
        if self.verdict == "close":
            return f"{name} is made again: its predictions agree within {self.tolerance:g}."
        if self.verdict == "different":
            return f"{name} comes out different."
        return f"{name} cannot be made again."

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "model": self.model,
            "version": self.version,
            "run_id": self.run_id,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "findings": [vars(each) for each in self.findings],
            "largest_difference": self.largest,
            "labels_different": self.labels,
            "tolerance": self.tolerance,
            "holdout_rows": self.rows,
            "seconds": round(self.seconds, 3),
            "training_seconds": self.training_seconds,
            "interpreter": self.interpreter,
            "at": clock.iso(self.at),
            "by": self.by,
            **({"next": self.next} if self.next else {}),
        }
