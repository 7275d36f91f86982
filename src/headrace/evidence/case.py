"""One statement under examination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.evidence.envelope import Opened
    from headrace.evidence.keys import PublicKey


@dataclass(frozen=True)
class About:
    """What a statement is expected to be about."""

    model: str
    version: int
    alias: str | None = None


@dataclass(frozen=True)
class Case:
    """A statement whose signature is good, and what it is compared with.

    Attributes:
        opened: the statement.
        keys: those that are trusted.
        model: directory of the model's files, if they are at hand.
        about: what it must be about, if that is known.
    """

    opened: Opened
    keys: Sequence[PublicKey]
    model: Path | None
    about: About | None

    @property
    def body(self) -> Mapping[str, Any]:
        """The statement."""
        return self.opened.payload

    @property
    def predicate(self) -> Mapping[str, Any]:
        """What it says."""
        predicate: Mapping[str, Any] = self.body["predicate"]
        return predicate

    @property
    def kind(self) -> str:
        """What was decided."""
        return str(self.predicate["kind"])
