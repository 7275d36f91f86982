"""Giving approvals, and counting those that were given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, insert, select

from headrace import clock
from headrace.approvals.errors import ApprovalRefusedError
from headrace.approvals.store import approvals
from headrace.catalog import audit
from headrace.evidence.approval import Ask, Weighed, sign, weigh

if TYPE_CHECKING:
    from headrace.catalog import Store
    from headrace.evidence.keys import Signer


def approve(store: Store, ask: Ask, approver: str, signer: Signer, *, by: str) -> Weighed:
    """Sign and store an approval, if it counts.

    Args:
        store: the project's database.
        ask: what is to be approved.
        approver: a member of the group.
        signer: his key.
        by: who types, for the audit log; the key says who approves.

    Raises:
        ApprovalRefusedError: it does not count; that it was tried is audited.
    """
    at = clock.now()
    envelope = sign(ask, at + ask.expires, signer)
    with store.begin() as connection:
        given = weigh([*_given(connection, ask), envelope], ask, at)[-1]
        if given.refused is None and given.approver != approver:
            given = replace(given, refused=f"the key is {given.approver}'s, not {approver}'s")
        _audit(connection, ask, given, approver, by)
        if given.refused is None and given.expires is not None:
            connection.execute(
                insert(approvals).values(
                    model=ask.model,
                    version=ask.version,
                    alias=ask.alias,
                    evidence=ask.evidence,
                    approver=given.approver,
                    expires=given.expires,
                    envelope=envelope.decode(),
                    approved_at=at,
                )
            )
    if given.refused is not None:
        raise ApprovalRefusedError(ask.model, ask.version, approver, given.refused)
    return given


def counted(connection: Connection, ask: Ask, at: datetime | None = None) -> list[Weighed]:
    """Every approval of a version, weighed: those that count have no reason ``refused``."""
    return weigh(_given(connection, ask), ask, at or clock.now())


def good(weighed: Iterable[Weighed]) -> list[Weighed]:
    """Those that count."""
    return [each for each in weighed if each.refused is None]


def _given(connection: Connection, ask: Ask) -> list[bytes]:
    """The stored envelopes of a version, the oldest first, whatever their rows say of them."""
    query = (
        select(approvals.c.envelope)
        .where(approvals.c.model == ask.model, approvals.c.version == ask.version)
        .order_by(approvals.c.sequence)
    )
    return [str(envelope).encode() for envelope in connection.scalars(query)]


def _audit(connection: Connection, ask: Ask, given: Weighed, approver: str, by: str) -> None:
    details = {"alias": ask.alias, "evidence": ask.evidence, "approver": approver}
    if given.refused is not None:
        details["why"] = given.refused
    audit.record(
        connection,
        "approval",
        f"{ask.model}/{ask.version}",
        outcome="done" if given.refused is None else "refused",
        by=by,
        details=details,
    )
