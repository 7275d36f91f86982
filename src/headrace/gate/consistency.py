"""Whether the numbers of a verdict are all there and can go together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from headrace.gate.conditions import enough, is_fair, is_worse, meets
from headrace.gate.exact import holm, wins_by_chance
from headrace.gate.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.gate.findings import (
        Calibration,
        Difference,
        Fairness,
        Findings,
        Parity,
        ReliabilityBin,
        SliceReport,
    )
    from headrace.gate.spec import GateSpec
    from headrace.gate.verdict import Verdict


def contradictions(gate: GateSpec, verdict: Verdict) -> Iterator[str]:
    """What is missing of the numbers that the rule asks for, or at odds with the others."""
    if verdict.gate_digest != gate.digest:
        yield "it was made by another rule: the digests differ"
    if verdict.metric != gate.metric:
        yield f"it is about {verdict.metric}, and the rule about {gate.metric}"
    if not math.isfinite(verdict.candidate):
        yield f"{verdict.metric} is {verdict.candidate}"
    yield from _comparison(gate, verdict)
    yield from _bounds(gate, verdict)
    yield from _slices(gate, verdict)
    yield from _fairness(gate, verdict)
    yield from _leaks(gate, verdict)
    yield from _costs(gate, verdict)
    if verdict.parity is not None:
        yield from _parity(verdict.parity)
    for whose, each in (
        ("candidate", verdict.calibration),
        ("champion", verdict.champion_calibration),
    ):
        if each is not None:
            yield from _calibration(whose, each, verdict.rows)


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


def _comparison(gate: GateSpec, found: Findings) -> Iterator[str]:
    difference = found.difference
    if (difference is None) != (found.champion is None):
        yield "it names a champion and no difference, or a difference and no champion"
    if difference is None:
        return
    sign = 1 if METRICS[gate.metric].greater_is_better else -1
    if not _same(difference.gain, sign * (found.candidate - difference.champion)):
        yield "the gain is not the difference of the two values"
    if not difference.low <= difference.high:
        yield "the interval's ends are the wrong way round"
    if difference.confidence != gate.confidence:
        yield f"the interval is one of {difference.confidence:g}, not {gate.confidence:g}"
    if not 0 < difference.resamples <= gate.resamples:
        yield f"it rests on {difference.resamples} resamples of {gate.resamples}"
    if not 0 <= difference.support <= difference.units <= found.rows:
        yield "it compares more rows or groups than there are"
    yield from _pairs(difference)


def _pairs(difference: Difference) -> Iterator[str]:
    if (difference.pairs is None) != (difference.p_value is None):
        yield "an exact test has pairs and a p-value"
    elif difference.pairs is not None and difference.p_value is not None:
        pairs = difference.pairs
        if not _same(difference.p_value, wins_by_chance(pairs.wins, pairs.losses)):
            yield "the exact p-value is not that of its pairs"


def _bounds(gate: GateSpec, found: Findings) -> Iterator[str]:
    given = {(each.metric, each.column, each.slice): each for each in found.bounds}
    wanted: dict[tuple[str, str | None, str | None], float] = {
        (name, None, None): bound for name, bound in gate.min.items()
    }
    for report in found.slices:
        if report.judged:
            for name, bound in gate.slice_floors.items():
                wanted[name, report.column, report.slice] = bound
    for (name, column, value), bound in wanted.items():
        where = "" if column is None else f" where {column} = {value}"
        each = given.get((name, column, value))
        if each is None:
            yield f"the bound on {name}{where} was not judged"
        elif each.bound != bound:
            yield f"the bound on {name}{where} is {each.bound:g}, not {bound:g}"
        elif each.met != meets(name, each.value, bound):
            yield f"{name} {each.value:.4g}{where} is told to meet {bound:g}, or not to"
    for key in given.keys() - wanted.keys():
        yield f"a bound on {key[0]} that the rule does not have"
    overall = given.get((gate.metric, None, None))
    if overall is not None and not _same(overall.value, found.candidate):
        yield f"{gate.metric} has two values"


def _slices(gate: GateSpec, found: Findings) -> Iterator[str]:
    for column in gate.slices:
        parts = [each for each in found.slices if each.column == column]
        if sum(each.rows for each in parts) != found.rows:
            yield f"the slices of {column} are not all rows"
        if len({each.slice for each in parts}) != len(parts):
            yield f"a slice of {column} is there twice"
    for each in found.slices:
        where = f"{each.column} = {each.slice}"
        if each.column not in gate.slices:
            yield f"the rule has no slices of {each.column}"
        if (found.task == "binary") != (each.positives is not None):
            yield f"positives where {where} do not fit a {found.task} model"
        if each.judged != enough(gate, each.rows, each.positives):
            yield f"whether there are enough rows where {where} is told wrongly"
    yield from _tests(gate, found)


def _tests(gate: GateSpec, found: Findings) -> Iterator[str]:
    tested = [each for each in found.slices if each.test is not None]
    adjusted = holm([each.test.p_value for each in tested if each.test is not None])
    sign = 1 if METRICS[gate.metric].greater_is_better else -1
    for report in found.slices:
        both = report.candidate is not None and report.champion is not None
        asked = found.champion is not None and report.judged and both
        if asked != (report.test is not None):
            yield f"{report.column} = {report.slice} was not compared with the champion"
    for report, holms in zip(tested, adjusted, strict=True):
        yield from _test(gate, report, holms, sign)


def _test(gate: GateSpec, report: SliceReport, holms: float, sign: int) -> Iterator[str]:
    test, where = report.test, f"{report.column} = {report.slice}"
    if test is None or report.candidate is None or report.champion is None:
        return
    if not _same(test.gain, sign * (report.candidate - report.champion)):
        yield f"the gain where {where} is not the difference of the two values"
    if not 0 <= test.p_value <= 1 or not _same(test.adjusted, holms):
        yield f"the p-value where {where} is not corrected by Holm's method"
    if test.worse != is_worse(gate, report):
        yield f"whether it is worse where {where} is told wrongly"
    pairs = test.pairs
    if pairs is not None and not _same(test.p_value, wins_by_chance(pairs.losses, pairs.wins)):
        yield f"the exact p-value where {where} is not that of its pairs"


def _fairness(gate: GateSpec, found: Findings) -> Iterator[str]:
    asked = [(each.column, each.metric) for each in gate.fairness]
    if asked != [(each.column, each.metric) for each in found.fairness]:
        yield "fairness was not measured as the rule asks"
        return
    for wanted, each in zip(gate.fairness, found.fairness, strict=True):
        where = f"{each.metric} by {each.column}"
        if sum(value.rows for value in each.values) != found.rows:
            yield f"{where} is not of all rows"
        if any(value.judged != enough(gate, value.rows, value.positives) for value in each.values):
            yield f"whether there are enough rows for {where} is told wrongly"
        if (each.gap, each.ratio) != spread(each):
            yield f"gap and ratio of {where} are not those of its values"
        if each.met != is_fair(wanted, each):
            yield f"whether {where} is fair is told wrongly"


def spread(found: Fairness) -> tuple[float | None, float | None]:
    """Gap and ratio between the judged groups; ``None`` with fewer than two."""
    values = [each.value for each in found.values if each.judged and each.value is not None]
    if len(values) < 2:
        return None, None
    low, high = min(values), max(values)
    return high - low, low / high if high > 0 else None


def _leaks(gate: GateSpec, found: Findings) -> Iterator[str]:
    rules, done = gate.leaks, {each.check for each in found.leaks}
    for name, action in (
        ("rows", rules.rows),
        ("groups", rules.groups),
        ("label", rules.label),
        ("times", rules.times),
        ("horizon", "refuse"),
    ):
        if action != "skip" and name not in done:
            yield f"the check for leaks was not made: {name}"
    for each in found.leaks:
        if each.value is not None and not math.isfinite(each.value):
            yield f"the check for leaks has no number: {each.check}"
        if each.value is None and not each.note:
            yield f"the check for leaks was not made, and it is not told why: {each.check}"


def _costs(gate: GateSpec, found: Findings) -> Iterator[str]:
    if gate.latency_p99 is not None:
        if found.latency is None:
            yield "the latency was not measured"
        elif not found.latency.rounds or found.latency.p99 != min(found.latency.rounds):
            yield "the latency is not that of the best round"
    if gate.max_size is not None and found.size is None:
        yield "the size was not measured"


def _parity(found: Parity) -> Iterator[str]:
    within = found.difference is not None and found.difference <= found.tolerance
    agreed = found.rows > 0 and not found.disagreements and within
    if found.reason is None and not agreed:
        yield "the answers are told to be those of the training, and the numbers say otherwise"
    if found.reason is not None and agreed:
        yield "the answers are told to differ from the training's, and the numbers do not"
    if not 0 <= found.disagreements <= found.rows:
        yield "more answers differ than were compared"


def _calibration(whose: str, found: Calibration, rows: int) -> Iterator[str]:
    if sum(each.rows for each in found.bins) != rows:
        yield f"the {whose}'s reliability is not of all rows"
    elif not _same(found.error, calibration_error(found.bins)):
        yield f"the {whose}'s calibration error is not that of its bins"


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """The expected calibration error: the mean distance of score and share, weighted by rows."""
    rows = sum(each.rows for each in bins)
    return sum(each.rows * abs(each.score - each.share) for each in bins) / rows
