"""A browser's way in: a link that works once gives a cookie that only this plane can make.

A browser cannot send a bearer token with a page. Whoever can read the project's directory, or
the terminal of ``headrace up``, opens the link; its code is another one from then on.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from headrace.settings import Paths, Secret

SESSION_SECONDS: Final = 7 * 24 * 3600


class Login:
    """Codes and cookies of one plane.

    Args:
        paths: the project; the code that works next lies in its state directory, mode 0600.
        token: the project's token, with which cookies are made: a new token ends all sessions.
        port: of the plane. Browsers share cookies between the ports of a host.
    """

    def __init__(self, paths: Paths, token: Callable[[], Secret], port: int) -> None:
        self.file = paths.state / "login"
        self.token = token
        self.name = f"headrace_{port}"
        self.renew()

    def renew(self) -> None:
        """Make a new code; the old one works no more."""
        self._code = secrets.token_urlsafe(24)
        fresh = self.file.with_suffix(f".{secrets.token_hex(4)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self._code + "\n")
        fresh.replace(self.file)

    def enter(self, code: str) -> str | None:
        """The cookie for a code that is right, which is right no more; else ``None``."""
        if not secrets.compare_digest(code.encode(), self._code.encode()):
            return None
        self.renew()
        until = str(int(time.time()) + SESSION_SECONDS)
        value = f"{until}.{self._mac(until)}"
        return f"{self.name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={SESSION_SECONDS}"

    def knows(self, cookies: str) -> bool:
        """Whether a ``Cookie`` header holds one of ours that is still good."""
        for pair in cookies.split(";"):
            name, _, value = pair.strip().partition("=")
            until, _, mac = value.partition(".")
            if name != self.name or not until.isdecimal() or not until.isascii():
                continue
            right = secrets.compare_digest(mac.encode(), self._mac(until).encode())
            if right and time.time() < int(until[:12]):
                return True
        return False

    def _mac(self, until: str) -> str:
        key = self.token().reveal().encode()
        text = f"headrace control session {self.name} {until}".encode()
        return hmac.new(key, text, hashlib.sha256).hexdigest()
