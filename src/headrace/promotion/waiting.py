"""Versions that the gate let through and that wait for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.approvals.approve import counted, good
from headrace.approvals.errors import NothingToApproveError
from headrace.evidence.approval import Ask
from headrace.promotion.errors import GroupUnknownError
from headrace.promotion.records import Decided, last_decision

if TYPE_CHECKING:
    from headrace.approvals import Weighed
    from headrace.gate.spec import GateSpec
    from headrace.workspace import Workspace

Groups = Mapping[str, Mapping[str, str]]
"""``groups`` of a project: group -> member -> public key."""


@dataclass(frozen=True)
class Waiting:
    """A version that waits.

    Attributes:
        decided: the gate's decision.
        ask: what is to be approved.
        given: every approval, also those that do not count, with the reason.
    """

    decided: Decided
    ask: Ask
    given: tuple[Weighed, ...]

    @property
    def approved(self) -> list[str]:
        """Members whose approval counts."""
        return [str(each.approver) for each in good(self.given)]

    @property
    def missing(self) -> int:
        """So many approvals are missing."""
        return max(0, self.ask.count - len(self.approved))

    @property
    def may(self) -> list[str]:
        """Members who can still approve."""
        done = {*self.approved, self.ask.requester}
        return sorted(name for name in self.ask.members if name not in done)

    @property
    def summary(self) -> str:
        """Who approved, and who can."""
        done = f" ({', '.join(self.approved)})" if self.approved else ""
        text = f"{len(self.approved)} of {self.ask.count} approvals{done}"
        if not self.missing:
            return f"{text}: headrace run promotes it"
        who = ", ".join(self.may) or "nobody: add members to the group"
        return f"{text}, waits for {who}: headrace approve {self.ask.model}/{self.ask.version}"


def ask_for(decided: Decided, gate: GateSpec, groups: Groups) -> Ask:
    """What a version that waits asks for, by the rule and the groups of now.

    Raises:
        GroupUnknownError: the project has no such group.
        NothingToApproveError: its decision is not signed.
    """
    verdict, rule = decided.verdict, gate.approvals
    if decided.evidence is None:
        why = "its verdict is older than evidence"
        raise NothingToApproveError(verdict.model, verdict.version, why)
    if rule.group is not None and rule.group not in groups:
        raise GroupUnknownError(verdict.model, rule.group, list(groups))
    return Ask(
        model=verdict.model,
        version=verdict.version,
        alias=decided.alias,
        evidence=decided.evidence,
        requester=decided.by,
        members=groups[rule.group] if rule.group is not None else {},
        count=rule.count,
        expires=rule.expires,
    )


def waiting(workspace: Workspace, decided: Decided, gate: GateSpec, groups: Groups) -> Waiting:
    """How far a version that waits has come."""
    ask = ask_for(decided, gate, groups)
    with workspace.store.reading() as connection:
        return Waiting(decided, ask, tuple(counted(connection, ask)))


def waits_for(
    workspace: Workspace, model: str, gate: GateSpec, groups: Groups, version: int | None = None
) -> Waiting:
    """The version of a model that waits: the one that was judged last, or the one named.

    Raises:
        NothingToApproveError: it does not wait, or not by the rule of now.
    """
    found = last_decision(workspace, model, version)
    if found is None:
        raise NothingToApproveError(model, version or 0, "the gate has not judged it")
    number = found.verdict.version
    if found.state != "waiting":
        raise NothingToApproveError(model, number, f"it is {found.state}")
    if found.verdict.gate_digest != gate.digest:
        why = "the gate changed since it was judged: headrace run judges it again"
        raise NothingToApproveError(model, number, why)
    return waiting(workspace, found, gate, groups)
