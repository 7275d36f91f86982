"""Checking a statement with nothing but its bytes, public keys and the model's files.

No database, no project, no network: whoever has the three can do it, years later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from headrace.evidence.digests import digests_of
from headrace.evidence.envelope import Opened, digest_of, unseal
from headrace.evidence.errors import EnvelopeError
from headrace.evidence.statement import DECISION, KEY, STATEMENT, subjects_of
from headrace.evidence.verification import Check, State, Verification

if TYPE_CHECKING:
    from headrace.evidence.keys import PublicKey

_NAMED: Final = 5  # so many files are named in a sentence


@dataclass(frozen=True)
class About:
    """What a statement is expected to be about."""

    model: str
    version: int
    alias: str | None = None


def verify(
    envelope: bytes,
    public_keys: Sequence[PublicKey],
    *,
    model: Path | None = None,
    about: About | None = None,
) -> Verification:
    """Check a statement: who signed it, what it is about, and that its verdict follows.

    Args:
        envelope: the bytes of the file.
        public_keys: keys that are trusted.
        model: directory of the model's files; they are not compared where it is not given.
        about: the version that the statement must be about, if any is.

    Returns:
        Every check; nothing is raised for a statement that is wrong.
    """
    try:
        opened = unseal(envelope, public_keys)
    except EnvelopeError as error:
        name = "signature" if error.part != "form" else "envelope"
        return Verification(digest_of(envelope), None, (Check(name, "failed", str(error.why)),))
    checks: list[Check] = []
    for name, check in _CHECKS:
        try:
            checks.extend(check(opened, model, about))
        except (KeyError, TypeError, ValueError, AttributeError, ValidationError) as error:
            # Signed, and of another shape: by another version of Headrace, or by its key's thief.
            line = str(error).splitlines()[0] if str(error) else ""
            checks.append(
                Check(name, "failed", f"it is not of this form: {type(error).__name__} {line}")
            )
    return Verification(opened.digest, opened.payload, tuple(checks))


def _signature(opened: Opened, _model: Path | None, _about: About | None) -> Iterator[Check]:
    key, sequence = opened.key, opened.payload["predicate"]["sequence"]
    if key.last is not None and sequence > key.last:
        found = f"by key {key.short}, which signs nothing after statement {key.last}"
        yield Check("signature", "failed", found)
        return
    since = "" if key.retired_at is None else f", retired on {key.retired_at:%Y-%m-%d}"
    yield Check("signature", "ok", f"by key {key.short}{since}")


def _statement(opened: Opened, _model: Path | None, _about: About | None) -> Iterator[Check]:
    body = opened.payload
    predicate = body["predicate"]
    if body["_type"] != STATEMENT or body["predicateType"] not in (DECISION, KEY):
        yield Check("statement", "failed", f"it is a {body['predicateType']} of {body['_type']}")
        return
    kinds = ("key",) if body["predicateType"] == KEY else tuple(_SAYS)
    if predicate["kind"] not in kinds:
        yield Check("statement", "failed", f'a decision is not "{predicate["kind"]}"')
        return
    decided = predicate["decided"]
    what = _SAYS.get(predicate["kind"], "a key replaced another")
    about = predicate.get("model")
    subject = f"{about['name']}/{about['version']} {what}" if about else what
    found = f"number {predicate['sequence']}: {subject}, {decided['at']}, by {decided['by']}"
    yield Check("statement", "ok", found)
    if predicate.get("chain_broken"):
        yield Check("statement", "warning", f"made on a broken chain: {predicate['chain_broken']}")


def _about(opened: Opened, _model: Path | None, about: About | None) -> Iterator[Check]:
    if about is None:
        return
    predicate = opened.payload["predicate"]
    of = predicate["model"]
    if (of["name"], of["version"]) != (about.model, about.version):
        found = f"it is about {of['name']}/{of['version']}, not {about.model}/{about.version}"
        yield Check("version", "failed", found)
    elif about.alias is not None and predicate["alias"] != about.alias:
        found = f"it is about the alias {predicate['alias']}, not {about.alias}"
        yield Check("version", "failed", found)
    else:
        yield Check("version", "ok", f"it is about {about.model}/{about.version}")


def _files(opened: Opened, model: Path | None, _about: About | None) -> Iterator[Check]:
    if opened.payload["predicateType"] == KEY:
        return
    signed = subjects_of(opened.payload)
    if not signed:
        yield Check("files", "failed", "the statement names no file of the model")
        return
    if model is None:
        yield Check("files", "skipped", f"{len(signed)} files are signed; none was compared")
        return
    try:
        present = digests_of(model)
    except (OSError, ValueError) as error:
        yield Check("files", "failed", f"{model} cannot be read: {error}")
        return
    wrong = {
        "missing": sorted(signed.keys() - present.keys()),
        "changed": sorted(
            name for name in signed if present.get(name, signed[name]) != signed[name]
        ),
        "not signed": sorted(present.keys() - signed.keys()),
    }
    if any(wrong.values()):
        found = "; ".join(f"{what}: {_listed(names)}" for what, names in wrong.items() if names)
        yield Check("files", "failed", found)
    else:
        yield Check("files", "ok", f"all {len(signed)} are those that were signed")


def _kernel(opened: Opened, _model: Path | None, _about: About | None) -> Iterator[Check]:
    kernel = opened.payload["predicate"].get("kernel")
    if kernel is None:
        return
    signed = subjects_of(opened.payload)
    if kernel.get("report") != signed.get("kernel/kernel.json"):
        yield Check("kernel", "failed", "its report is not the file that was signed")
    elif kernel.get("graph") != signed.get("kernel/model.onnx"):
        yield Check("kernel", "failed", "its graph is not the file that was signed")
    else:
        yield Check("kernel", "ok", str(kernel["summary"]))


def _verdict(opened: Opened, _model: Path | None, _about: About | None) -> Iterator[Check]:
    from headrace.gate import GateSpec, Verdict, rule

    predicate = opened.payload["predicate"]
    kind = predicate["kind"]
    if kind == "key":
        return
    if predicate.get("verdict") is None:
        state: State = "warning" if kind == "overridden" else "failed"
        yield Check("verdict", state, "the gate has not judged it")
        return
    gate = GateSpec.model_validate(predicate["rule"])
    verdict = Verdict.from_json(predicate["verdict"])
    found = [*rule.check(gate, verdict), *_contradictions(predicate, gate, verdict)]
    if found:
        yield Check("verdict", "failed", "; ".join(found))
    elif kind == "overridden":
        yield Check("verdict", "warning", f"of the gate: {verdict.summary}")
    else:
        yield Check("verdict", "ok", f"follows from its numbers: {verdict.summary}")


def _contradictions(predicate: Mapping[str, Any], gate: Any, verdict: Any) -> Iterator[str]:
    """Where the statement and the verdict inside it do not say the same."""
    of, kind = predicate["model"], predicate["kind"]
    if (verdict.model, verdict.version) != (of["name"], of["version"]):
        yield f"the verdict is on {verdict.model}/{verdict.version}"
    if verdict.gate_digest != gate.digest:
        yield "the rule is not the one that it was judged by"
    if kind != "overridden" and verdict.promoted != (kind in ("promoted", "waiting")):
        yield f"the decision is {kind}, and the verdict is not"
    champion = predicate.get("champion")
    if verdict.champion != (None if champion is None else champion["version"]):
        yield "the champion is another than the verdict's"
    holdout = predicate["holdout"]
    if (verdict.holdout_digest, verdict.rows) != (holdout["digest"], holdout["rows"]):
        yield "the hold-out is another than the verdict's"


def _override(opened: Opened, _model: Path | None, _about: About | None) -> Iterator[Check]:
    predicate = opened.payload["predicate"]
    if predicate["kind"] != "overridden":
        return
    override = predicate["override"]
    if not str(override["reason"]).strip():
        yield Check("override", "failed", "it gives no reason")
        return
    who = predicate["decided"]["by"]
    found = f"OVERRIDDEN by {who}, without the gate's yes: {override['reason']}"
    yield Check("override", "warning", found)


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


_SAYS: Final = {
    "promoted": "promoted",
    "refused": "refused",
    "waiting": "waits for approvals",
    "overridden": "promoted by override",
}

_CHECKS: Final[tuple[tuple[str, Callable[..., Iterator[Check]]], ...]] = (
    ("statement", _statement),
    ("signature", _signature),
    ("version", _about),
    ("files", _files),
    ("kernel", _kernel),
    ("verdict", _verdict),
    ("override", _override),
)
