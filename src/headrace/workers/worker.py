"""One worker as its pool sees it: a process, the socket to it, and the batch it works on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from headrace.workers.framing import FramingError, Messages, head
from headrace.workers.launch import Child, exit_text

if TYPE_CHECKING:
    from headrace.workers.batching import Request

_TAIL: Final = 16 << 10
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

Message = tuple[dict[str, Any], bytes]


class Link(asyncio.Protocol):
    """The socket to a worker: one answer is awaited at a time."""

    def __init__(
        self, on_message: Callable[[Message], None], on_lost: Callable[[str | None], None]
    ) -> None:
        self._on_message, self._on_lost = on_message, on_lost
        self._messages = Messages()
        self._fault: str | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are of no such class

    def data_received(self, data: bytes) -> None:
        """Cut into messages."""
        try:
            for message in self._messages.feed(data):
                self._on_message(message)
        except (FramingError, ValueError) as error:
            self._fault = f"it answered in another protocol: {error}"
            assert self.transport is not None  # noqa: S101  # it received
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the worker that its process is gone."""
        self._on_lost(self._fault or (str(exc) if exc else None))


class _Tail(asyncio.Protocol):
    """The last of what a worker wrote to standard error."""

    def __init__(self) -> None:
        self.text = b""
        self.closed = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.text = (self.text + data)[-_TAIL:]

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.closed.set_result(None)


class Worker:
    """A process that has loaded, or is loading, the model.

    Attributes:
        busy: the requests that it works on.
        sent: when they were sent, on the event loop's clock.
        opened: when it had loaded the model, on the same clock.
        idle_since: when it last answered, or was opened.
        reason: why it was killed, if it was.
        modules: libraries that it has imported.
        retired: the pool ended it, as it has enough others.
        late: kills it at the deadline of its batch.
    """

    def __init__(
        self,
        child: Child,
        home: Path,
        on_answer: Callable[[Worker, Message], None],
        on_lost: Callable[[Worker], None],
    ) -> None:
        self.child, self.home = child, home
        self.busy: list[Request] = []
        self.sent = self.opened = self.idle_since = 0.0
        self.reason: str | None = None
        self.modules: list[str] = []
        self.retired = False
        self.late: asyncio.TimerHandle | None = None
        self._on_answer, self._on_lost = on_answer, on_lost
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[Message] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._tail = _Tail()
        self._pipe: asyncio.BaseTransport | None = None
        self._how: str | None = None
        self._link = Link(self._received, self._gone)

    async def load(self, config: dict[str, Any], *, told: bool) -> dict[str, Any]:
        """Wait until it has loaded the model.

        Args:
            config: what it is to do.
            told: whether it knows already, from a template.

        Returns:
            Its answer, with ``ready`` or ``failed``. ``failed`` also where it ended.
        """
        self.child.connection.setblocking(False)
        # Descriptors that the loop takes over are closed by it.
        if self.child.errors is not None:
            pipe = os.fdopen(self.child.errors, "rb", buffering=0)
            self.child.errors = None  # closed with the file, and not once more
            self._pipe, _ = await self._loop.connect_read_pipe(lambda: self._tail, pipe)
        await self._loop.create_connection(lambda: self._link, sock=self.child.connection)
        if not told:
            self._write(head(config))
        header, _ = await self._ready
        return header

    def send(self, batch: list[Request], header: dict[str, Any], payload: Any) -> None:
        """Give it a batch; the answer comes to ``on_answer``."""
        self.busy = batch
        self.sent = self._loop.time()
        self._write(head(header, len(payload)), payload)

    def kill(self, reason: str | None = None) -> None:
        """End its process; ``on_lost`` follows."""
        self.reason = self.reason or reason
        self.child.kill()
        if self._link.transport is not None:
            self._link.transport.abort()

    async def end(self) -> str:
        """Kill it, and wait until its process is gone and reaped.

        Returns:
            How it ended, in words.
        """
        if self._how is None:
            self.kill()
            if self._link.transport is None:
                await asyncio.to_thread(self.child.discard)
                self._how = self.reason or "it was not needed"
            else:
                await self._ended
                status = await asyncio.to_thread(self.child.reap)
                self._how = self.reason or exit_text(status)
            if self._pipe is not None:
                self._pipe.close()
                await self._tail.closed
        return self._how

    def resident(self) -> int:
        """Bytes in memory; 0 where that cannot be told."""
        try:
            with open(f"/proc/{self.child.pid}/statm", "rb") as file:  # noqa: PTH123  # each second
                return int(file.read().split()[1]) * _PAGE
        except (OSError, IndexError):
            return 0

    @property
    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        return self._tail.text.decode(errors="replace").strip()

    def _write(self, *parts: Any) -> None:
        transport = self._link.transport
        if transport is not None and not transport.is_closing():
            for part in parts:
                if len(part):
                    transport.write(memoryview(part))

    def _received(self, message: Message) -> None:
        if not self._ready.done():
            self._ready.set_result(message)
        else:
            self._on_answer(self, message)

    def _gone(self, why: str | None) -> None:
        self.reason = self.reason or why
        if not self._ready.done():
            self._ready.set_result(({"failed": None}, b""))
        if not self._ended.done():
            self._ended.set_result(None)
        self._on_lost(self)
