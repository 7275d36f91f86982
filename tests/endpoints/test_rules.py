"""Rules turn what a deployment has shown into forward, wait or back."""

from __future__ import annotations

import random
from typing import Any

import pytest

from headrace.endpoints.observations import Observations
from headrace.endpoints.rules import ALPHA, Judgement, distance_cap, judge
from headrace.endpoints.spec import RollbackRules


def rules(**given: Any) -> RollbackRules:
    return RollbackRules.model_validate(given)


def seen(
    answered: int = 0,
    failed: int = 0,
    seconds: float = 0.001,
    distances: tuple[float, int] = (0.0, 0),
    slow: int = 0,
    cap: float = 1.0,
) -> Observations:
    observations = Observations(cap)
    for number in range(answered):
        observations.answered(1.0 if number < slow else seconds)
    for _ in range(failed):
        observations.failed()
    for _ in range(distances[1]):
        observations.compared(distances[0])
    return observations


def verdict(given: RollbackRules, observations: Observations) -> Judgement:
    return judge(given, observations.evidence())


def test_without_rules_everything_is_good() -> None:
    judged = verdict(rules(), seen(failed=100))
    assert (judged.verdict, judged.reason, judged.checks) == ("good", "no rules", ())


def test_too_few_requests_wait() -> None:
    judged = verdict(rules(error_rate="1%", min_requests=50), seen(answered=49))
    assert (judged.verdict, judged.reason) == ("wait", "49 of 50 requests")
    assert verdict(rules(error_rate="1%", min_requests=50), seen(answered=50)).verdict == "good"


def test_a_deployment_that_fails_is_found_within_a_few_requests() -> None:
    judged = verdict(rules(error_rate="1%"), seen(failed=3))
    assert judged.verdict == "violated"
    assert judged.reason == "error_rate is 100.00% of 3 requests, the limit is 1.00%"
    (check,) = judged.as_json()["checks"]
    assert check["bound"] > check["allowed"] == 0.01
    assert (check["count"], check["mean"], check["alpha"]) == (3, 1.0, ALPHA)


def test_a_limit_that_is_exceeded_unproven_waits() -> None:
    judged = verdict(rules(error_rate="1%"), seen(answered=98, failed=2))
    assert judged.verdict == "wait"
    assert judged.reason.endswith("the limit is 1.00%, which is not proven yet")
    assert judged.kind == "above error_rate"


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [("latency_p50", 40, 70), ("latency_p95", 4, 25), ("latency_p99", 0, 8)],
)
def test_a_latency_is_a_share_of_slow_answers(rule: str, good: int, bad: int) -> None:
    limited = rules(**{rule: "50ms"})
    assert verdict(limited, seen(answered=100, slow=good)).verdict == "good"
    judged = verdict(limited, seen(answered=100, slow=bad))
    assert judged.verdict == "violated"
    assert "ms of 100 requests, the limit is 50 ms" in judged.reason


def test_distances_are_judged_on_mirrored_requests_only() -> None:
    limited = rules(distance=0.05)
    waiting = verdict(limited, seen(answered=100, distances=(0.01, 5)))
    assert (waiting.verdict, waiting.reason) == ("wait", "5 of 20 mirrored requests")
    assert verdict(limited, seen(answered=100, distances=(0.01, 50))).verdict == "good"
    assert verdict(limited, seen(answered=100, distances=(0.5, 30))).verdict == "violated"


def test_a_distance_beyond_one_is_on_its_own_scale() -> None:
    limited = rules(distance=5)
    cap = distance_cap(limited)
    assert cap == 50
    assert verdict(limited, seen(50, distances=(4.0, 50), cap=cap)).verdict == "good"
    assert verdict(limited, seen(50, distances=(45.0, 50), cap=cap)).verdict == "violated"
    assert distance_cap(rules()) == distance_cap(rules(distance=0.5)) == 1


def test_the_level_is_split_among_the_rules() -> None:
    judged = verdict(rules(error_rate="1%", latency_p99="1s"), seen(answered=1))
    assert [check.alpha for check in judged.checks] == [ALPHA / 2, ALPHA / 2]


def test_a_good_deployment_is_not_rolled_back_by_looking_often() -> None:
    """At its limits in three rules at once, looked at after each of 1,000 requests."""
    limited = rules(error_rate="5%", latency_p95="50ms", distance=0.1)
    rolled_back = 0
    for run in range(20):
        generator, observations = random.Random(run), Observations()
        for _ in range(1000):
            if generator.random() < 0.05:
                observations.failed()
            else:
                observations.answered(1.0 if generator.random() < 0.05 else 0.01)
            observations.compared(float(generator.random() < 0.1))
            if verdict(limited, observations).verdict == "violated":
                rolled_back += 1
                break
    assert rolled_back == 0
