"""Checking a statement with nothing but its bytes, public keys and the model's files.

No database, no project, no network: whoever has the three can do it, years later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace.evidence import decided
from headrace.evidence.case import About, Case
from headrace.evidence.digests import digests_of
from headrace.evidence.envelope import digest_of, unseal
from headrace.evidence.errors import EnvelopeError
from headrace.evidence.statement import DECISION, KEY, STATEMENT, subjects_of
from headrace.evidence.verification import Check, Verification

if TYPE_CHECKING:
    from headrace.evidence.keys import PublicKey

_NAMED: Final = 5  # so many files are named in a sentence

_SAYS: Final = {
    "promoted": "promoted",
    "refused": "refused",
    "waiting": "waits for approvals",
    "overridden": "promoted by override",
}


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
        name = "envelope" if error.part == "form" else "signature"
        return Verification(digest_of(envelope), None, (Check(name, "failed", str(error.why)),))
    case = Case(opened, public_keys, model, about)
    checks: list[Check] = []
    for name, check in _CHECKS:
        try:
            checks.extend(check(case))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            # Signed, and of another shape: by another version of Headrace, or by a stolen key.
            line = (str(error).splitlines() or [""])[0][:200]
            found = f"it is not of this form: {type(error).__name__} {line}"
            checks.append(Check(name, "failed", found))
    return Verification(opened.digest, opened.payload, tuple(checks))


def _signature(case: Case) -> Iterator[Check]:
    key, sequence = case.opened.key, case.predicate["sequence"]
    if key.last is not None and sequence > key.last:
        found = f"by key {key.short}, which signs nothing after statement {key.last}"
        yield Check("signature", "failed", found)
        return
    since = "" if key.retired_at is None else f", retired on {key.retired_at:%Y-%m-%d}"
    yield Check("signature", "ok", f"by key {key.short}{since}")


def _statement(case: Case) -> Iterator[Check]:
    body, predicate = case.body, case.predicate
    if body["_type"] != STATEMENT or body["predicateType"] not in (DECISION, KEY):
        yield Check("statement", "failed", f"it is a {body['predicateType']} of {body['_type']}")
        return
    kinds = ("key",) if body["predicateType"] == KEY else tuple(_SAYS)
    if case.kind not in kinds:
        yield Check("statement", "failed", f'a decision is not "{case.kind}"')
        return
    number, previous = predicate["sequence"], predicate["previous"]
    if type(number) is not int or number < 1 or (previous is None) != (number == 1):
        yield Check(
            "statement", "failed", f"number {number} after {previous} is no place in a chain"
        )
        return
    what, about = _SAYS.get(case.kind, "another key signs from here on"), predicate.get("model")
    if about:
        version = "no version" if about["version"] is None else about["version"]
        what = f"{about['name']}/{version} {what}"
    by, at = predicate["decided"]["by"], predicate["decided"]["at"]
    yield Check("statement", "ok", f"number {number}: {what}, {at}, by {by}")
    if predicate.get("chain_broken"):
        yield Check("statement", "warning", f"made on a broken chain: {predicate['chain_broken']}")


def _version(case: Case) -> Iterator[Check]:
    about = case.about
    if about is None:
        return
    of = case.predicate["model"]
    if (of["name"], of["version"]) != (about.model, about.version):
        found = f"it is about {of['name']}/{of['version']}, not {about.model}/{about.version}"
        yield Check("version", "failed", found)
    elif about.alias is not None and case.predicate["alias"].lower() != about.alias.lower():
        found = f"it is about the alias {case.predicate['alias']}, not {about.alias}"
        yield Check("version", "failed", found)
    else:
        yield Check("version", "ok", f"it is about {about.model}/{about.version}")


def _files(case: Case) -> Iterator[Check]:
    if case.kind == "key" or case.predicate["model"]["version"] is None:
        return
    signed = subjects_of(case.body)
    if not signed:
        yield Check("files", "failed", "the statement names no file of the model")
        return
    if case.model is None:
        yield Check("files", "skipped", f"{len(signed)} files are signed; none was compared")
        return
    try:
        present = digests_of(case.model)
    except (OSError, ValueError) as error:
        yield Check("files", "failed", f"{case.model} cannot be read: {error}")
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


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


_CHECKS: Final[tuple[tuple[str, Callable[[Case], Iterator[Check]]], ...]] = (
    ("statement", _statement),
    ("signature", _signature),
    ("version", _version),
    ("files", _files),
    ("kernel", decided.kernel),
    ("verdict", decided.verdict),
    ("approvals", decided.approvals),
    ("override", decided.override),
)
