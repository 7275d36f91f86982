"""A verdict in which every part of the rule has its numbers."""

from __future__ import annotations

from typing import Any

from headrace.gate import GateSpec, Verdict
from headrace.gate.exact import wins_by_chance
from headrace.gate.findings import (
    Bound,
    Calibration,
    Difference,
    Fairness,
    FairnessValue,
    Findings,
    Latency,
    LeakCheck,
    Pairs,
    ReliabilityBin,
    Size,
    SliceReport,
    SliceTest,
)
from headrace.gate.rule import decide

RULE = GateSpec.model_validate(
    {
        "metric": "recall",
        "min": {"recall": 0.5},
        "slices": ["model"],
        "slice_min": {"precision": 0.2},
        "fairness": {"column": "site", "metric": "recall", "max_gap": 0.3, "min_ratio": 0.5},
        "latency_p99": "5ms",
        "max_size": "50MiB",
    }
)


def findings(**changes: Any) -> Findings:
    """What a good candidate shows on 200 rows, 60 of them positive."""
    fields: dict[str, Any] = {
        "task": "binary",
        "champion": 1,
        "metric": "recall",
        "candidate": 0.7,
        "difference": Difference(
            champion=0.5,
            gain=0.7 - 0.5,
            low=0.05,
            high=0.32,
            confidence=0.95,
            resamples=2000,
            units=200,
            support=60,
            pairs=Pairs(wins=14, losses=2),
            p_value=wins_by_chance(14, 2),
        ),
        "bounds": (
            Bound(metric="recall", bound=0.5, value=0.7, met=True, rows=200),
            *(
                Bound(
                    metric="precision",
                    bound=0.2,
                    value=0.4,
                    met=True,
                    rows=90,
                    column="model",
                    slice=name,
                )
                for name in ("a", "b")
            ),
        ),
        "slices": (
            SliceReport(
                column="model",
                slice="a",
                rows=90,
                positives=30,
                judged=True,
                candidate=0.6,
                champion=0.7,
                test=SliceTest(gain=0.6 - 0.7, p_value=0.2, adjusted=0.4, worse=False),
            ),
            SliceReport(
                column="model",
                slice="b",
                rows=90,
                positives=25,
                judged=True,
                candidate=0.8,
                champion=0.3,
                test=SliceTest(gain=0.8 - 0.3, p_value=0.99, adjusted=0.99, worse=False),
            ),
            SliceReport(
                column="model",
                slice="c",
                rows=20,
                positives=5,
                judged=False,
                candidate=0.6,
                champion=0.2,
            ),
        ),
        "calibration": Calibration(
            error=0.05,
            bins=(
                ReliabilityBin(low=0.0, high=0.4, rows=100, score=0.2, share=0.15),
                ReliabilityBin(low=0.4, high=1.0, rows=100, score=0.5, share=0.45),
            ),
        ),
        "fairness": (
            Fairness(
                column="site",
                metric="recall",
                values=(
                    FairnessValue(slice="x", rows=100, positives=30, judged=True, value=0.75),
                    FairnessValue(slice="y", rows=100, positives=30, judged=True, value=0.5),
                ),
                gap=0.25,
                ratio=0.5 / 0.75,
                met=True,
            ),
        ),
        "leaks": tuple(leak(name) for name in ("rows", "groups", "label", "times", "horizon")),
        "latency": Latency(
            subject="kernel",
            p99=0.001,
            p50=0.0005,
            rounds=(0.002, 0.001, 0.0015),
            rows=200,
            machine="x86_64, 2 cores",
        ),
        "size": Size(bytes=1 << 20, files=7),
        "rows": 200,
        "holdout_digest": "ab" * 32,
    }
    return Findings(**{**fields, **changes})


def leak(name: str, value: float | None = 0.0, **changes: Any) -> LeakCheck:
    """A check for leaks that found nothing."""
    fields: dict[str, Any] = {
        "check": name,
        "columns": ("heat",),
        "measure": "rows",
        "value": value,
        "rows": 1000,
        "of": 1000,
    }
    return LeakCheck(**{**fields, **changes})


def verdict(**changes: Any) -> Verdict:
    """The rule's verdict on ``findings(**changes)``."""
    return decide(RULE, findings(**changes), model="failure", version=2)
