"""An approval: a person's signature under one version, one piece of evidence and one alias.

It is a DSSE envelope over exactly ``model``, ``version``, ``evidence`` (the digest of the
statement that waits), ``alias`` and ``expires``. Everything here is pure, so that approvals are
weighed offline as they were weighed when they counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from headrace.clock import iso
from headrace.evidence.envelope import seal, unseal
from headrace.evidence.errors import EnvelopeError
from headrace.evidence.keys import PublicKey

if TYPE_CHECKING:
    from headrace.evidence.keys import Signer

APPROVAL_TYPE: Final = "application/vnd.headrace.approval+json"
_FIELDS: Final = {"model", "version", "evidence", "alias", "expires"}
#: How far the clocks of two machines may be apart.
_SKEW: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class Ask:
    """What is to be approved, and by whom.

    Attributes:
        model, version, alias: which version is to take which alias.
        evidence: digest of the statement that waits.
        requester: who had it judged; his own approval does not count.
        members: name -> public key, as ``groups`` of a project has them.
        count: so many members must approve.
        expires: an approval is good for so long.
    """

    model: str
    version: int
    alias: str
    evidence: str
    requester: str
    members: Mapping[str, str]
    count: int
    expires: timedelta

    def as_json(self) -> dict[str, Any]:
        """As the statement of a promotion holds it."""
        return {
            "evidence": self.evidence,
            "requester": self.requester,
            "members": dict(self.members),
            "count": self.count,
            "expires_seconds": self.expires.total_seconds(),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any], model: str, version: int, alias: str) -> Ask:
        """What ``as_json`` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is not of that shape.
        """
        return cls(
            model,
            version,
            alias,
            str(body["evidence"]),
            str(body["requester"]),
            {str(name): str(key) for name, key in body["members"].items()},
            int(body["count"]),
            timedelta(seconds=body["expires_seconds"]),
        )


@dataclass(frozen=True)
class Weighed:
    """One approval, and whether it counts.

    Attributes:
        approver: the member whose key signed it; ``None`` if it is no member's.
        expires: until when, if it can be read.
        refused: why it does not count; ``None`` if it does.
        envelope: its bytes.
    """

    approver: str | None
    expires: datetime | None
    refused: str | None
    envelope: bytes


def sign(ask: Ask, expires: datetime, signer: Signer) -> bytes:
    """The envelope of an approval."""
    payload = {
        "model": ask.model,
        "version": ask.version,
        "evidence": ask.evidence,
        "alias": ask.alias,
        "expires": iso(expires),
    }
    return seal(payload, signer, APPROVAL_TYPE)


def weigh(envelopes: Sequence[bytes], ask: Ask, at: datetime) -> list[Weighed]:
    """Each approval with the reason why it does not count, if there is one; in their order."""
    keys = {name: public_key(text) for name, text in ask.members.items()}
    weighed: list[Weighed] = []
    for envelope in envelopes:
        have = {each.approver for each in weighed if each.refused is None}
        weighed.append(_weigh(envelope, ask, at, keys, have))
    return weighed


def problems(body: Mapping[str, Any], model: str, version: int, alias: str) -> Iterator[str]:
    """Why the ``approvals`` of a promotion's statement are not those that its rule asks for.

    Args:
        body: ``ask``, ``given`` and ``at`` of the statement.
        model, version, alias: what the statement promotes.
    """
    try:
        ask = Ask.from_json(body["ask"], model, version, alias)
        at = datetime.fromisoformat(body["at"])
        given = [str(each).encode() for each in body["given"]]
        weighed = weigh(given, ask, at)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        yield f"the approvals are not of the form that is stated: {error}"
        return
    for each in weighed:
        if each.refused is not None:
            yield f"an approval of {each.approver or 'nobody known'} does not count: {each.refused}"
    good = sum(each.refused is None for each in weighed)
    if good < ask.count:
        yield f"{good} of {ask.count} approvals count"


def public_key(text: str) -> PublicKey:
    """An Ed25519 public key in one line, ``ssh-ed25519 AAAA...``, or in PEM.

    Raises:
        ValueError: it is neither.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_ssh_public_key,
    )

    text = text.strip()
    if text.startswith("-----BEGIN"):
        return PublicKey.from_pem(text)
    try:
        key = load_ssh_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"it is no public key: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("it is a public key, but not one of Ed25519: ssh-keygen -t ed25519")
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey.from_pem(pem.decode())


def _weigh(
    envelope: bytes,
    ask: Ask,
    at: datetime,
    keys: Mapping[str, PublicKey],
    have: set[str | None],
) -> Weighed:
    try:
        opened = unseal(envelope, list(keys.values()), APPROVAL_TYPE)
    except EnvelopeError as error:
        return Weighed(None, None, f"no member's key signed it: {error.why}", envelope)
    names = [name for name, key in keys.items() if key.keyid == opened.key.keyid]
    name, said = names[0], opened.payload
    try:
        expires = datetime.fromisoformat(said["expires"])
        span = expires - at
    except (KeyError, TypeError, ValueError):
        return Weighed(name, None, "it does not say when it expires", envelope)
    if set(said) != _FIELDS:
        why: str | None = "it says more or less than an approval does"
    elif len(names) > 1:
        why = f"{' and '.join(names)} have one key"
    elif (said["model"], said["version"]) != (ask.model, ask.version):
        why = f"it is for {said['model']}/{said['version']}"
    elif said["alias"] != ask.alias:
        why = f"it is for the alias {said['alias']}"
    elif said["evidence"] != ask.evidence:
        why = f"it is for other evidence, {str(said['evidence'])[:12]}"
    elif name == ask.requester:
        why = "the requester cannot approve"
    elif span <= timedelta():
        why = f"it expired at {iso(expires)}"
    elif span > ask.expires + _SKEW:
        why = f"it would expire at {iso(expires)}, later than the rule allows: is the clock right?"
    elif name in have:
        why = f"{name} has approved already"
    else:
        why = None
    return Weighed(name, expires, why, envelope)
