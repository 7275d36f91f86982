"""ASGI messages of the guard: bodies within bounds, answers that are looked at, errors."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from headrace.control.errors import BodyTooLargeError, TooSlowError

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from headrace.control.errors import ControlError

_LOOKED_AT: Final = 64 * 1024


class ClientLeft(Exception):
    """The client closed the connection while it sent its body."""


def header(scope: Scope, name: bytes) -> str:
    """A header of the request, empty if it is not there."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def check_length(scope: Scope, limit: int) -> None:
    """Raises BodyTooLargeError where the request says that it will be too large."""
    length = header(scope, b"content-length")
    if length.isdecimal() and int(length[:20]) > limit:
        raise BodyTooLargeError(limit)


async def whole_body(receive: Receive, limit: int, seconds: float) -> bytes:
    """The body.

    Raises:
        BodyTooLargeError, TooSlowError: it is not within the bounds.
        ClientLeft: there is nobody to answer.
    """
    chunks, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > limit:
                    raise BodyTooLargeError(limit)
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError:
        raise TooSlowError(seconds) from None


def replayed(body: bytes, receive: Receive) -> Receive:
    """A body that was read, for the application to receive."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def bounded(receive: Receive, limit: int, seconds: float) -> Receive:
    """A stream whose whole is bounded in size, and each part of it in time."""
    size = 0

    async def part() -> Message:
        nonlocal size
        try:
            message = await asyncio.wait_for(receive(), seconds)
        except TimeoutError:
            raise TooSlowError(seconds) from None
        size += len(message.get("body", b""))
        if size > limit:
            raise BodyTooLargeError(limit)
        return message

    return part


class Watched:
    """Passes an answer on, and keeps the beginning of one that is an error."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self.started = False
        self.status = 0
        self.body = b""

    async def __call__(self, message: Message) -> None:
        """Hold back an error until ``release``; pass anything else on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status >= 400:
                self._start = message
                return
        if self._start is None:
            self.started = True
            await self._send(message)
            return
        self.body += message.get("body", b"")[:_LOOKED_AT]

    async def release(self) -> None:
        """Send an error that was held back, as it is."""
        if self._start is not None:
            self.started = True
            headers = [
                (name, value)
                for name, value in self._start["headers"]
                if name.lower() != b"content-length"
            ]
            headers.append((b"content-length", b"%d" % len(self.body)))
            await self._send({**self._start, "headers": headers})
            await self._send({"type": "http.response.body", "body": self.body})


async def send_error(send: Send, error: ControlError) -> None:
    """An error in MLflow's shape."""
    extra = {b"www-authenticate": b"Bearer"} if error.status == 401 else {}
    if error.status in (408, 413):
        extra[b"connection"] = b"close"  # the rest of its body is not read
    await answer(send, error.status, error.body(), b"application/json", extra)


async def answer(
    send: Send, status: int, body: bytes, kind: bytes, extra: Mapping[bytes, bytes] | None = None
) -> None:
    """A whole answer."""
    headers = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        *(extra or {}).items(),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
