"""Connections that never send a request are closed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from headrace.serving import protocol as edge


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    )
    await send({"type": "http.response.body", "body": b"hi"})


async def talk(*chunks: bytes) -> bytes:
    """Send the chunks one after the other; what came back until the server closed."""
    config = uvicorn.Config(hello, lifespan="off", log_config=None, timeout_keep_alive=60)
    config.load()
    protocol = edge.protocol_class()
    server = await asyncio.get_running_loop().create_server(
        lambda: protocol(config=config, server_state=ServerState(), app_state={}), "127.0.0.1", 0
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        received = b""
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
            if chunk.endswith(b"\r\n\r\n"):
                received += await reader.readuntil(b"hi")
        received += await asyncio.wait_for(reader.read(), 30)
        writer.close()
        await writer.wait_closed()
    return received


REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
WITH_BODY = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"


@pytest.mark.parametrize(
    ("chunks", "answers"),
    [
        ((), 0),
        ((b"GET / HT",), 0),
        ((REQUEST, b"GET / HTTP/1.1\r\nHo"), 1),
        ((WITH_BODY, b"slow"), 1),
    ],
)
def test_what_a_client_sends_has_to_arrive_in_time(
    monkeypatch: pytest.MonkeyPatch, chunks: tuple[bytes, ...], answers: int
) -> None:
    monkeypatch.setattr(edge, "HEADER_SECONDS", 0.05)
    assert asyncio.run(talk(*chunks)).count(b"200 OK") == answers
