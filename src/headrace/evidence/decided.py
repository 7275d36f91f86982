"""Whether a decision follows from what the statement itself holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from headrace import __version__
from headrace.evidence.approval import problems
from headrace.evidence.envelope import unseal
from headrace.evidence.errors import EnvelopeError
from headrace.evidence.statement import subjects_of
from headrace.evidence.verification import Check

if TYPE_CHECKING:
    from headrace.evidence.case import Case
    from headrace.gate import GateSpec, Verdict


def kernel(case: Case) -> Iterator[Check]:
    """The kernel that the statement speaks of is among the files that it signs."""
    found = case.predicate.get("kernel")
    if found is None:
        return
    signed = subjects_of(case.body)
    if found["report"] != signed.get("kernel/kernel.json"):
        yield Check("kernel", "failed", "its report is not the file that was signed")
    elif found["graph"] != signed.get("kernel/model.onnx"):
        yield Check("kernel", "failed", "its graph is not the file that was signed")
    else:
        yield Check("kernel", "ok", str(found["summary"]))


def verdict(case: Case) -> Iterator[Check]:
    """The verdict follows from the rule and the numbers, and the decision from the verdict."""
    if case.kind == "key":
        return
    if case.predicate.get("verdict") is None:
        if case.kind == "overridden":
            yield Check("verdict", "warning", "the gate has not judged it")
        else:
            yield Check("verdict", "failed", "there is none")
        return
    from headrace.gate import GateSpec, Verdict, rule

    gate = GateSpec.model_validate(case.predicate["rule"])
    judged = Verdict.from_json(case.predicate["verdict"])
    wrong = [*rule.check(gate, judged), *_contradictions(case, gate, judged)]
    if wrong:
        yield Check("verdict", "failed", "; ".join([*wrong, *_made_elsewhere(case)]))
    elif case.kind == "overridden":
        yield Check("verdict", "warning", f"the gate's: {judged.summary}")
    else:
        yield Check("verdict", "ok", f"follows from its numbers: {judged.summary}")


def _made_elsewhere(case: Case) -> Iterator[str]:
    """A rule can be another in another version of Headrace, which then is the one to ask."""
    theirs = case.predicate["headrace"]
    if theirs != __version__:
        yield f"Headrace {theirs} decided, and this is {__version__}"


def _contradictions(case: Case, gate: GateSpec, judged: Verdict) -> Iterator[str]:
    """Where the statement and the verdict inside it do not say the same."""
    predicate, of = case.predicate, case.predicate["model"]
    if (judged.model, judged.version) != (of["name"], of["version"]):
        yield f"the verdict is on {judged.model}/{judged.version}"
    if judged.gate_digest != gate.digest:
        yield "the rule is not the one that it was judged by"
    if case.kind != "overridden" and judged.promoted != (case.kind in ("promoted", "waiting")):
        yield f"the decision is {case.kind}, and the verdict is not"
    champion = predicate["champion"]
    if judged.champion != (None if champion is None else champion["version"]):
        yield "the champion is another than the verdict's"
    holdout = predicate["holdout"]
    if (judged.holdout_digest, judged.rows) != (holdout["digest"], holdout["rows"]):
        yield "the hold-out is another than the verdict's"
    if case.predicate["verdict"] != judged.as_json():
        yield "the verdict's words are not those of its numbers"


def approvals(case: Case) -> Iterator[Check]:
    """Enough members of the group said yes to this version, on this evidence."""
    if case.kind not in ("promoted", "waiting") or case.predicate.get("rule") is None:
        return
    asked = case.predicate["rule"]["approvals"]
    needed, group = asked["count"], asked["group"]
    if not needed:
        return
    if case.kind == "waiting":
        yield Check("approvals", "warning", f"waits for {needed} of {group}")
        return
    given, of = case.predicate["approvals"], case.predicate["model"]
    wrong = list(problems(given, of["name"], of["version"], case.predicate["alias"]))
    if not wrong:
        wrong = list(_not_as_asked(case, given["ask"], needed))
    if wrong:
        yield Check("approvals", "failed", "; ".join(wrong))
    else:
        yield Check("approvals", "ok", f"{len(given['given'])} of {group}, {needed} are needed")


def _not_as_asked(case: Case, ask: Mapping[str, Any], needed: int) -> Iterator[str]:
    """Where the approvals are not for what was decided.

    What was approved is the statement that waited. It lies inside the one that promotes, and both
    must say the same of everything that an approver looked at.
    """
    if ask["count"] < needed:
        yield f"{ask['count']} were asked for, {needed} are needed"
    envelope = str(case.predicate["waiting"]).encode()
    try:
        opened = unseal(envelope, case.keys)
    except EnvelopeError as error:
        yield f"the statement that was approved is not valid: {error.why}"
        return
    before = opened.payload["predicate"]
    if opened.digest != ask["evidence"] or before["kind"] != "waiting":
        yield "the statement that was approved is another"
    if before["decided"]["by"] != ask["requester"]:
        yield f"{before['decided']['by']} asked for it, not {ask['requester']}"
    if opened.payload["subject"] != case.body["subject"]:
        yield "other files were approved"
    for part in ("model", "alias", "rule", "verdict", "champion", "holdout"):
        if before[part] != case.predicate[part]:
            yield f"what was approved has another {part}"


def override(case: Case) -> Iterator[Check]:
    """That it was one is said loudly."""
    if case.kind != "overridden":
        return
    reason: Any = case.predicate["override"]["reason"]
    if not str(reason or "").strip():
        yield Check("override", "failed", "it gives no reason")
        return
    who = case.predicate["decided"]["by"]
    yield Check("override", "warning", f"OVERRIDDEN by {who}, without the gate's yes: {reason}")
