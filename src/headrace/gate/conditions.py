"""Single conditions of the rule: one number and what is asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from headrace.gate.metrics import METRICS

if TYPE_CHECKING:
    from headrace.gate.findings import Difference, Fairness, LeakCheck, SliceReport
    from headrace.gate.spec import FairnessRule, GateSpec


def meets(name: str, value: float, bound: float) -> bool:
    """Whether a metric's value keeps a bound: at least, or at most where less is better."""
    return value >= bound if METRICS[name].greater_is_better else value <= bound


def enough(gate: GateSpec, rows: int, positives: int | None) -> bool:
    """Whether a part of the rows is large enough to be judged."""
    scarcest = rows if positives is None else min(positives, rows - positives)
    return scarcest >= gate.min_positives


def is_better(gate: GateSpec, difference: Difference) -> bool:
    """Whether the candidate's gain is certain: by the exact test where there is one.

    The exact test asks for a gain above zero, so it decides where ``min_gain`` is zero.
    """
    if difference.p_value is not None and not gate.min_gain:
        return difference.p_value <= (1 - gate.confidence) / 2
    return difference.low > gate.min_gain


def is_worse(gate: GateSpec, report: SliceReport) -> bool:
    """Whether the candidate is worse than the champion in a slice, with certainty."""
    return report.test is not None and report.test.adjusted <= 1 - gate.confidence


def is_fair(rule: FairnessRule, found: Fairness) -> bool:
    """Whether groups lie close enough together; they do where there are no two to compare."""
    wide = rule.max_gap is not None and found.gap is not None and found.gap > rule.max_gap
    low = rule.min_ratio is not None and found.ratio is not None and found.ratio < rule.min_ratio
    return not wide and not low


def leak_state(gate: GateSpec, leak: LeakCheck) -> Literal["clear", "warned", "refused"]:
    """What the rule makes of a check for leaks."""
    if leak.value is None:
        return "clear"
    rules = gate.leaks
    if leak.check == "label":
        if leak.value <= rules.suspect_label:
            return "clear"
        action = rules.label if leak.value > rules.max_label else "warn"
    else:
        if leak.value <= (rules.max_shared if leak.check == "rows" else 0):
            return "clear"
        action = {
            "rows": rules.rows,
            "groups": rules.groups,
            "times": rules.times,
            "horizon": "warn" if rules.horizon is None else "refuse",
        }[leak.check]
    return "refused" if action == "refuse" and not leak.advisory else "warned"
