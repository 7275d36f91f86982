"""Statements: in-toto v1, about a decision of the gate or about the key that signs.

See https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

STATEMENT: Final = "https://in-toto.io/Statement/v1"
DECISION: Final = "urn:headrace:decision:v1"
KEY: Final = "urn:headrace:key:v1"

Kind = Literal["promoted", "refused", "waiting", "overridden", "key"]

#: Kinds that let a version have its alias.
GRANTING: Final = ("promoted", "overridden")


@dataclass(frozen=True)
class Decision:
    """What is to be stated; the chain adds its place, who and when.

    Attributes:
        kind: ``promoted``, ``refused``, ``waiting`` (for approvals) or ``overridden``.
        model, version: what it is about; no version where an alias is taken away.
        subjects: relative path -> sha256 of each file of the model.
        predicate: everything else, as JSON; see ``docs/evidence.md``.
        alias: the alias that the version may have, or may not.
    """

    kind: Kind
    model: str
    version: int | None
    subjects: Mapping[str, str]
    predicate: Mapping[str, Any]
    alias: str = "production"


@dataclass(frozen=True)
class Evidence:
    """A statement as the chain keeps it.

    Attributes:
        digest: sha256 of the envelope.
        sequence: its place in the chain, from 1.
        kind: as in ``Decision``, or ``key`` for a change of the key that signs.
        model, version, alias: what it is about; ``None`` for a key.
        envelope: its bytes.
        created_at: when, by a clock that may jump: order is that of ``sequence``.
    """

    digest: str
    sequence: int
    kind: str
    model: str | None
    version: int | None
    alias: str | None
    envelope: bytes = field(repr=False)
    created_at: datetime


def statement(
    predicate_type: str, subjects: Mapping[str, str], predicate: Mapping[str, Any]
) -> dict[str, Any]:
    """An in-toto statement on files."""
    return {
        "_type": STATEMENT,
        "subject": [
            {"name": name, "digest": {"sha256": subjects[name]}} for name in sorted(subjects)
        ],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }


def subjects_of(body: Mapping[str, Any]) -> dict[str, str]:
    """Name -> sha256 of a statement's subjects.

    Raises:
        KeyError, TypeError, ValueError: they are not of that shape, or two share a name.
    """
    found = {str(each["name"]): str(each["digest"]["sha256"]) for each in body["subject"]}
    if len(found) != len(body["subject"]):
        raise ValueError("two subjects have one name")
    return found
