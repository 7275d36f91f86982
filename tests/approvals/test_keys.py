"""Keys of people: made here, or those that they have for ssh."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
)

from headrace.approvals import key_file, new_key, public_line, signer_of
from headrace.approvals.errors import ApproverKeyError
from headrace.evidence.approval import public_key


def test_a_key_is_made_once_and_is_private(keys: Path) -> None:
    path, line = new_key("ann")
    assert path == keys / "ann"
    assert (path.stat().st_mode & 0o777, keys.stat().st_mode & 0o777) == (0o600, 0o700)
    assert line.startswith("ssh-ed25519 ")
    assert public_line(path) == line
    assert signer_of(path).public_key.keyid == public_key(line).keyid
    before = path.read_bytes()
    with pytest.raises(ApproverKeyError, match="cannot be used"):
        new_key("ann")
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["", "../ann", "a b", "-x", "a/b", "." * 3, "a" * 65])
def test_a_name_that_is_no_file_is_refused(name: str, keys: Path) -> None:
    with pytest.raises(ApproverKeyError):
        new_key(name)
    assert not keys.exists()


def test_keys_that_cannot_be_used_say_why(keys: Path) -> None:
    path, _ = new_key("ann")
    with pytest.raises(ApproverKeyError, match="No such file"):
        signer_of(key_file("bob"))
    path.chmod(0o640)
    with pytest.raises(ApproverKeyError, match="chmod 600"):
        signer_of(path)
    path.chmod(0o600)
    path.write_text("no key")
    with pytest.raises(ApproverKeyError):
        signer_of(path)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="there is no ssh-keygen here")
def test_a_key_of_ssh_can_be_used(tmp_path: Path) -> None:
    for kind in ("ed25519", "ecdsa"):
        command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(tmp_path / kind)]
        subprocess.run(command, check=True, timeout=60)
    line = (tmp_path / "ed25519.pub").read_text()
    assert signer_of(tmp_path / "ed25519").public_key.keyid == public_key(line).keyid
    with pytest.raises(ApproverKeyError, match="Ed25519"):
        signer_of(tmp_path / "ecdsa")
    with pytest.raises(ValueError, match="Ed25519"):
        public_key((tmp_path / "ecdsa.pub").read_text())


def test_a_passphrase_is_asked_for_where_there_is_one(tmp_path: Path) -> None:
    key, path = Ed25519PrivateKey.generate(), tmp_path / "key.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a phrase"))
    )
    path.chmod(0o600)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    found = signer_of(path, lambda: "a phrase")
    assert found.public_key.keyid == public_key(pem).keyid
    for phrase in (lambda: "another", None):
        with pytest.raises(ApproverKeyError):
            signer_of(path, phrase)
