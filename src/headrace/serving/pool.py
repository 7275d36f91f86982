"""Threads for work too long for the event loop, with a queue that cannot outgrow the deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from headrace.serving.errors import DeadlineExceededError, OverloadedError

T = TypeVar("T")

_SMOOTHING: Final = 0.1


class ThreadPool:
    """Runs one piece of work a thread; the event loop alone calls it.

    Args:
        threads: so many pieces at once.
        waiting: at most so many more in the queue.
        deadline: seconds that a request may take.
    """

    def __init__(self, threads: int, waiting: int, deadline: float) -> None:
        self.threads = threads
        self.waiting = waiting
        self.deadline = deadline
        self.held = 0
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="score")
        self._seconds = 0.0

    @property
    def queued(self) -> int:
        """Pieces that no thread has begun."""
        return max(0, self.held - self.threads)

    async def run(self, deadline: float, work: Callable[[], T]) -> T:
        """The result of the work.

        Args:
            deadline: on ``time.monotonic()``.
            work: must have no effect that matters once the deadline has passed: what is under
                way then goes on, and its result is dropped.

        Raises:
            OverloadedError: the queue is full, or longer than the deadline at the present pace.
            DeadlineExceededError: it took too long.
        """
        queued = max(0, self.held - self.threads + 1)
        expected = queued * self._seconds / self.threads
        if queued > self.waiting or expected > self.deadline / 2:
            raise OverloadedError(queued)
        self.held += 1
        future = asyncio.get_running_loop().run_in_executor(self._executor, self._timed, work)
        future.add_done_callback(self._release)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await asyncio.shield(future)
        except TimeoutError:
            # Work still waiting for its thread is never begun.
            future.cancel()
            raise DeadlineExceededError(self.deadline) from None

    async def finish(self, work: Callable[[], T]) -> T:
        """The result of work that must be done, however late and however full the queue is."""
        self.held += 1
        future = asyncio.get_running_loop().run_in_executor(self._executor, self._timed, work)
        future.add_done_callback(self._release)
        return await asyncio.shield(future)

    def close(self) -> None:
        """Wait for the work under way."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _timed(self, work: Callable[[], T]) -> T:
        started = time.perf_counter()
        try:
            return work()
        finally:
            seconds = time.perf_counter() - started
            # Races between threads cost a sample of an average, nothing else.
            self._seconds += _SMOOTHING * (seconds - self._seconds)

    def _release(self, future: asyncio.Future[T]) -> None:
        self.held -= 1
        # A request that was given up has nobody left to retrieve its error.
        if not future.cancelled():
            future.exception()
