"""What must be seen wherever a project is looked at: overrides, recalls, versions that wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from headrace.catalog import guards
from headrace.promotion.records import last_decision
from headrace.promotion.waiting import waiting
from headrace.registry import champion

if TYPE_CHECKING:
    from headrace.project.config import Project
    from headrace.workspace import Workspace

#: The tag of a version whose training data was recalled; its value is the id of the recall.
RECALLED: Final = "headrace.recalled"


@dataclass(frozen=True)
class Notice:
    """One thing.

    Attributes:
        kind: ``override``, ``recalled`` for a version in production that learned from recalled
            data, or ``waiting`` for approvals.
        model: which model it is about.
        text: a sentence.
    """

    kind: Literal["override", "recalled", "waiting"]
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
    for name in project.models:
        live = champion(workspace, name)
        recall = None if live is None else live.tags.get(RECALLED)
        if recall is not None:
            text = f"{live} is in production and learned from data that {recall} took out"
            found.append(Notice("recalled", name, f"{text}: headrace recall --list"))
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
