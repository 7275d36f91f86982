"""What came of checking a statement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["ok", "failed", "warning", "skipped"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what, such as ``signature``.
        state: ``skipped`` where there was nothing to compare with.
        found: a sentence.
    """

    name: str
    state: State
    found: str


@dataclass(frozen=True)
class Verification:
    """What came of checking a statement.

    Attributes:
        digest: sha256 of the envelope.
        statement: the signed statement; ``None`` where the signature is not good.
        checks: everything that was looked at.
    """

    digest: str
    statement: Mapping[str, Any] | None
    checks: tuple[Check, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return self.statement is not None and all(each.state != "failed" for each in self.checks)

    @property
    def problems(self) -> list[str]:
        """What failed, a sentence each."""
        return [f"{each.name}: {each.found}" for each in self.checks if each.state == "failed"]

    @property
    def predicate(self) -> Mapping[str, Any]:
        """What the statement says; empty where there is none to believe."""
        predicate: Mapping[str, Any] = (self.statement or {}).get("predicate", {})
        return predicate

    @property
    def kind(self) -> str:
        """``promoted``, ``refused``, ``waiting``, ``overridden`` or ``key``; else empty."""
        return str(self.predicate.get("kind", ""))

    @property
    def subject(self) -> str:
        """``name/version`` that it is about; empty of a key."""
        about = self.predicate.get("model")
        return f"{about['name']}/{about['version']}" if about else ""

    def as_json(self) -> dict[str, Any]:
        """A stable, documented shape."""
        return {
            "verified": self.ok,
            "digest": self.digest,
            "kind": self.kind,
            "subject": self.subject,
            "sequence": self.predicate.get("sequence"),
            "checks": [vars(each) for each in self.checks],
            "statement": self.statement,
        }
