"""The decision follows from the numbers, and a verdict that does not is found out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.gate.cases import RULE, findings, leak, verdict

from headrace.gate import GateSpec, Verdict
from headrace.gate.rule import check, decide


def test_a_good_candidate_is_promoted_and_its_verdict_holds() -> None:
    found = verdict()
    assert (found.promoted, found.reasons) == (True, ())
    assert check(RULE, found) == []


def test_the_verdict_holds_after_a_journey_as_json() -> None:
    found = verdict()
    again = Verdict.from_json(found.as_json())
    rule = GateSpec.model_validate_json(RULE.model_dump_json())
    assert check(rule, again) == []
    assert again.model_copy(update={"judged_at": found.judged_at}) == found


def changed(body: dict[str, Any], path: str, value: Any) -> Verdict:
    """The verdict with one number changed, such as ``slices.0.rows``."""
    *above, last = path.split(".")
    place: Any = body
    for name in above:
        place = place[int(name)] if name.isdigit() else place[name]
    place[int(last) if last.isdigit() else last] = value
    return Verdict.from_json(body)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("gate_digest", "0" * 64, "another rule"),
        ("metric", "precision", "the rule about recall"),
        ("candidate", 0.9, "gain is not the difference"),
        ("difference", None, "a champion and no difference"),
        ("champion", None, "a difference and no champion"),
        ("difference.gain", 0.3, "gain is not the difference"),
        ("difference.low", 0.5, "the wrong way round"),
        ("difference.confidence", 0.9, "one of 0.9, not 0.95"),
        ("difference.resamples", 0, "0 resamples of 2000"),
        ("difference.units", 300, "more rows or groups than there are"),
        ("difference.pairs.wins", 20, "exact p-value is not that of its pairs"),
        ("difference.pairs", None, "pairs and a p-value"),
        ("bounds.0.bound", 0.1, "is 0.1, not 0.5"),
        ("bounds.0.value", 0.4, "told to meet 0.5"),
        ("bounds.0.metric", "accuracy", "bound on recall was not judged"),
        ("bounds.1.slice", "c", "precision where model = a was not judged"),
        ("bounds.1.slice", "c", "a bound on precision that the rule does not have"),
        ("bounds.1.met", False, "told to meet 0.2"),
        ("bounds.0.value", 0.8, "recall has two values"),
        ("slices.0.rows", 10, "slices of model are not all rows"),
        ("slices.1.slice", "a", "there twice"),
        ("slices.0.column", "site", "the rule has no slices of site"),
        ("slices.0.positives", None, "do not fit a binary model"),
        ("slices.0.judged", False, "enough rows where model = a is told wrongly"),
        ("slices.0.test", None, "model = a was not compared"),
        ("slices.0.test.p_value", 0.01, "not corrected by Holm"),
        ("slices.0.test.adjusted", 0.2, "not corrected by Holm"),
        ("slices.0.test.gain", 0.1, "gain where model = a"),
        ("slices.0.test.worse", True, "whether it is worse where model = a"),
        ("slices.0.test.pairs", {"wins": 1, "losses": 3}, "not that of its pairs"),
        ("fairness", [], "fairness was not measured"),
        ("fairness.0.gap", 0.1, "gap and ratio of recall by site"),
        ("fairness.0.values.0.rows", 90, "recall by site is not of all rows"),
        ("fairness.0.values.0.judged", False, "enough rows for recall by site"),
        ("fairness.0.met", False, "whether recall by site is fair"),
        ("leaks", [], "check for leaks was not made: rows"),
        ("leaks.0.value", None, "not told why: rows"),
        ("latency", None, "latency was not measured"),
        ("latency.p99", 0.0001, "not that of the best round"),
        ("size", None, "size was not measured"),
        ("calibration.error", 0.01, "not that of its bins"),
        ("calibration.bins.0.rows", 10, "reliability is not of all rows"),
        ("promoted", False, "by the rule there is no reason"),
        ("reasons", ["somebody said so"], "reasons are not those of the rule: none"),
    ],
)
def test_a_number_that_was_changed_is_found(path: str, value: object, message: str) -> None:
    problems = check(RULE, changed(verdict().as_json(), path, value))
    assert any(message in each for each in problems), problems


REFUSALS: list[tuple[Callable[[], dict[str, Any]], str]] = [
    (
        lambda: {"leaks": tuple(leak(n, 0.02) for n in ("rows", "groups", "label", "times"))},
        "2 % of the hold-out's rows are in training too",
    ),
    (lambda: {"leaks": (leak("groups", 3, rows=40),)}, "3 of 40 groups of heat"),
    (lambda: {"leaks": (leak("label", 0.9995, measure="AUC"),)}, "alone tells the label (AUC 0.9"),
    (lambda: {"leaks": (leak("times", 4),)}, "heat is later than the row's time in 4 of 1,000"),
    (
        lambda: {"latency": findings().latency.model_copy(update={"p99": 0.0071})},  # type: ignore[union-attr]
        "99 of 100 rows take up to 7.1 ms in the kernel, 5 ms are allowed",
    ),
    (
        lambda: {"size": findings().size.model_copy(update={"bytes": 60 << 20})},  # type: ignore[union-attr]
        "take 60.0 MiB, 50 MiB are allowed",
    ),
    (
        lambda: {"difference": findings().difference.model_copy(update={"p_value": 0.1})},  # type: ignore[union-attr]
        "of the rows on which one is right it is that one in 14 of 16, exact p 0.1",
    ),
    (
        lambda: {
            "difference": findings().difference.model_copy(  # type: ignore[union-attr]
                update={"p_value": None, "pairs": None, "support": 5}
            )
        },
        "5 rows with the rarer class; a gain that is certain at 95 % needs 6",
    ),
]


@pytest.mark.parametrize(("change", "reason"), REFUSALS)
def test_what_refuses_is_a_number_and_told(
    change: Callable[[], dict[str, Any]], reason: str
) -> None:
    found = verdict(**change())
    assert not found.promoted
    assert any(reason in each for each in found.reasons), found.reasons
    forged = found.model_copy(update={"promoted": True, "reasons": ()})
    assert any("it is promoted, and by the rule refused" in each for each in check(RULE, forged))


def test_a_slice_that_is_worse_refuses_unless_it_is_only_reported() -> None:
    body = findings().model_dump()
    body["slices"][0]["test"] |= {"p_value": 0.001, "adjusted": 0.002, "worse": True}
    found = type(findings()).model_validate(body)
    (reason,) = decide(RULE, found, model="m", version=2).reasons
    assert reason == (
        "recall 0.6 where model = a is worse than version 1's 0.7 (p 0.002 after Holm's correction)"
    )
    lenient = RULE.model_copy(update={"slice_worse": "report"})
    told = decide(lenient, found, model="m", version=2)
    assert told.promoted
    assert check(lenient, told) == []


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_gap": 0.2}, "recall is 0.5 where site = y and 0.75 where site = x: 0.25 apart"),
        ({"min_ratio": 0.8}, "a ratio of 0.667, 0.8 is asked for"),
    ],
)
def test_groups_too_far_apart_are_refused(limits: dict[str, float], reason: str) -> None:
    rule = GateSpec.model_validate(
        {**RULE.model_dump(), "fairness": {"column": "site", "metric": "recall", **limits}}
    )
    body = findings().model_dump()
    body["fairness"][0]["met"] = False
    found = decide(rule, type(findings()).model_validate(body), model="m", version=2)
    assert reason in found.reasons[0]
    assert check(rule, found) == []


@pytest.mark.parametrize("action", ["warn", "skip"])
def test_a_leak_that_the_rule_only_warns_of_refuses_nothing(action: str) -> None:
    rule = GateSpec.model_validate({**RULE.model_dump(), "leaks": {"times": action}})
    leaks = (leak("rows"), leak("groups"), leak("label"), leak("times", 4), leak("horizon"))
    assert decide(rule, findings(leaks=leaks), model="m", version=2).promoted


def test_a_horizon_refuses_where_it_is_given_and_not_where_it_was_guessed() -> None:
    leaks = (*(leak(n) for n in ("rows", "groups", "label", "times")), leak("horizon", 7))
    assert decide(RULE, findings(leaks=leaks), model="m", version=2).promoted
    rule = GateSpec.model_validate({**RULE.model_dump(), "leaks": {"horizon": "24h"}})
    (reason,) = decide(rule, findings(leaks=leaks), model="m", version=2).reasons
    assert "looks 86400 s ahead, and 7 of 1,000 training rows are closer" in reason
