"""Threads for predictions, with a queue that never grows past what can be answered in time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from headrace.serving.errors import DeadlineExceededError, OverloadedError

T = TypeVar("T")

_SMOOTHING: Final = 0.1


class Claim:
    """Decides, once, whether a request is answered or has run out of time.

    The worker takes it before it logs its answer, the event loop takes it when the deadline
    passes: exactly one of them gets it, so that no request is both logged and refused.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False

    def take(self) -> bool:
        """Whether the caller is the first."""
        with self._lock:
            first = not self._taken
            self._taken = True
            return first


class PredictionPool:
    """Runs one request a thread.

    Args:
        threads: so many requests at once.
        waiting: at most so many more in the queue.
        deadline: seconds from arrival to answer.
    """

    def __init__(self, threads: int, waiting: int, deadline: float) -> None:
        self.threads = threads
        self.waiting = waiting
        self.deadline = deadline
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self.held = 0
        self._seconds = 0.0

    async def run(self, work: Callable[[Claim], T]) -> T:
        """The result of the work.

        Raises:
            OverloadedError: the queue is full, or longer than the deadline at the present pace.
            DeadlineExceededError: it took too long; the work learns of it from its claim.
        """
        queued = max(0, self.held - self.threads + 1)
        expected = queued * self._seconds / self.threads
        if queued > self.waiting or expected > self.deadline / 2:
            raise OverloadedError(queued)
        claim = Claim()
        self.held += 1
        future = asyncio.get_running_loop().run_in_executor(
            self._executor, self._timed, work, claim
        )
        future.add_done_callback(self._release)
        try:
            return await asyncio.wait_for(asyncio.shield(future), self.deadline)
        except TimeoutError:
            if claim.take():
                raise DeadlineExceededError(self.deadline) from None
            return await future

    def close(self) -> None:
        """Wait for the work under way."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _timed(self, work: Callable[[Claim], T], claim: Claim) -> T:
        started = time.perf_counter()
        try:
            return work(claim)
        finally:
            seconds = time.perf_counter() - started
            # Races between threads cost a sample of an average, nothing else.
            self._seconds += _SMOOTHING * (seconds - self._seconds)

    def _release(self, future: asyncio.Future[T]) -> None:
        self.held -= 1
        # A request that was given up has nobody left to retrieve its error.
        if not future.cancelled():
            future.exception()
