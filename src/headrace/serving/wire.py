"""ASGI messages: reading bodies within bounds, sending answers and errors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from headrace.payloads.dialects import refusal
from headrace.payloads.errors import MalformedRequestError
from headrace.serving.errors import BodyTooLargeError, SlowRequestError

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from headrace.errors import HeadraceError

Headers = Sequence[tuple[bytes, bytes]]


async def read_body(scope: Scope, receive: Receive, limit: int, seconds: float) -> bytes:
    """The body of a request.

    Raises:
        BodyTooLargeError: it exceeds the limit, or says that it will.
        SlowRequestError: it did not arrive in time.
        MalformedRequestError: the client went away.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise BodyTooLargeError(limit)
    try:
        async with asyncio.timeout(seconds):
            message = await receive()
            body: bytes = message.get("body", b"")
            if message["type"] == "http.request" and not message.get("more_body", False):
                if len(body) > limit:
                    raise BodyTooLargeError(limit)
                return body
            return await _rest(message, receive, limit)
    except TimeoutError:
        raise SlowRequestError(seconds) from None


async def _rest(message: Message, receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise MalformedRequestError("the client went away before its body was sent")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise BodyTooLargeError(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)
        message = await receive()


async def send_answer(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """A whole response; the headers hold its length."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: HeadraceError, path: str, extra: Headers = ()) -> None:
    """An error in the shape of the path's protocol, with the headers its status asks for."""
    body = refusal(path, error)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        *error_headers(error),
        *extra,
    ]
    await send_answer(send, error.status, headers, body)


def error_headers(error: HeadraceError) -> list[tuple[bytes, bytes]]:
    """``Retry-After``, ``WWW-Authenticate`` and ``Connection``, where the error wants them."""
    headers = []
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        headers.append((b"retry-after", b"%d" % retry_after))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.status == 408:
        # A client that does not send its body is not waited for any longer.
        headers.append((b"connection", b"close"))
    return headers
