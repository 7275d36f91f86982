"""Keys of people: an Ed25519 key each, in the form of ssh, outside every project.

A person's key says who approved; that of the workspace says what was decided. They are never the
same: whoever runs the gate could approve in everybody's name.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.approvals.errors import ApproverKeyError
from headrace.settings import setting

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.evidence.keys import Signer

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_OTHERS: Final = 0o077


def key_file(name: str) -> Path:
    """Where the key of a person is kept.

    Raises:
        ApproverKeyError: no file can have that name.
    """
    directory = Path(setting("HEADRACE_KEYS")).expanduser()
    if not _NAME.fullmatch(name):
        raise ApproverKeyError(directory / name, "a name is of letters, digits and . _ -")
    return directory / name


def new_key(name: str) -> tuple[Path, str]:
    """Make a key, mode 0600; its file, and the public line for ``groups`` of ``headrace.yaml``.

    Raises:
        ApproverKeyError: there is one of that name.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    path = key_file(name)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        why = "there is a key of that name; another would not be the one that projects know"
        raise ApproverKeyError(path, why, name) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
    return path, _line(key)


def public_line(path: Path, passphrase: Callable[[], str] | None = None) -> str:
    """The public half of a private key, such as ``ssh-ed25519 AAAA...``.

    Raises:
        ApproverKeyError: the file cannot be used.
    """
    return _line(_private(path, passphrase))


def signer_of(path: Path, passphrase: Callable[[], str] | None = None) -> Signer:
    """What signs with a private key.

    Args:
        path: an Ed25519 key in the form of ssh, or in PKCS8.
        passphrase: asked for one where the key has one.

    Raises:
        ApproverKeyError: there is no such file, others can read it, or it holds something else.
    """
    from securesystemslib.signer import CryptoSigner

    signer: Signer = CryptoSigner(_private(path, passphrase))
    return signer


def _private(path: Path, passphrase: Callable[[], str] | None) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        load_pem_private_key,
        load_ssh_private_key,
    )

    try:
        text = path.read_bytes()
        if path.stat().st_mode & _OTHERS:
            raise ApproverKeyError(path, f"others can read it: chmod 600 {path}", path.name)
    except OSError as error:
        raise ApproverKeyError(path, error.strerror or str(error), path.name) from error
    load: Any = load_ssh_private_key if b"OPENSSH" in text else load_pem_private_key
    try:
        try:
            key = load(text, None)
        except TypeError:  # it has a passphrase
            if passphrase is None:
                raise
            key = load(text, passphrase().encode())
    except UnsupportedAlgorithm as error:
        why = f"{error}; a passphrase of ssh-keygen needs bcrypt: pip install bcrypt"
        raise ApproverKeyError(path, why, path.name) from error
    except (ValueError, TypeError) as error:
        raise ApproverKeyError(path, str(error).splitlines()[0], path.name) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ApproverKeyError(path, "it is no key of Ed25519: ssh-keygen -t ed25519", path.name)
    return key


def _line(key: Any) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    line: bytes = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return line.decode()
