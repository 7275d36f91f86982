"""Which requests share a call of ``predict``, and how long they wait for each other."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio

    import pyarrow as pa

    from headrace.workers.result import Result

_SMOOTHING: Final = 0.2
_LOOK_AHEAD: Final = 1024
_CALLS: Final = 8


def batch_key(table: pa.Table, params: Mapping[str, Any] | None) -> tuple[Any, ...]:
    """Requests with equal keys may share a call.

    A column of whole numbers or booleans with a null becomes one of another type in pandas:
    such a request must not change the type that others are predicted with.
    """
    import pyarrow as pa

    nulls = tuple(
        index
        for index, column in enumerate(table.columns)
        if (pa.types.is_integer(column.type) or pa.types.is_boolean(column.type))
        and column.null_count
    )
    text = json.dumps(params, sort_keys=True) if params else ""
    return table.schema.remove_metadata(), nulls, text


@dataclass(eq=False)
class Request:
    """A request in the queue or with a worker.

    Attributes:
        deadline: on the event loop's clock, as is ``arrived``.
        alone: it must not share its call, as it was in one that failed.
    """

    table: pa.Table
    params: Mapping[str, Any] | None
    key: tuple[Any, ...]
    deadline: float
    arrived: float
    future: asyncio.Future[Result]
    alone: bool = False
    rows: int = field(init=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.rows = self.table.num_rows
        self.size = self.table.get_total_buffer_size()


class Queue:
    """Requests that wait, oldest first."""

    def __init__(self) -> None:
        self._waiting: deque[Request] = deque()
        self.rows = 0
        self.size = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: Request) -> None:
        """Put a request at the end."""
        self._waiting.append(request)
        self._count(request, 1)

    def put_back(self, requests: Iterable[Request]) -> None:
        """Put requests that were taken before all others, in their order."""
        for request in reversed(list(requests)):
            self._waiting.appendleft(request)
            self._count(request, 1)

    def oldest(self) -> Request | None:
        """The first request that still wants an answer."""
        while self._waiting:
            if not self._waiting[0].future.done():
                return self._waiting[0]
            self._count(self._waiting.popleft(), -1)
        return None

    def discard(self, request: Request) -> None:
        """Forget a request that was given up, if it waits here."""
        if request in self._waiting:
            self._waiting.remove(request)
            self._count(request, -1)

    def take(self, rows: int) -> list[Request]:
        """The oldest request, and those that can share its call up to so many rows in all."""
        first = self.oldest()
        if first is None:
            return []
        if first.alone:
            self._count(self._waiting.popleft(), -1)
            return [first]
        taken: list[Request] = []
        left: list[Request] = []
        total = 0
        while self._waiting and len(left) < _LOOK_AHEAD:
            request = self._waiting[0]
            if taken and total + request.rows > rows:
                break
            self._waiting.popleft()
            if request.future.done():
                self._count(request, -1)
            elif request.alone or request.key != first.key:
                left.append(request)
            else:
                taken.append(request)
                total += request.rows
                self._count(request, -1)
        self._waiting.extendleft(reversed(left))
        return taken

    def drain(self) -> list[Request]:
        """Take all."""
        taken = [each for each in self._waiting if not each.future.done()]
        self._waiting.clear()
        self.rows = self.size = 0
        return taken

    def _count(self, request: Request, sign: int) -> None:
        self.rows += sign * request.rows
        self.size += sign * request.size


class Pace:
    """How many requests come together and how long a call takes.

    Attributes:
        call: seconds of a call of ``predict``, with the way there and back: an exponentially
            weighted average; ``None`` before the first.
        together: the most requests that were under way at a time, in the latest calls.
    """

    def __init__(self) -> None:
        self.call: float | None = None
        self._most: deque[int] = deque([0], maxlen=_CALLS + 1)
        self._rows = self._rows_squared = self._rows_by_seconds = 0.0

    @property
    def together(self) -> int:
        return max(self._most)

    def arrived(self, under_way: int) -> None:
        """Count a request; with it so many wait or are with workers."""
        self._most[-1] = max(self._most[-1], under_way)

    def predicted(self, seconds: float, rows: int) -> None:
        """Count a call."""
        self._most.append(0)
        first = self.call is None
        self.call = _smooth(self.call, seconds)
        for name, value in (
            ("_rows", rows),
            ("_rows_squared", rows * rows),
            ("_rows_by_seconds", rows * seconds),
        ):
            setattr(self, name, float(value) if first else _smooth(getattr(self, name), value))

    def wait(self, queued: int, sent: int, workers: int, most: float) -> float:
        """Seconds from its arrival that the oldest request waits for others.

        None where requests come one at a time, to each worker: waiting would only add to the
        answer's time. None either once as many are under way as lately were, as by Little's law
        the rate and the time of a call tell: then nobody is to be expected. Else at most half a
        call, so that the time of an answer grows by less than sharing the call saves.

        Args:
            queued: requests that wait.
            sent: requests that are with workers.
            workers: so many.
            most: the bound of the wait.
        """
        if not self.call or self.together <= workers or queued + sent >= self.together:
            return 0.0
        return min(most, self.call / 2)

    def queue_seconds(self, requests: int, rows: int, batch_rows: int, workers: int) -> float:
        """The time until so many queued requests, of so many rows in all, are answered.

        A call takes a fixed time and a time a row, by weighted least squares. While all calls
        had the same size the time a row counts as nothing: turning away requests that one call
        could have answered is worse than to learn from the first large call.
        """
        if self.call is None or not requests:
            return 0.0
        variance = self._rows_squared - self._rows**2
        slope = 0.0
        if variance > 0.01 * self._rows**2:
            slope = (self._rows_by_seconds - self._rows * self.call) / variance
        slope = min(max(slope, 0.0), self.call / max(self._rows, 1.0))
        fixed = self.call - slope * self._rows
        calls = min(requests, math.ceil(rows / batch_rows))
        return (calls * fixed + rows * slope) / max(1, workers)


def _smooth(old: float | None, new: float) -> float:
    return new if old is None else old + _SMOOTHING * (new - old)
