"""An open-loop client: sends at a constant rate, whatever the answers do.

A closed loop waits for an answer before it asks again, so that a stall of the server silences the
client and is counted once. Here request ``n`` is due at ``n / rate`` seconds, is sent then or as
soon as a connection is free, and its latency counts from the moment it was due (Tene, "How NOT
to Measure Latency", 2013).

::

    with constant_rate(url, rate=200, body=lambda n: ...) as load:
        load.more(500)           # until 500 further requests have ended
    assert load.failed() == []
"""

from __future__ import annotations

import asyncio
import math
import selectors
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import httptools

SWEEP_SECONDS: Final = 0.05


@dataclass(slots=True)
class Sent:
    """One request and how it ended.

    Attributes:
        number: counts from 0.
        due: when it was to be sent, in seconds of ``time.perf_counter``.
        sent: when it was written to a connection; ``None`` if none was free in time.
        latency: seconds from ``due`` to the end of the answer, or to the error.
        status: of the answer; ``None`` if there was none.
        headers: of the answer, names in lower case.
        body: of the answer.
        error: why there was no answer.
    """

    number: int
    due: float
    sent: float | None = None
    latency: float = math.nan
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: str | None = None


class OpenLoop:
    """A client in a thread of its own; ``constant_rate`` runs it.

    Attributes:
        ended: requests that have ended, in the order in which they did.
        opened: how many connections have been made.
    """

    def __init__(
        self,
        url: str,
        rate: float,
        body: bytes | Callable[[int], bytes],
        headers: dict[str, str] | None = None,
        connections: int = 256,
        timeout: float = 30.0,
    ) -> None:
        address = urlsplit(url)
        self.host, self.port = address.hostname or "127.0.0.1", address.port or 80
        self.rate = rate
        self.timeout = timeout
        self.connections = connections
        self.ended: list[Sent] = []
        self.opened = 0
        self.began = 0.0
        self._body = body
        self._head = _head(address.path or "/", address.netloc, headers or {})
        self._due = 0
        self._idle: list[_Connection] = []
        self._open = 0
        self._waiting: deque[Sent] = deque()
        self._flying: dict[int, tuple[Sent, _Connection | None]] = {}
        self._stopping = False
        self._awaited = 0
        self._reached = threading.Event()
        self._thread = threading.Thread(target=self._run, name="open loop")
        self._loop: asyncio.AbstractEventLoop

    @property
    def due(self) -> int:
        """How many requests have been due."""
        return self._due

    def more(self, count: int, seconds: float = 120.0) -> None:
        """Wait until so many further requests have ended.

        Raises:
            TimeoutError: they have not in ``seconds``.
        """
        self._reached.clear()
        self._awaited = wanted = len(self.ended) + count
        if len(self.ended) < wanted and not self._reached.wait(seconds):
            raise TimeoutError(f"{len(self.ended)} of {wanted} requests ended in {seconds} s")

    def answered(self, status: int = 200) -> list[Sent]:
        """Those answered with a status."""
        return [sent for sent in list(self.ended) if sent.status == status]

    def failed(self) -> list[Sent]:
        """Those without an answer of status 200."""
        return [sent for sent in list(self.ended) if sent.status != 200]

    def outcomes(self) -> Counter[str]:
        """How many ended how: by status, or by error."""
        return Counter(str(sent.status or sent.error) for sent in list(self.ended))

    def quantile(self, share: float) -> float:
        """Nearest-rank quantile of the latencies of all requests, failed ones included."""
        return quantile([sent.latency for sent in list(self.ended)], share)

    def lateness(self, share: float) -> float:
        """Quantile of the seconds between due and sent: above the timer's error, the client or
        the number of its connections is the bottleneck."""
        return quantile([s.sent - s.due for s in list(self.ended) if s.sent is not None], share)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more, and wait for what is under way or for its timeout."""
        self._stopping = True
        self._thread.join()

    def _run(self) -> None:
        # select() takes microseconds; epoll would round each wait up to the next millisecond.
        with asyncio.Runner(
            loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())
        ) as runner:
            runner.run(self._send_all())

    async def _send_all(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.began = time.perf_counter()
        swept = self.began
        while not self._stopping or self._flying:
            moment = time.perf_counter()
            while not self._stopping and (due := self.began + self._due / self.rate) <= moment:
                self._begin(Sent(self._due, due))
                self._due += 1
            if moment - swept > SWEEP_SECONDS:
                swept = moment
                self._sweep(moment)
            ahead = self.began + self._due / self.rate - time.perf_counter()
            await asyncio.sleep(min(max(ahead, 0.0), SWEEP_SECONDS))
        for connection in self._idle:
            connection.close()

    def _begin(self, sent: Sent) -> None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.gone:
                self._write(connection, sent)
                return
        self._flying[sent.number] = (sent, None)
        self._waiting.append(sent)
        if self._open < self.connections:
            self._open += 1
            task = self._loop.create_task(self._connect())
            task.add_done_callback(lambda done: done.result())

    async def _connect(self) -> None:
        try:
            _, connection = await self._loop.create_connection(
                lambda: _Connection(self), self.host, self.port
            )
        except OSError as error:
            self._open -= 1
            if self._waiting:
                self.end(self._waiting.popleft(), f"connect: {type(error).__name__}")
            return
        self.opened += 1
        self.free(connection)

    def _write(self, connection: _Connection, sent: Sent) -> None:
        self._flying[sent.number] = (sent, connection)
        body = self._body if isinstance(self._body, bytes) else self._body(sent.number)
        sent.sent = time.perf_counter()
        connection.send(sent, b"%b%d\r\n\r\n%b" % (self._head, len(body), body))

    def _sweep(self, moment: float) -> None:
        for sent, connection in list(self._flying.values()):
            if moment - sent.due <= self.timeout:
                break  # they are in the order in which they were due, or nearly
            if connection is not None:
                connection.abandon()
            else:
                self._waiting.remove(sent)
            self.end(sent, "timeout")

    def free(self, connection: _Connection) -> None:
        """A connection can take the next request."""
        if self._waiting:
            self._write(connection, self._waiting.popleft())
        elif self._stopping:
            connection.close()
        else:
            self._idle.append(connection)

    def lost(self) -> None:
        """A connection is gone; those that wait for one get another."""
        self._open -= 1
        if self._waiting and self._open < self.connections:
            self._open += 1
            task = self._loop.create_task(self._connect())
            task.add_done_callback(lambda done: done.result())

    def end(self, sent: Sent, error: str | None = None) -> None:
        """A request has ended."""
        sent.latency = time.perf_counter() - sent.due
        sent.error = error
        del self._flying[sent.number]
        self.ended.append(sent)
        if len(self.ended) == self._awaited:
            self._reached.set()


class _Connection(asyncio.Protocol):
    """One connection, with one request at a time on it."""

    def __init__(self, client: OpenLoop) -> None:
        self.client = client
        self.gone = False
        self._sent: Sent | None = None
        self._transport: asyncio.Transport
        self._parser: httptools.HttpResponseParser
        self._body: list[bytes] = []
        self._complete = self._keeps = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, sent: Sent, data: bytes) -> None:
        """Write a request."""
        self._sent = sent
        self._parser = httptools.HttpResponseParser(self)
        self._body = []
        self._complete = False
        self._transport.write(data)

    def close(self) -> None:
        """Close it while nothing is under way."""
        self._transport.close()

    def abandon(self) -> None:
        """Break it off: its request has run out of time."""
        self._sent = None
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._sent is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._finish(f"malformed: {error}")
            self._transport.abort()
            return
        if self._complete:
            self._sent.status = self._parser.get_status_code()
            self._sent.body = b"".join(self._body)
            self._finish(None)
            if self._keeps:
                self.client.free(self)
            else:
                self._transport.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._sent is not None:
            self._sent.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._complete = True
        self._keeps = self._parser.should_keep_alive()  # knows it only within this call

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._finish(f"lost: {type(exc).__name__}" if exc else "lost: closed without an answer")
        self.client.lost()

    def _finish(self, error: str | None) -> None:
        if self._sent is not None:
            sent, self._sent = self._sent, None
            self.client.end(sent, error)


@contextmanager
def constant_rate(
    url: str,
    rate: float,
    body: bytes | Callable[[int], bytes],
    headers: dict[str, str] | None = None,
    connections: int = 256,
    timeout: float = 30.0,
) -> Iterator[OpenLoop]:
    """POST to a URL for the length of a ``with`` block, and wait for the answers at its end.

    Args:
        url: of one route.
        rate: requests a second.
        body: of every request, or of the request with a number.
        headers: of every request; the content type is JSON if not given.
        connections: at most so many; requests that find none free wait, and their time counts.
        timeout: seconds from the moment a request is due, after which it has failed.
    """
    load = OpenLoop(url, rate, body, headers, connections, timeout)
    load.start()
    try:
        yield load
    finally:
        load.stop()


def quantile(values: list[float], share: float) -> float:
    """Nearest-rank quantile; NaN of no values.

    >>> quantile([3.0, 1.0, 2.0], 0.5)
    2.0
    """
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _head(path: str, host: str, headers: dict[str, str]) -> bytes:
    given = {"content-type": "application/json"} | {k.lower(): v for k, v in headers.items()}
    lines = [f"POST {path} HTTP/1.1", f"host: {host}", *(f"{k}: {v}" for k, v in given.items())]
    return "\r\n".join([*lines, "content-length: "]).encode()
