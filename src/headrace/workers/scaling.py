"""How many workers there should be, and when a worker that ended is replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from headrace.workers.spec import WorkerSpec

_FIRST: Final = 0.25
_LONGEST: Final = 30.0
_TICKS: Final = 2


class Scaling:
    """Between the bounds of a spec, by the time that requests wait.

    One worker more where requests waited longer than ``queue_time`` at two looks in a row;
    one less where a worker was idle for ``idle``, which the pool measures.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._longest = 0.0
        self._over = 0

    def waited(self, seconds: float) -> None:
        """Count the time that a request waited for a worker."""
        self._longest = max(self._longest, seconds)

    def wanted(self, workers: int, starting: int, age: float, *, asked: bool) -> int:
        """The number of workers there should be.

        Args:
            workers, starting: as there are.
            age: seconds that the oldest request has waited so far.
            asked: whether there is one.
        """
        waited, self._longest = max(self._longest, age), 0.0
        self._over = self._over + 1 if waited > self._spec.queue_time.total_seconds() else 0
        least = max(self._spec.min, 1 if asked else 0)
        if workers + starting < least:
            return least
        if starting == 0 and self._over >= _TICKS and workers < self._spec.max:
            self._over = 0
            return workers + 1
        if asked or starting:
            return workers + starting
        return self._spec.min


class Backoff:
    """When the next worker may be started: at once after a death, later after more.

    Attributes:
        until: moment from which on.
        reason: how the last one ended; ``None`` once one has answered.
    """

    def __init__(self) -> None:
        self.until = 0.0
        self.reason: str | None = None
        self._deaths = 0
        self._latest = 0.0

    def died(self, now: float, reason: str) -> None:
        """Count a worker that ended, or did not start."""
        self._deaths += 1
        self._latest = now
        self.reason = reason
        pause = 0.0 if self._deaths == 1 else min(_LONGEST, _FIRST * 2 ** (self._deaths - 2))
        self.until = now + pause

    def worked(self, opened: float) -> None:
        """A worker answered that was opened then: if after the last death, the next is a first."""
        if opened >= self._latest:
            self._deaths = 0
            self.reason = None
            self.until = 0.0
