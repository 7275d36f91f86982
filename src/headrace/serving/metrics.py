"""What the plane counts, as Prometheus reads it.

Counting is plain arithmetic on the event loop; ``prometheus_client`` is imported for the first
scrape only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

    from headrace.serving.live import Live, LiveDeployment

#: Upper bounds in seconds.
BUCKETS: Final = (
    *(0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)

Key = tuple[str, str]


@dataclass(slots=True)
class _Latency:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0
    rows: int = 0


class Metrics:
    """Counts of one plane.

    Args:
        live: what is being served.
        gauges: further values, read at each scrape: name to (help, value).
        mirrored: counts of copies of requests by endpoint and by what became of them.
    """

    def __init__(
        self,
        live: Live,
        gauges: Mapping[str, tuple[str, Callable[[], float]]] | None = None,
        mirrored: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        self.live = live
        self.mirrored = {} if mirrored is None else mirrored
        self.gauges = dict(gauges or {})
        self.in_flight = 0
        self._latency: dict[Key, _Latency] = {}
        self._requests: dict[tuple[str, str, int], int] = {}
        self._errors: dict[tuple[str, str], int] = {}
        self._registry: CollectorRegistry | None = None

    def answered(self, endpoint: str, deployment: str, seconds: float, rows: int) -> None:
        """Count a request that was answered with 200."""
        key = (endpoint, deployment)
        latency = self._latency.get(key)
        if latency is None:
            latency = self._latency[key] = _Latency()
        latency.counts[bisect_left(BUCKETS, seconds)] += 1
        latency.seconds += seconds
        latency.rows += rows

    def refused(self, endpoint: str, deployment: str, status: int, code: str) -> None:
        """Count any other answer of a scoring route.

        Args:
            endpoint: its name, empty where there is no such endpoint: the names that strangers
                make up must not become time series.
            deployment: its id, empty where the request reached none.
            status: of HTTP.
            code: of the error.
        """
        key = (endpoint, deployment, status)
        self._requests[key] = self._requests.get(key, 0) + 1
        why = (endpoint, code)
        self._errors[why] = self._errors.get(why, 0) + 1

    def text(self) -> bytes:
        """The exposition format of Prometheus, version 0.0.4."""
        from prometheus_client import CollectorRegistry, generate_latest

        if self._registry is None:
            self._registry = CollectorRegistry(auto_describe=False)
            self._registry.register(self)
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """The families, for ``prometheus_client``."""
        yield from self._of_requests()
        yield from self._of_deployments()
        yield self._of_mirror()
        yield self._of_overrides()
        yield _gauge("headrace_requests_in_flight", "Requests under way.", self.in_flight)
        yield _gauge("headrace_ready", "1 while /readyz answers 200.", float(self._ready()))
        for name, (help_text, value) in self.gauges.items():
            yield _gauge(name, help_text, value())

    def _ready(self) -> bool:
        return self.live.ready and not self.live.draining

    def _of_requests(self) -> Iterable[Metric]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        labels = ("endpoint", "deployment")
        requests = CounterMetricFamily(
            "headrace_requests", "Requests by status of HTTP.", labels=(*labels, "code")
        )
        latency = HistogramMetricFamily(
            "headrace_request_seconds",
            "Seconds from the head of a request to its answer, of those answered with 200.",
            labels=labels,
        )
        rows = CounterMetricFamily("headrace_rows", "Scored rows.", labels=labels)
        for key, found in list(self._latency.items()):
            total, buckets = 0, []
            for bound, count in zip((*BUCKETS, "+Inf"), found.counts, strict=True):
                total += count
                buckets.append((str(bound), total))
            requests.add_metric((*key, "200"), total)
            latency.add_metric(key, buckets, found.seconds)
            rows.add_metric(key, found.rows)
        for (endpoint, deployment, status), count in list(self._requests.items()):
            requests.add_metric((endpoint, deployment, str(status)), count)
        errors = CounterMetricFamily(
            "headrace_errors", "Refused and failed requests by code.", labels=("endpoint", "error")
        )
        for why, count in list(self._errors.items()):
            errors.add_metric(why, count)
        yield from (requests, latency, rows, errors)

    def _of_mirror(self) -> Metric:
        from prometheus_client.core import CounterMetricFamily

        mirrored = CounterMetricFamily(
            "headrace_mirrored_requests",
            "Copies of requests for the deployment that takes over, by what became of them.",
            labels=("endpoint", "outcome"),
        )
        for endpoint, counts in list(self.mirrored.items()):
            for outcome, count in list(counts.items()):
                mirrored.add_metric((endpoint, outcome), count)
        return mirrored

    def _of_overrides(self) -> Metric:
        from prometheus_client.core import GaugeMetricFamily

        family = GaugeMetricFamily(
            "headrace_override",
            "1 while a protected alias is where a person put it, and not the gate.",
            labels=("model", "alias", "version"),
        )
        for each in self.live.overrides:
            version = "" if each.version is None else str(each.version)
            family.add_metric((each.model, each.alias, version), 1)
        return family

    def _of_deployments(self) -> Iterable[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        labels = ("endpoint", "deployment", "colour", "version", "scorer")
        share = GaugeMetricFamily("headrace_traffic_percent", "Share of traffic.", labels=labels)
        busy = GaugeMetricFamily("headrace_busy", "Requests being scored.", labels=labels)
        step = GaugeMetricFamily(
            "headrace_rollout_step",
            "Steps that the rollout of a deployment has made.",
            labels=("endpoint", "deployment"),
        )
        workers: dict[str, Any] = {}
        for endpoint in self.live.endpoints.values():
            record = endpoint.record
            shares = record.split.shares if record.split else {}
            for colour, loaded in endpoint.loaded.items():
                values = _labels(loaded)
                share.add_metric(values, shares.get(colour, 0))
                busy.add_metric(values, loaded.busy)
                for name, value in loaded.scorer.stats().items():
                    family = workers.setdefault(
                        name,
                        GaugeMetricFamily(
                            f"headrace_worker_{name}",
                            f"{name.replace('_', ' ').capitalize()} of a deployment's workers.",
                            labels=labels,
                        ),
                    )
                    family.add_metric(values, value)
            for deployment, progress in record.rollouts.items():
                step.add_metric((record.name, deployment), progress.step)
        yield from (share, busy, step, *workers.values())


def _labels(loaded: LiveDeployment) -> tuple[str, ...]:
    record = loaded.record
    return (
        *(record.endpoint, record.id, record.colour),
        *(str(record.model_version), loaded.scorer.kind),
    )


def _gauge(name: str, help_text: str, value: float) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(name, help_text, value=value)
