"""What a deployment has shown since its rollout began: errors, latencies, distances."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

#: Buckets an octave: a bucket is 1.1 % wide.
_RESOLUTION: Final = 64
_FLOOR_SECONDS: Final = 1e-6
_OCTAVES: Final = 32
_BUCKETS: Final = _RESOLUTION * _OCTAVES


@dataclass(frozen=True)
class Evidence:
    """Observations at one moment.

    Attributes:
        answered: requests that were answered, mirrored ones among them.
        failed: requests that the deployment should have answered and did not.
        compared: requests whose answers were compared with the live deployment's.
        distance: sum of the distances, each one clipped to ``distance_cap``.
        distance_cap: upper bound of one distance.
        latencies: number of answers in each bucket of time.
    """

    answered: int = 0
    failed: int = 0
    compared: int = 0
    distance: float = 0.0
    distance_cap: float = 1.0
    latencies: Sequence[int] = ()

    @property
    def requests(self) -> int:
        """Answered and failed."""
        return self.answered + self.failed

    @property
    def mean_distance(self) -> float | None:
        """Mean of the clipped distances; ``None`` before the first."""
        return self.distance / self.compared if self.compared else None

    def slower_than(self, seconds: float) -> int:
        """Answers that took longer; the limit is rounded up to the edge of its bucket (1.1 %)."""
        return sum(self.latencies[_bucket(seconds) + 1 :])

    def quantile(self, share: float) -> float | None:
        """The latency in seconds below which a share of the answers lies, to 1.1 %."""
        total = sum(self.latencies)
        if not total:
            return None
        wanted, seen = share * total, 0
        for bucket, count in enumerate(self.latencies):
            seen += count
            if seen >= wanted:
                return _upper_edge(bucket)
        return _upper_edge(len(self.latencies) - 1)


class _Seen:
    """Counts since one beginning."""

    __slots__ = ("answered", "cap", "compared", "distance", "failed", "latencies")

    def __init__(self, cap: float) -> None:
        self.answered = self.failed = self.compared = 0
        self.distance = 0.0
        self.cap = cap
        self.latencies = [0] * _BUCKETS


class Observations:
    """Counts of one deployment, kept in memory: one or two additions a request.

    Threads may add at once: a lost update in a race costs one observation of many, and no lock is
    taken on the way of a request.
    """

    def __init__(self, distance_cap: float = 1.0) -> None:
        self._seen = _Seen(distance_cap)

    def reset(self, distance_cap: float = 1.0) -> None:
        """Begin again. What is being added meanwhile belongs to what was before."""
        self._seen = _Seen(distance_cap)

    @property
    def distance_cap(self) -> float:
        """The largest distance that is counted as itself."""
        return self._seen.cap

    def answered(self, seconds: float) -> None:
        """A request was answered in so many seconds."""
        seen = self._seen
        seen.answered += 1
        seen.latencies[_bucket(seconds)] += 1

    def failed(self) -> None:
        """A request was not answered, and the deployment is to blame."""
        self._seen.failed += 1

    def compared(self, distance: float) -> None:
        """A mirrored request's answer differs so much from the one that was given.

        Args:
            distance: mean absolute difference of the scores of its rows, or share of its rows
                whose labels differ. Not a number counts as the largest distance.
        """
        seen = self._seen
        seen.compared += 1
        seen.distance += min(distance, seen.cap) if distance == distance else seen.cap

    def evidence(self) -> Evidence:
        """What has been seen so far."""
        seen = self._seen
        # In the opposite order of compared(): no sum may be of more than is counted, which the
        # rules refuse as impossible.
        distance, compared = seen.distance, seen.compared
        return Evidence(
            seen.answered,
            seen.failed,
            compared,
            min(distance, compared * seen.cap),
            seen.cap,
            tuple(seen.latencies),
        )


def quantiles(evidence: Evidence) -> dict[str, float | None]:
    """p50, p95 and p99 in milliseconds."""
    return dict(_quantiles(evidence))


def _quantiles(evidence: Evidence) -> Iterator[tuple[str, float | None]]:
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        seconds = evidence.quantile(share)
        yield name, None if seconds is None else round(seconds * 1000, 3)


def _bucket(seconds: float) -> int:
    if seconds <= _FLOOR_SECONDS:
        return 0
    return min(_BUCKETS - 1, int(math.log2(seconds / _FLOOR_SECONDS) * _RESOLUTION))


def _upper_edge(bucket: int) -> float:
    return float(_FLOOR_SECONDS * 2 ** ((bucket + 1) / _RESOLUTION))
