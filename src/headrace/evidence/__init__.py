"""Signed statements about decisions: in-toto in DSSE envelopes, chained, verifiable offline.

::

    evidence = append(connection, Keys(paths), decision)   # in the transaction that decides
    verify(evidence.envelope, Keys(paths).public(), model=directory).ok
"""

from __future__ import annotations

from headrace.evidence.case import About as About
from headrace.evidence.chain import append as append
from headrace.evidence.chain import evidence_of as evidence_of
from headrace.evidence.chain import find as find
from headrace.evidence.digests import digests_of as digests_of
from headrace.evidence.errors import EvidenceError as EvidenceError
from headrace.evidence.examine import Chain as Chain
from headrace.evidence.examine import verify_chain as verify_chain
from headrace.evidence.guard import check as check
from headrace.evidence.guard import check_alias as check_alias
from headrace.evidence.guard import protected_alias as protected_alias
from headrace.evidence.keys import Keys as Keys
from headrace.evidence.keys import PublicKey as PublicKey
from headrace.evidence.keys import Signer as Signer
from headrace.evidence.rotation import rotate as rotate
from headrace.evidence.statement import Decision as Decision
from headrace.evidence.statement import Evidence as Evidence
from headrace.evidence.verification import Check as Check
from headrace.evidence.verification import Verification as Verification
from headrace.evidence.verify import verify as verify

__all__ = [
    "About",
    "Chain",
    "Check",
    "Decision",
    "Evidence",
    "EvidenceError",
    "Keys",
    "PublicKey",
    "Signer",
    "Verification",
    "append",
    "check",
    "check_alias",
    "digests_of",
    "evidence_of",
    "find",
    "protected_alias",
    "rotate",
    "verify",
    "verify_chain",
]
