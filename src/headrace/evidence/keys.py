"""The workspace's Ed25519 keys: one signs, all that ever signed are known.

``.headrace/keys`` holds ``ring.json``, the public keys with their history, and the private key
that signs, ``KEYID.pem`` (PKCS8, mode 0600). Who can read that file can sign in this workspace's
name.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from headrace import clock
from headrace.evidence.errors import KeyFileError, SigningKeyMissingError
from headrace.settings import Secret

if TYPE_CHECKING:
    from headrace.settings import Paths

_RING: Final = "ring.json"
_OTHERS: Final = 0o077


class Signer(Protocol):
    """What signs envelopes.

    Those of ``securesystemslib`` are of this shape, also the ones whose key stays in a vault.
    """

    @property
    def public_key(self) -> Any:
        """The key that verifies; has a ``keyid``."""

    def sign(self, payload: bytes) -> Any:
        """The signature of bytes, as ``securesystemslib`` has it."""


@dataclass(frozen=True)
class PublicKey:
    """One public key.

    Attributes:
        keyid: sha256 over the key, as ``securesystemslib`` makes it.
        pem: the key (SubjectPublicKeyInfo).
        created_at: when it was made; ``None`` of a key from elsewhere.
        retired_at: when another took its place.
        last: sequence of the last statement that it may have signed; ``None`` while it signs.
    """

    keyid: str
    pem: str
    created_at: datetime | None = None
    retired_at: datetime | None = None
    last: int | None = None

    @property
    def short(self) -> str:
        """As much of the id as a person compares."""
        return self.keyid[:16]

    def crypto(self) -> Any:
        """The key as ``securesystemslib`` takes it."""
        return _crypto(self.pem)

    @classmethod
    def from_pem(cls, pem: str, **facts: Any) -> PublicKey:
        """The key of a PEM text.

        Raises:
            ValueError: it is no Ed25519 public key.
        """
        return cls(_crypto(pem).keyid, pem, **facts)

    def as_json(self) -> dict[str, Any]:
        """As the ring keeps it."""
        return {
            "keyid": self.keyid,
            "public": self.pem,
            "created_at": _text(self.created_at),
            "retired_at": _text(self.retired_at),
            "last": self.last,
        }


def read_public(path: Path) -> list[PublicKey]:
    """The public keys of a PEM file, one or several.

    Raises:
        KeyFileError: there is no such file, or something else is in it.
    """
    end = "-----END PUBLIC KEY-----"
    try:
        text = path.read_text()
        blocks = [block.strip() + f"\n{end}\n" for block in text.split(end)[:-1]]
        if not blocks or "PRIVATE" in text:
            raise ValueError("it holds no PEM block PUBLIC KEY alone")
        return [PublicKey.from_pem(block) for block in blocks]
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise KeyFileError(path, why, "headrace key export writes a public key") from error


class Keys:
    """The keys of one workspace.

    Args:
        paths: the project.
    """

    def __init__(self, paths: Paths) -> None:
        self.directory = paths.state / "keys"

    def public(self) -> list[PublicKey]:
        """Every public key, the newest first; none before the first use.

        Raises:
            KeyFileError: the ring is damaged.
        """
        return list(reversed(self._ring()))

    def ensure(self) -> PublicKey:
        """The newest key; made where there is none, once, whoever comes first."""
        ring = self._ring()
        if ring:
            return ring[-1]
        fresh = self._generate()
        # A link, not a rename: if another process was first, its key is the project's.
        if not _write(self.directory / _RING, _ring_text([fresh]), 0o644, replace=False):
            self.forget(fresh.keyid)
        return self._ring()[-1]

    def signer(self, keyid: str | None = None) -> Signer:
        """What signs with the newest key, or with the one of that id; made on first use.

        Raises:
            SigningKeyMissingError: the private key is not here.
            KeyFileError: it can be read by others, or is damaged.
        """
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from securesystemslib.signer import CryptoSigner

        keyid = keyid or self.ensure().keyid
        path = self._private(keyid)
        if not path.exists():
            raise SigningKeyMissingError(self.directory, keyid)
        if path.stat().st_mode & _OTHERS:
            raise KeyFileError(path, "others than its owner can read it", f"chmod 600 {path}")
        try:
            secret = Secret(path.read_text())
            signer: Signer = CryptoSigner(load_pem_private_key(secret.reveal().encode(), None))
        except (OSError, ValueError) as error:
            raise KeyFileError(path, str(error)) from error
        if signer.public_key.keyid != keyid:
            raise KeyFileError(path, "it holds another key than its name says")
        return signer

    def has_private(self, keyid: str) -> bool:
        """Whether this machine can sign with a key."""
        return self._private(keyid).exists()

    def add(self) -> PublicKey:
        """Make another key, known from now on; the one before it goes on signing.

        One that was added and never used is given again.
        """
        ring = self._ring()
        if len(ring) > 1 and ring[-2].retired_at is None and self.has_private(ring[-1].keyid):
            return ring[-1]
        fresh = self._generate()
        _write(self.directory / _RING, _ring_text([*ring, fresh]), 0o644)
        return fresh

    def retire(self, keyid: str, last: int) -> None:
        """Note that a key signs no more after a statement, and destroy its private part."""
        ring = [
            replace(each, retired_at=each.retired_at or clock.now(), last=last)
            if each.keyid == keyid
            else each
            for each in self._ring()
        ]
        _write(self.directory / _RING, _ring_text(ring), 0o644)
        self.forget(keyid)

    def forget(self, keyid: str) -> None:
        """Remove a private key."""
        self._private(keyid).unlink(missing_ok=True)

    def _private(self, keyid: str) -> Path:
        return self.directory / f"{keyid}.pem"

    def _generate(self) -> PublicKey:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
        from securesystemslib.signer import CryptoSigner

        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = CryptoSigner.generate_ed25519()
        crypto = made._private_key.public_key()
        pem = crypto.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        key = PublicKey.from_pem(pem, created_at=clock.now())
        _write(self._private(key.keyid), made.private_bytes.decode(), 0o600)
        return key

    def _ring(self) -> list[PublicKey]:
        """The oldest first."""
        path = self.directory / _RING
        try:
            body = json.loads(path.read_text())
            return [_of_json(each) for each in body["keys"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise KeyFileError(path, f"the ring of keys is damaged: {error!r}") from error


def _of_json(body: Mapping[str, Any]) -> PublicKey:
    # The id is computed, not believed.
    return PublicKey.from_pem(
        body["public"],
        created_at=_moment(body["created_at"]),
        retired_at=_moment(body["retired_at"]),
        last=body["last"],
    )


def _ring_text(keys: list[PublicKey]) -> str:
    return json.dumps({"keys": [each.as_json() for each in keys]}, indent=1) + "\n"


def _crypto(pem: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    try:
        key = load_pem_public_key(pem.encode())
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("it is no Ed25519 key")
    return SSlibKey.from_crypto(key)


def _write(path: Path, text: str, mode: int, *, replace: bool = True) -> bool:
    """Write a file at once, with its mode from the start; whether it was written.

    Args:
        replace: also where there is one.
    """
    fresh = path.with_name(f".{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        if replace:
            fresh.replace(path)
            return True
        with suppress(FileExistsError):
            os.link(fresh, path)
            return True
        return False
    finally:
        fresh.unlink(missing_ok=True)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else clock.iso(moment)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
