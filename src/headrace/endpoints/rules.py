"""Whether a rollout goes forward, waits or goes back: a pure function of its rules and evidence.

Each rule bounds the mean of observations in [0, 1], and is tested by ``endpoints.sequential``:

| rule | observation | limit |
|---|---|---|
| ``error_rate`` | the request failed | the rate |
| ``latency_pQ`` | the answer took longer than the limit | 1 - Q |
| ``distance`` | the distance, clipped at a cap, as a share of the cap | the distance's limit |

``ALPHA`` is the probability that a deployment within all of its limits is rolled back, at any
time of a rollout. Each of k rules is tested at level ``ALPHA / k`` (the union bound).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from headrace.endpoints.sequential import exceeds, lower_bound

if TYPE_CHECKING:
    from headrace.endpoints.observations import Evidence
    from headrace.endpoints.spec import RollbackRules

ALPHA: Final = 0.01


@dataclass(frozen=True)
class Check:
    """One rule and what it was judged on.

    Attributes:
        rule: its name in the project file.
        limit: in the rule's own unit: a share, milliseconds, or a distance.
        observed: the same quantity as it was observed; ``None`` before the first observation.
        count: number of observations.
        mean: of the observations in [0, 1].
        allowed: the mean that the limit allows.
        alpha: level at which the rule is tested.
        violated: it is proven that the limit is exceeded.
    """

    rule: str
    limit: float
    observed: float | None
    count: int
    mean: float | None
    allowed: float
    alpha: float
    violated: bool

    @property
    def bound(self) -> float:
        """The mean is above it, at all times of looking together, with confidence 1 - alpha."""
        return lower_bound((self.mean or 0.0) * self.count, self.count, self.alpha)

    @property
    def above(self) -> bool:
        """Whether the observed mean is above what is allowed, proven or not."""
        return self.mean is not None and self.mean > self.allowed

    def text(self) -> str:
        """One line for a person."""
        unit = {"error_rate": ".2%", "distance": ".4g"}.get(self.rule)
        if self.observed is None:
            return f"{self.rule} was not observed yet"
        if unit is None:
            observed, limit = f"{self.observed:.4g} ms", f"{self.limit:.4g} ms"
        else:
            observed, limit = format(self.observed, unit), format(self.limit, unit)
        return f"{self.rule} is {observed} of {self.count} requests, the limit is {limit}"


@dataclass(frozen=True)
class Judgement:
    """What the rules say of a deployment now.

    Attributes:
        verdict: ``violated`` (go back), ``wait``, or ``good`` (go forward when it is time).
        reason: why, for a person.
        requests: that the deployment has had in this rollout, mirrored ones among them.
        kind: what is waited for, without its numbers: a change of it is worth a record.
    """

    verdict: Literal["violated", "wait", "good"]
    reason: str
    kind: str
    requests: int
    checks: tuple[Check, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The numbers as plain values."""
        checks = [{**asdict(check), "bound": check.bound} for check in self.checks]
        return {"requests": self.requests, "kind": self.kind, "checks": checks}


def judge(rules: RollbackRules, evidence: Evidence) -> Judgement:
    """Judge what a deployment has shown in its rollout so far."""
    checks = tuple(_checks(rules, evidence))
    requests = evidence.requests

    def judged(verdict: Literal["violated", "wait", "good"], reason: str, kind: str) -> Judgement:
        return Judgement(verdict, reason, kind, requests, checks)

    violated = [check for check in checks if check.violated]
    if violated:
        return judged("violated", "; ".join(check.text() for check in violated), "violated")
    above = [check for check in checks if check.above]
    if above:
        reason = "; ".join(f"{check.text()}, which is not proven yet" for check in above)
        return judged("wait", reason, "above " + ",".join(check.rule for check in above))
    fewest = min((check.count for check in checks if check.rule == "distance"), default=requests)
    if checks and min(requests, fewest) < rules.min_requests:
        what = "requests" if requests < rules.min_requests else "mirrored requests"
        count = requests if requests < rules.min_requests else fewest
        return judged("wait", f"{count} of {rules.min_requests} {what}", f"few {what}")
    reason = "; ".join(check.text() for check in checks) or "no rules"
    return judged("good", reason, "good")


def distance_cap(rules: RollbackRules) -> float:
    """The largest distance that is counted as itself.

    Scores between 0 and 1 never differ by more than 1. For a limit of 1 or more the scores are
    on another scale: ten times the limit, so that one wild answer does not outweigh all others.
    """
    return 1.0 if rules.distance is None or rules.distance < 1 else 10 * rules.distance


def _checks(rules: RollbackRules, evidence: Evidence) -> Iterator[Check]:
    latencies = {
        "latency_p50": (rules.latency_p50, 0.5),
        "latency_p95": (rules.latency_p95, 0.95),
        "latency_p99": (rules.latency_p99, 0.99),
    }
    set_rules = [rules.error_rate, rules.distance, *(limit for limit, _ in latencies.values())]
    alpha = ALPHA / max(1, sum(limit is not None for limit in set_rules))
    if rules.error_rate is not None:
        rate, count = rules.error_rate, evidence.requests
        observed = evidence.failed / count if count else None
        yield _check("error_rate", rate, observed, (evidence.failed, count), rate, alpha)
    for name, (limit, share) in latencies.items():
        if limit is not None:
            seconds = limit.total_seconds()
            quantile = evidence.quantile(share)
            shown = None if quantile is None else quantile * 1000
            slow = evidence.slower_than(seconds), sum(evidence.latencies)
            yield _check(name, seconds * 1000, shown, slow, round(1 - share, 6), alpha)
    if rules.distance is not None:
        cap = evidence.distance_cap
        observed = evidence.mean_distance
        scaled = evidence.distance / cap, evidence.compared
        yield _check("distance", rules.distance, observed, scaled, rules.distance / cap, alpha)


def _check(
    rule: str,
    limit: float,
    observed: float | None,
    seen: tuple[float, int],
    allowed: float,
    alpha: float,
) -> Check:
    total, count = seen
    return Check(
        rule=rule,
        limit=limit,
        observed=observed,
        count=count,
        mean=total / count if count else None,
        allowed=allowed,
        alpha=alpha,
        violated=count > 0 and exceeds(total, count, allowed, alpha),
    )
