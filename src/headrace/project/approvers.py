"""Whether the groups of a project can give the approvals that its gates ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from headrace.errors import did_you_mean
from headrace.evidence.approval import public_key

if TYPE_CHECKING:
    from headrace.project.config import ModelEntry
    from headrace.project.yaml_lines import Location

Groups = Mapping[str, Mapping[str, str]]


def approval_problems(
    groups: Groups, models: Mapping[str, ModelEntry]
) -> Iterator[tuple[Location, str]]:
    """Where a key is none, or a gate asks for what its group cannot give; a sentence each."""
    for group, members in groups.items():
        yield from _keys(group, members)
    for name, model in models.items():
        rule, at = model.gate.approvals, ("models", name, "gate", "approvals")
        if rule.group is None:
            continue
        if rule.group not in groups:
            hint = did_you_mean(rule.group, groups)
            yield at, f'no group "{rule.group}" in this file' + (f"; {hint}" if hint else "")
        elif rule.count > len(groups[rule.group]):
            have = len(groups[rule.group])
            yield at, f"{rule.count} approvals of {rule.group}, which has {have} members"


def _keys(group: str, members: Mapping[str, str]) -> Iterator[tuple[Location, str]]:
    known: dict[str, str] = {}
    for member, text in members.items():
        try:
            keyid = public_key(text).keyid
        except ValueError as error:
            yield ("groups", group, member), f'the key of "{member}": {error}'
            continue
        if keyid in known:
            yield ("groups", group, member), f'"{member}" has the key of "{known[keyid]}"'
        known.setdefault(keyid, member)
