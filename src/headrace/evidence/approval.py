"""Whether a signed approval is one for this version, on this evidence: pure, as ``verify`` is.

An approval is a DSSE envelope of its approver over exactly
``{model, version, alias, evidence, expires, approver}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from headrace import clock
from headrace.evidence.envelope import canonical, peek, seal, unseal
from headrace.evidence.errors import EnvelopeError
from headrace.evidence.keys import PublicKey, Signer

APPROVAL_TYPE: Final = "application/vnd.headrace.approval+json"


@dataclass(frozen=True)
class Approved:
    """What an approver signed.

    Attributes:
        model, version, alias: who may have what.
        evidence: digest of the statement that the approver saw.
        expires: from when on it counts no more.
        approver: the name in the group.
    """

    model: str
    version: int
    alias: str
    evidence: str
    expires: datetime
    approver: str

    def seal(self, signer: Signer) -> bytes:
        """The envelope."""
        return seal({**vars(self), "expires": clock.iso(self.expires)}, signer, APPROVAL_TYPE)


@dataclass(frozen=True)
class Wanted:
    """What approvals must be for.

    Attributes:
        model, version, alias, evidence: as in ``Approved``.
        requester: who asked for the promotion, and cannot approve it.
        at: when it is counted.
    """

    model: str
    version: int
    alias: str
    evidence: str
    requester: str
    at: datetime


@dataclass(frozen=True)
class Count:
    """Approvals that count, by approver, and for each other one why it does not."""

    approvers: tuple[str, ...]
    refused: tuple[str, ...]


def count(envelopes: Iterable[bytes], members: Mapping[str, str], wanted: Wanted) -> Count:
    """Count approvals.

    Args:
        envelopes: what was signed.
        members: of the group, name -> public key (PEM).
        wanted: what they must be for.
    """
    approvers: list[str] = []
    refused: list[str] = []
    for envelope in envelopes:
        try:
            approved = read(envelope, members)
        except EnvelopeError as error:
            refused.append(f"{_claimed(envelope)}: {error.why}")
            continue
        why = refusal(approved, wanted)
        if why is None and approved.approver in approvers:
            why = "has approved already"
        if why is None:
            approvers.append(approved.approver)
        else:
            refused.append(f"{approved.approver}: {why}")
    return Count(tuple(approvers), tuple(refused))


def read(envelope: bytes, members: Mapping[str, str]) -> Approved:
    """What a member of the group signed.

    Raises:
        EnvelopeError: it is no approval, was changed, or its signer is no member.
    """
    keys = {PublicKey.from_pem(pem).keyid: name for name, pem in members.items()}
    opened = unseal(envelope, [PublicKey.from_pem(pem) for pem in members.values()], APPROVAL_TYPE)
    body = opened.payload
    try:
        approved = Approved(**{**body, "expires": datetime.fromisoformat(body["expires"])})
        if approved.expires.tzinfo is None:
            raise ValueError("its expiry has no time zone")
    except (KeyError, TypeError, ValueError) as error:
        raise EnvelopeError("form", f"it is no approval: {error}") from error
    if keys[opened.key.keyid] != approved.approver:
        signer = keys[opened.key.keyid]
        raise EnvelopeError("signer", f"{signer} signed it in the name of {approved.approver}")
    return approved


def refusal(approved: Approved, wanted: Wanted) -> str | None:
    """Why an approval does not count for what is wanted; ``None`` if it does."""
    if (approved.model, approved.version) != (wanted.model, wanted.version):
        return f"approved {approved.model}/{approved.version}, not {wanted.model}/{wanted.version}"
    if approved.alias != wanted.alias:
        return f"approved it for {approved.alias}, not {wanted.alias}"
    if approved.evidence != wanted.evidence:
        return f"approved other evidence, {approved.evidence[:16]}, not {wanted.evidence[:16]}"
    if approved.expires <= wanted.at:
        return f"the approval expired on {clock.iso(approved.expires)}"
    if approved.approver == wanted.requester:
        return "asked for the promotion, and cannot approve it as well"
    return None


def as_bytes(envelope: Any) -> bytes:
    """An envelope that lies in a statement as JSON, in the bytes that were signed."""
    return canonical(envelope) + b"\n"


def _claimed(envelope: bytes) -> str:
    try:
        return str(peek(envelope).get("approver", "somebody"))
    except EnvelopeError:
        return "somebody"
