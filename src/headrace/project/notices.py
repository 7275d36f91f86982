"""What must be seen wherever a project is looked at: overrides, and versions that wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from headrace.catalog import guards
from headrace.promotion.records import last_decision
from headrace.promotion.waiting import waiting

if TYPE_CHECKING:
    from headrace.project.config import Project
    from headrace.workspace import Workspace


@dataclass(frozen=True)
class Notice:
    """One thing.

    Attributes:
        kind: ``override``, or ``waiting`` for approvals.
        model: which model it is about.
        text: a sentence.
    """

    kind: Literal["override", "waiting"]
    model: str
    text: str

    def as_json(self) -> dict[str, str]:
        """The notice as plain values."""
        return {"kind": self.kind, "model": self.model, "text": self.text}


def notices(workspace: Workspace, project: Project) -> list[Notice]:
    """Overrides first, loudly."""
    found = [
        Notice("override", each.model, each.sentence) for each in guards.overrides(workspace.store)
    ]
    for name, model in project.models.items():
        decided = last_decision(workspace, name)
        if decided is None or decided.state != "waiting":
            continue
        version = f"{name} version {decided.verdict.version}"
        if decided.verdict.gate_digest != model.gate.digest:
            text = f"{version} waits by a rule that has changed: headrace run judges it again"
        else:
            text = f"{version}: {waiting(workspace, decided, model.gate, project.groups).summary}"
        found.append(Notice("waiting", name, text))
    return found
