"""The plane behind a certificate: real handshakes, replaced files, files that do not fit."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.planes import eventually, make_root

from headrace.endpoints import read_plane
from headrace.serving import running_plane
from headrace.serving.errors import PlaneFailedError
from headrace.serving.tls import Certificate, CertificateUnusableError

Make = Callable[..., None]


def make_certificate(chain: Path, key: Path, name: str = "first", passphrase: bytes = b"") -> None:
    """A certificate of its own authority, for this machine."""
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    moment = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=1))
        .not_valid_after(moment + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(private, hashes.SHA256())
    )
    encryption: Any = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    for file, text in (
        (
            key,
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
            ),
        ),
        (chain, made.public_bytes(serialization.Encoding.PEM)),
    ):
        fresh = file.with_suffix(".fresh")
        fresh.write_bytes(text)
        fresh.replace(file)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A certificate and its key, in the settings."""
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    make_certificate(chain, key)
    monkeypatch.setenv("HEADRACE_TLS_CERT", str(chain))
    monkeypatch.setenv("HEADRACE_TLS_KEY", str(key))
    return chain, key


def served_name(url: str) -> str:
    """The common name of the certificate that a server shows, without a server name sent."""
    address = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((address.hostname, address.port), timeout=30) as connection,
        context.wrap_socket(connection) as secured,
    ):
        shown = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")
    [name] = shown.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


def test_a_plane_serves_https_and_takes_a_new_certificate(
    tmp_path: Path, files: tuple[Path, Path]
) -> None:
    chain, key = files
    paths = make_root(tmp_path / "project")
    with running_plane(paths) as url:
        assert url.startswith("https://127.0.0.1:")
        running = read_plane(paths)
        assert running is not None
        assert running.url == url
        trusting = ssl.create_default_context(cafile=chain)
        with urllib.request.urlopen(f"{url}/livez", context=trusting, timeout=30) as reply:
            assert reply.status == 200
        trusting.maximum_version = ssl.TLSVersion.TLSv1_2
        with urllib.request.urlopen(f"{url}/readyz", context=trusting, timeout=30) as reply:
            assert reply.status == 200
        assert served_name(url) == "first"
        make_certificate(chain, key, "second")
        eventually(lambda: served_name(url) == "second")


def test_plain_http_gets_no_answer_from_https(tmp_path: Path, files: tuple[Path, Path]) -> None:
    with running_plane(make_root(tmp_path / "project")) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert not connection.recv(100).startswith(b"HTTP")
        assert served_name(url) == "first"


def test_a_plane_without_its_certificate_says_why(tmp_path: Path, files: tuple[Path, Path]) -> None:
    files[0].unlink()
    with (
        pytest.raises(PlaneFailedError, match="does not start") as caught,
        running_plane(make_root(tmp_path / "project")),
    ):
        pass
    assert str(files[0]) in (caught.value.why or "")


def test_no_settings_are_no_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADRACE_TLS_CERT", raising=False)
    monkeypatch.delenv("HEADRACE_TLS_KEY", raising=False)
    assert Certificate.from_settings(tmp_path) is None


def test_relative_files_begin_at_the_project(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_TLS_CERT", files[0].name)
    monkeypatch.setenv("HEADRACE_TLS_KEY", files[1].name)
    found = Certificate.from_settings(files[0].parent)
    assert found is not None
    assert found.chain == files[0]


def other_key(chain: Path, key: Path) -> None:
    make_certificate(chain.with_name("other.pem"), key)


def unreadable(_: Path, key: Path) -> None:
    key.unlink()
    key.mkdir()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda chain, key: key.unlink(), "No such file"),
        (other_key, "it is not the key of"),
        (unreadable, "directory"),
        (lambda chain, key: chain.write_text("no certificate"), "no usable PEM"),
        (lambda chain, key: make_certificate(chain, key, passphrase=b"x"), "no usable PEM"),
        (lambda *_: os.environ.pop("HEADRACE_TLS_KEY"), "set without HEADRACE_TLS_KEY"),
    ],
    ids=["missing", "mismatch", "directory", "no PEM", "passphrase", "one setting"],
)
def test_files_that_cannot_be_used_are_named(
    tmp_path: Path, files: tuple[Path, Path], spoil: Make, why: str
) -> None:
    spoil(*files)
    with pytest.raises(CertificateUnusableError) as caught:
        Certificate.from_settings(tmp_path)
    assert why in (caught.value.why or "")
    assert caught.value.next


def test_half_a_replacement_leaves_the_certificate_as_it_is(
    files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    chain, key = files
    certificate = Certificate(chain, key)
    before = certificate._current
    certificate.refresh()
    assert certificate._current is before
    other_key(chain, key)
    certificate.refresh()
    certificate.refresh()
    assert certificate._current is before
    assert caplog.text.count("the certificate stays as it is") == 1
    key.unlink()
    certificate.refresh()
    certificate.refresh()
    assert caplog.text.count("the certificate stays as it is") == 2
    make_certificate(chain, key, "second")
    certificate.refresh()
    assert certificate._current is not before
