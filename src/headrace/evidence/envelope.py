"""DSSE envelopes in one form of bytes, so that a changed byte is always noticed.

The signature covers the payload and its type. Around it, JSON would let a space, the order of
keys or the spare bits of base64 change: an envelope is therefore accepted only in the very bytes
that ``seal`` writes, and its digest is that of its file (``sha256sum``).

See https://github.com/secure-systems-lab/dsse/blob/v1.0.2/envelope.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from headrace.evidence.errors import EnvelopeError

if TYPE_CHECKING:
    from headrace.evidence.keys import PublicKey, Signer

STATEMENT_TYPE: Final = "application/vnd.in-toto+json"

#: A statement takes some tens of kilobytes.
_MOST_BYTES: Final = 16 << 20


@dataclass(frozen=True)
class Opened:
    """An envelope whose signature is good.

    Attributes:
        payload: the signed JSON object.
        payload_type: what it is.
        key: what signed it.
        digest: sha256 of the envelope.
    """

    payload: dict[str, Any]
    payload_type: str
    key: PublicKey
    digest: str


def canonical(value: Any) -> bytes:
    """JSON in UTF-8 with sorted keys and no spaces; the same value gives the same bytes.

    Raises:
        ValueError: it holds a number that JSON has not.
        TypeError: it holds what is no JSON.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def digest_of(envelope: bytes) -> str:
    """Sha256 of an envelope, by which others refer to it."""
    return hashlib.sha256(envelope).hexdigest()


def seal(payload: Any, signer: Signer, payload_type: str = STATEMENT_TYPE) -> bytes:
    """Sign a JSON value; the envelope's bytes, which end with a newline."""
    from securesystemslib.dsse import Envelope

    envelope = Envelope(canonical(payload), payload_type, {})
    envelope.sign(signer)
    return canonical(envelope.to_dict()) + b"\n"


def unseal(
    envelope: bytes, keys: Sequence[PublicKey], payload_type: str = STATEMENT_TYPE
) -> Opened:
    """Check the form and the signature of an envelope, and give what it holds.

    Args:
        envelope: its bytes, as they were written.
        keys: any of these may have signed it.
        payload_type: the type that is expected.

    Raises:
        EnvelopeError: it is no such envelope, was changed, or is signed by another key.
    """
    from securesystemslib.exceptions import VerificationError

    read = _read(envelope)
    if read.payload_type != payload_type:
        raise EnvelopeError("form", f"it holds {read.payload_type}, not {payload_type}")
    if len(read.signatures) != 1:
        raise EnvelopeError("form", f"it has {len(read.signatures)} signatures, not one")
    keyid = next(iter(read.signatures))
    key = next((each for each in keys if each.keyid == keyid), None)
    if key is None:
        known = ", ".join(each.short for each in keys) or "none"
        raise EnvelopeError("signer", f"it is signed by key {keyid[:16]}; known are: {known}")
    try:
        read.verify([key.crypto()], 1)
    except VerificationError:
        raise EnvelopeError(
            "signature", f"the signature of key {key.short} does not fit: it was changed"
        ) from None
    return Opened(_object(read.payload), payload_type, key, digest_of(envelope))


def peek(envelope: bytes) -> dict[str, Any]:
    """What an envelope claims, its signature unchecked.

    Raises:
        EnvelopeError: it is no envelope.
    """
    return _object(_read(envelope).payload)


def _read(envelope: bytes) -> Any:
    """The envelope as the library has it, if its bytes are those that ``seal`` would write."""
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import Error

    if len(envelope) > _MOST_BYTES:
        raise EnvelopeError("form", f"it is larger than {_MOST_BYTES >> 20} MiB")
    try:
        read = Envelope.from_dict(json.loads(envelope))
        same = canonical(read.to_dict()) + b"\n" == envelope
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, Error) as error:
        raise EnvelopeError("form", f"it is no DSSE envelope: {_line(error)}") from error
    if not same:
        raise EnvelopeError("form", "its bytes are not those that were signed and written")
    return read


def _object(payload: bytes) -> dict[str, Any]:
    try:
        body = json.loads(payload)
        same = canonical(body) == payload
    except (ValueError, TypeError, RecursionError) as error:
        raise EnvelopeError("form", f"its payload is no JSON: {_line(error)}") from error
    if not isinstance(body, dict) or not same:
        raise EnvelopeError("form", "its payload is not JSON in the one form that is signed")
    return body


def _line(error: BaseException) -> str:
    return (f"{type(error).__name__}: {error}".splitlines() or [""])[0][:200]
