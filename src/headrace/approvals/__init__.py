"""Who may say yes after the gate did: signed approvals, each for one piece of evidence.

::

    approve(store, ask, "ann", signer_of(key_file("ann")), by="ann")   # signs, checks and stores one approval
    counted(connection, ask, clock.now())       # those that count, and why others do not
"""

from __future__ import annotations

from headrace.approvals.approve import approve as approve
from headrace.approvals.approve import counted as counted
from headrace.approvals.errors import ApprovalError as ApprovalError
from headrace.approvals.errors import ApprovalRefusedError as ApprovalRefusedError
from headrace.approvals.errors import NothingToApproveError as NothingToApproveError
from headrace.approvals.keys import key_file as key_file
from headrace.approvals.keys import new_key as new_key
from headrace.approvals.keys import public_line as public_line
from headrace.approvals.keys import signer_of as signer_of
from headrace.evidence.approval import Ask as Ask
from headrace.evidence.approval import Weighed as Weighed
from headrace.gate.approvals import ApprovalRule as ApprovalRule

__all__ = [
    "ApprovalError",
    "ApprovalRefusedError",
    "ApprovalRule",
    "Ask",
    "NothingToApproveError",
    "Weighed",
    "approve",
    "counted",
    "key_file",
    "new_key",
    "public_line",
    "signer_of",
]
