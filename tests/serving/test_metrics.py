"""What Prometheus reads, and that each name of it is documented."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headrace.catalog.guards import Override
from headrace.serving.metrics import BUCKETS, Metrics
from headrace.workers import WorkerStats

from .fakes import Adder, live_with

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
WORKERS = tuple(WorkerStats.__dataclass_fields__)


class Worker(Adder):
    """Has statistics of workers."""

    def stats(self) -> dict[str, float]:
        return dict.fromkeys(WORKERS, 2.0)


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels, in the order of the labels' names."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (s.name, *(value for _, value in sorted(s.labels.items()))): s.value
        for family in families
        for s in family.samples
    }


@pytest.fixture
def metrics() -> Metrics:
    live = live_with({"blue": Adder(), "green": Worker()}, {"blue": 90, "green": 10})
    gauges = {
        "headrace_thread_queue": ("Large requests that wait for a thread.", lambda: 3.0),
        "headrace_spool_bytes": ("Bytes of the request log.", lambda: 4.0),
    }
    return Metrics(live, gauges)


def test_answers_are_counted_in_the_bucket_of_their_latency(metrics: Metrics) -> None:
    for seconds in (0.0001, 0.0004, 0.0004, 99.0):
        metrics.answered("scores", "dep_blue", seconds, 2)
    found = samples(metrics)
    assert found["headrace_requests_total", "200", "dep_blue", "scores"] == 4
    assert found["headrace_rows_total", "dep_blue", "scores"] == 8
    buckets = [
        found["headrace_request_seconds_bucket", "dep_blue", "scores", str(bound)]
        for bound in (*BUCKETS, "+Inf")
    ]
    assert buckets == [1, 3, *[3] * (len(BUCKETS) - 2), 4]
    assert found["headrace_request_seconds_sum", "dep_blue", "scores"] == pytest.approx(99.0009)


def test_a_latency_on_a_bound_is_in_its_bucket(metrics: Metrics) -> None:
    metrics.answered("scores", "dep_blue", BUCKETS[3], 1)
    found = samples(metrics)
    assert found["headrace_request_seconds_bucket", "dep_blue", "scores", str(BUCKETS[3])] == 1
    assert found["headrace_request_seconds_bucket", "dep_blue", "scores", str(BUCKETS[2])] == 0


def test_refusals_are_counted_by_status_and_code(metrics: Metrics) -> None:
    metrics.refused("scores", "", 400, "malformed_request")
    metrics.refused("scores", "", 400, "invalid_input")
    found = samples(metrics)
    assert found["headrace_requests_total", "400", "", "scores"] == 2
    assert found["headrace_errors_total", "scores", "invalid_input"] == 1


def test_deployments_have_their_shares_and_workers(metrics: Metrics) -> None:
    found = samples(metrics)
    green = ("green", "dep_green", "scores", "kernel", "2")
    assert found[("headrace_traffic_percent", *green)] == 10
    assert found[("headrace_busy", *green)] == 0
    assert found[("headrace_worker_queued", *green)] == 2
    assert found["headrace_spool_bytes",] == 4


def test_an_override_is_told(metrics: Metrics) -> None:
    at = datetime(2026, 1, 31, tzinfo=UTC)
    metrics.live.overrides = [Override("model", "production", 3, "the fleet stands", "ann", at)]
    assert samples(metrics)["headrace_override", "production", "model", "3"] == 1


def test_each_metric_is_documented(metrics: Metrics) -> None:
    metrics.answered("scores", "dep_blue", 0.001, 1)
    metrics.refused("scores", "", 400, "invalid_input")
    names = {name for name, *_ in samples(metrics)}
    names = {re.sub("_(bucket|count|sum|created)$", "", name) for name in names}
    # Of the reconciler's and the mirror's making.
    names |= {"headrace_rollout_step", "headrace_mirrored_requests_total", "headrace_override"}
    documented = set(re.findall(r"`(headrace_[a-z_]+)`", PAGE))
    assert names == documented
