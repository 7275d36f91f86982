"""The certificate that the plane serves with, and its replacement without a restart."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Self

from headrace.errors import HeadraceError
from headrace.settings import setting

log = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int], ...]


class CertificateUnusableError(HeadraceError):
    """The certificate or its key cannot be served with."""

    code = "certificate_unusable"

    def __init__(self, file: str, why: str, next: str) -> None:
        self.file = file
        super().__init__(
            "The plane cannot serve with this certificate.", where=file, why=why, next=next
        )


class Certificate:
    """A certificate chain and its private key, both PEM.

    Args:
        chain: the certificate, and those between it and its authority.
        key: its private key, without a passphrase.

    Raises:
        CertificateUnusableError: a file is missing, is no PEM, or they do not belong together.
    """

    def __init__(self, chain: Path, key: Path) -> None:
        self.chain, self.key = chain, key
        self._problem: str | None = None
        self._stamp = self._look()
        self._current = self._load()
        self.context = self._load()
        # Each handshake takes what is current then. The context that the server holds is never
        # changed: connections are made from it in another thread.
        self.context.sni_callback = self._choose

    @classmethod
    def from_settings(cls, root: Path) -> Self | None:
        """The one that ``HEADRACE_TLS_CERT`` and ``HEADRACE_TLS_KEY`` name, if they are set.

        Args:
            root: what relative paths begin at.

        Raises:
            CertificateUnusableError: see the class; or only one of them is set.
        """
        names = "HEADRACE_TLS_CERT", "HEADRACE_TLS_KEY"
        chain, key = (setting(name) for name in names)
        if not chain and not key:
            return None
        for name, other, value in zip(names, reversed(names), (chain, key), strict=True):
            if not value:
                why = f"{other} is set without {name}"
                raise CertificateUnusableError(name, why, f"export {name}=FILE.pem")
        return cls(root / chain, root / key)

    def refresh(self) -> None:
        """Take new files, if there are some. Files that do not fit leave it as it is."""
        try:
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp
                self._current = self._load()
                log.info("serving with the new certificate in %s", self.chain)
            self._problem = None
        except CertificateUnusableError as error:
            # Perhaps only one of the two has been replaced yet. Said once, not in each round.
            if error.why != self._problem:
                log.warning("the certificate stays as it is: %s", error.why)
            self._problem = error.why

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        connection.context = self._current

    def _look(self) -> _Stamp:
        stamps = []
        for file in (self.chain, self.key):
            try:
                status = file.stat()
            except OSError as error:
                raise _unusable(file, error.strerror or str(error)) from error
            stamps.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return tuple(stamps)

    def _load(self) -> ssl.SSLContext:
        for file in (self.chain, self.key):
            try:
                file.read_bytes()
            except OSError as error:
                raise _unusable(file, error.strerror or str(error)) from error
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            # With a passphrase given, even an empty one, none is asked for on the terminal.
            context.load_cert_chain(self.chain, self.key, password="")
        except ssl.SSLError as error:
            reason = (error.reason or str(error)).replace("_", " ").lower()
            if error.reason == "KEY_VALUES_MISMATCH":
                raise _unusable(self.key, f"it is not the key of {self.chain}") from error
            raise _unusable(self.chain, f"it or {self.key} is no usable PEM: {reason}") from error
        except (OSError, ValueError) as error:
            raise _unusable(self.key, f"it cannot be read: {type(error).__name__}") from error
        return context


def _unusable(file: Path, why: str) -> CertificateUnusableError:
    return CertificateUnusableError(str(file), why, f"openssl x509 -in {file} -noout -text")
