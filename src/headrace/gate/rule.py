"""The decision, as a pure function of the rule and the numbers.

::

    verdict = decide(gate, findings, model="failure", version=3)
    check(gate, verdict)       # [] : whoever has both can see that one follows from the other
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace import clock
from headrace.gate.conditions import is_better, is_fair, is_worse, leak_state, meets
from headrace.gate.consistency import contradictions
from headrace.gate.exact import fewest_units
from headrace.gate.findings import (
    Difference,
    Fairness,
    Findings,
    LeakCheck,
    Parity,
    SliceReport,
)
from headrace.gate.metrics import METRICS
from headrace.gate.verdict import Verdict, gain_text
from headrace.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.gate.spec import FairnessRule, GateSpec


def decide(gate: GateSpec, findings: Findings, *, model: str, version: int) -> Verdict:
    """The verdict on a candidate, now."""
    why = tuple(reasons(gate, findings))
    return Verdict(
        **{name: getattr(findings, name) for name in Findings.model_fields},
        id=new_id("verdict"),
        model=model,
        version=version,
        promoted=not why,
        reasons=why,
        gate_digest=gate.digest,
        judged_at=clock.now(),
    )


def check(gate: GateSpec, verdict: Verdict) -> list[str]:
    """Where a verdict does not follow from its own numbers and the rule, a sentence each.

    Needs nothing but the two: no data, no model, no database. A number that the rule asks for and
    that is not there is a contradiction, as is one that cannot go with the others.
    """
    found = list(contradictions(gate, verdict))
    why = tuple(reasons(gate, verdict))
    if verdict.promoted and why:
        found.append(f"it is promoted, and by the rule refused: {'; '.join(why)}")
    elif not verdict.promoted and not why:
        found.append("it is refused, and by the rule there is no reason")
    elif verdict.reasons != why:
        found.append(f"its reasons are not those of the rule: {'; '.join(why) or 'none'}")
    return found


def reasons(gate: GateSpec, found: Findings) -> Iterator[str]:
    """Why a candidate may not take the alias, a sentence each; none if it may."""
    if found.difference is not None:
        yield from _not_better(gate, found, found.difference)
    for bound in found.bounds:
        if not meets(bound.metric, bound.value, bound.bound):
            side = "below" if METRICS[bound.metric].greater_is_better else "above"
            where = "" if bound.column is None else f" where {bound.column} = {bound.slice}"
            yield f"{bound.metric} {bound.value:.4g}{where} is {side} {bound.bound:g}"
    if gate.slice_worse == "refuse":
        for report in found.slices:
            if is_worse(gate, report):
                yield _worse(found, report)
    for rule, each in zip(gate.fairness, found.fairness, strict=False):
        if not is_fair(rule, each):
            yield _unfair(rule, each)
    for leak in found.leaks:
        if leak_state(gate, leak) == "refused":
            yield leak_text(gate, leak)
    yield from _too_slow_or_large(gate, found)
    if found.parity is not None:
        yield from _not_as_trained(found.parity)


def leak_text(gate: GateSpec, leak: LeakCheck) -> str:
    """What a check found, in a sentence."""
    value, columns = leak.value or 0.0, ", ".join(leak.columns)
    counted = f"{value:,.0f} of {leak.rows:,}"
    if leak.check == "rows":
        share = f"{value * 100:.3g} % of the hold-out's rows"
        return f"leak: {share} are in training too, feature for feature, label included"
    if leak.check == "groups":
        return f"leak: {counted} groups of {columns} are in training and in the hold-out"
    if leak.check == "label":
        return f"leak: {columns} alone tells the label ({leak.measure} {value:.5g})"
    if leak.check == "times":
        return f"leak: {columns} is later than the row's time in {counted} rows"
    horizon = gate.leaks.horizon
    ahead = f"{horizon.total_seconds():g} s" if horizon is not None else "its horizon"
    return (
        f"leak: the label looks {ahead} ahead, and {counted} training rows are closer than that "
        "before the hold-out"
    )


def _not_better(gate: GateSpec, found: Findings, difference: Difference) -> Iterator[str]:
    if not is_better(gate, difference):
        wanted = f"by more than {gate.min_gain:g}" if gate.min_gain else "with certainty"
        exact = ""
        if difference.pairs is not None and not gate.min_gain:
            pairs = difference.pairs
            exact = (
                f"; of the rows on which one is right it is that one in {pairs.wins:,} of "
                f"{pairs.wins + pairs.losses:,}, exact p {difference.p_value:.3g}"
            )
        yield (
            f"{found.metric} {found.candidate:.4g} is not better {wanted} than version "
            f"{found.champion}'s {difference.champion:.4g}: gain {gain_text(difference)}{exact}"
        )
    # An exact test needs no such floor: it counts what there is.
    fewest = fewest_units(gate.confidence)
    if difference.p_value is None and difference.support < fewest:
        grouped = difference.grouped_by
        kind = "rows" if grouped is None else f"values of {grouped}"
        where = " with the rarer class" if found.task == "binary" else ""
        yield (
            f"the hold-out has {difference.support} {kind}{where}; a gain that is certain at "
            f"{gate.confidence * 100:g} % needs {fewest} or more"
        )


def _worse(found: Findings, report: SliceReport) -> str:
    assert report.test is not None  # noqa: S101  # it was found worse by it
    return (
        f"{found.metric} {report.candidate:.4g} where {report.column} = {report.slice} is worse "
        f"than version {found.champion}'s {report.champion:.4g} (p {report.test.adjusted:.2g} "
        "after Holm's correction)"
    )


def _unfair(rule: FairnessRule, found: Fairness) -> str:
    judged = [each for each in found.values if each.judged and each.value is not None]
    low = min(judged, key=lambda each: each.value or 0.0)
    high = max(judged, key=lambda each: each.value or 0.0)
    between = (
        f"{found.metric} is {low.value:.4g} where {found.column} = {low.slice} and "
        f"{high.value:.4g} where {found.column} = {high.slice}"
    )
    if rule.max_gap is not None and found.gap is not None and found.gap > rule.max_gap:
        return f"{between}: {found.gap:.3g} apart, {rule.max_gap:g} is allowed"
    return f"{between}: a ratio of {found.ratio:.3g}, {rule.min_ratio:g} is asked for"


def _not_as_trained(found: Parity) -> Iterator[str]:
    if found.reason is not None:
        yield f"parity, {found.route}: {found.reason}"
    for line in found.environment:
        yield f"parity, environment: {line}"


def _too_slow_or_large(gate: GateSpec, found: Findings) -> Iterator[str]:
    if gate.latency_p99 is not None and found.latency is not None:
        bound = gate.latency_p99.total_seconds()
        if found.latency.p99 > bound:
            yield (
                f"99 of 100 rows take up to {found.latency.p99 * 1000:.3g} ms in the "
                f"{found.latency.subject}, {bound * 1000:g} ms are allowed"
            )
    if gate.max_size is not None and found.size is not None and found.size.bytes > gate.max_size:
        yield (
            f"the model's files take {found.size.bytes / 2**20:,.1f} MiB, "
            f"{gate.max_size / 2**20:,.4g} MiB are allowed"
        )
