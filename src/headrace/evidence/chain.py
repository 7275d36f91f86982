"""The chain: each statement names the one before it, and a signed head names the last.

Order is that of ``sequence``; times are what a clock said. A statement that was removed from the
end is missed by the head, which nobody without the key can write. What the chain cannot tell is
that the whole database was put back to an earlier copy of itself: an envelope that was kept
elsewhere tells that (``headrace verify FILE --chain``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, RowMapping, insert, select, text

from headrace import __version__, clock
from headrace.catalog.store import insert_or_skip
from headrace.evidence.envelope import digest_of, seal, unseal
from headrace.evidence.errors import EnvelopeError
from headrace.evidence.statement import DECISION, KEY, Decision, Evidence, statement
from headrace.evidence.store import heads, statements
from headrace.identity import principal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.catalog import Store
    from headrace.evidence.keys import Keys, PublicKey

HEAD_TYPE: Final = "application/vnd.headrace.chain-head+json"
_HEAD: Final = 1  # the one row of its table
_LOCK: Final = 0x68656164  # any number that nobody else locks


@dataclass(frozen=True)
class Head:
    """The end of the chain.

    Attributes:
        sequence: of the last statement; 0 before the first.
        digest: its digest; ``None`` before the first.
        keyid: the key that signs next; ``None`` before the first.
        broken: why the database does not say plainly where the chain ends.
    """

    sequence: int
    digest: str | None
    keyid: str | None
    broken: str | None = None


def append(connection: Connection, keys: Keys, decision: Decision) -> Evidence:
    """Sign a decision as the next statement of the chain, in the caller's transaction.

    Two that append at once wait for each other until the first one's transaction ends.

    Raises:
        SigningKeyMissingError: this machine does not have the key that signs.
        KeyFileError: it cannot be used.
    """
    body = {
        **decision.predicate,
        "kind": decision.kind,
        "alias": decision.alias,
        "model": {
            **decision.predicate.get("model", {}),
            "name": decision.model,
            "version": decision.version,
        },
    }
    return _append(connection, keys, decision.kind, DECISION, decision.subjects, body)


def append_key(
    connection: Connection, keys: Keys, before: str, fresh: PublicKey, reason: str, *, lost: bool
) -> Evidence:
    """State that another key signs from now on.

    Args:
        connection: of the caller's transaction.
        keys: of the workspace.
        before: id of the key that signs until now.
        fresh: the key that signs next.
        reason: why.
        lost: the key before is gone, so that the fresh one signs this; ``examine`` tells that.
    """
    body = {
        "kind": "key",
        "key": {"keyid": fresh.keyid, "public": fresh.pem},
        "replaces": before,
        "lost": lost,
        "reason": reason,
    }
    subjects = {f"{fresh.keyid}.pub.pem": digest_of(fresh.pem.encode())}
    by = fresh.keyid if lost else before
    return _append(connection, keys, "key", KEY, subjects, body, by=by, then=fresh.keyid)


def evidence_of(store: Store, model: str, version: int, alias: str | None = None) -> list[Evidence]:
    """The statements on a version, the newest first; those on one alias if asked."""
    query = select(statements).where(statements.c.model == model, statements.c.version == version)
    if alias is not None:
        query = query.where(statements.c.alias == alias)
    with store.reading() as connection:
        rows = connection.execute(query.order_by(statements.c.sequence.desc())).mappings()
        return [_evidence(row) for row in rows]


def find(store: Store, digest: str) -> Evidence | None:
    """The statement with that digest."""
    with store.reading() as connection:
        query = select(statements).where(statements.c.digest == digest)
        row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _evidence(row)


def head_of(connection: Connection, public: Sequence[PublicKey]) -> Head:
    """Where the chain ends: what the signed head says, if it goes with the last statement."""
    newest = connection.execute(
        select(statements.c.sequence, statements.c.digest, statements.c.envelope)
        .order_by(statements.c.sequence.desc())
        .limit(1)
    ).one_or_none()
    row = connection.execute(select(heads).where(heads.c.id == _HEAD)).one_or_none()
    if row is None and newest is None:
        return Head(0, None, None)
    if row is None:
        assert newest is not None  # noqa: S101  # see above
        return Head(newest.sequence, newest.digest, None, "the signed head is missing")
    head = Head(row.sequence, row.digest, row.keyid)
    wanted = {"sequence": row.sequence, "digest": row.digest, "keyid": row.keyid}
    try:
        signed = unseal(row.envelope.encode(), public, HEAD_TYPE).payload
    except EnvelopeError as error:
        # Of a key that is not known here the name counts: another machine has it.
        keyid = row.keyid if error.part == "signer" else None
        head = Head(row.sequence, row.digest, keyid)
        return _later(head, newest, f"the signed head is not valid: {error.why}")
    if signed != wanted:
        return _later(replace(head, keyid=None), newest, "the head is not the one that was signed")
    if newest is None or (newest.sequence, newest.digest) != (row.sequence, row.digest):
        return _later(head, newest, f"statement {row.sequence}, the last, is not there")
    return head


def _later(head: Head, newest: Any, broken: str) -> Head:
    if newest is not None and newest.sequence > head.sequence:
        return Head(newest.sequence, newest.digest, head.keyid, broken)
    return Head(head.sequence, head.digest, head.keyid, broken)


def _lock_head(connection: Connection, keys: Keys) -> Head:
    if connection.dialect.name == "postgresql":
        # SQLite's transactions are one after the other anyway.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    return head_of(connection, keys.public())


def _append(
    connection: Connection,
    keys: Keys,
    kind: str,
    predicate_type: str,
    subjects: Any,
    predicate: dict[str, Any],
    *,
    by: str | None = None,
    then: str | None = None,
) -> Evidence:
    head = _lock_head(connection, keys)
    keyid = by or head.keyid or keys.ensure().keyid
    signer = keys.signer(keyid)
    moment = clock.now()
    body: dict[str, Any] = {
        **predicate,
        "sequence": head.sequence + 1,
        "previous": head.digest,
        "decided": {"by": principal(), "at": clock.iso(moment)},
        "headrace": __version__,
    }
    if head.broken is not None:
        body["chain_broken"] = head.broken
    envelope = seal(statement(predicate_type, subjects, body), signer)
    made = Evidence(
        digest=digest_of(envelope),
        sequence=head.sequence + 1,
        kind=kind,
        model=predicate["model"]["name"] if kind != "key" else None,
        version=predicate["model"]["version"] if kind != "key" else None,
        alias=predicate.get("alias"),
        envelope=envelope,
        created_at=moment,
    )
    connection.execute(insert(statements).values(**{**vars(made), "envelope": envelope.decode()}))
    _set_head(connection, made, then or keyid, signer)
    return made


def _set_head(connection: Connection, last: Evidence, keyid: str, signer: Any) -> None:
    says = {"sequence": last.sequence, "digest": last.digest, "keyid": keyid}
    row = {"id": _HEAD, **says, "envelope": seal(says, signer, HEAD_TYPE).decode()}
    if not insert_or_skip(connection, heads, row):
        connection.execute(heads.update().where(heads.c.id == _HEAD).values(**row))


def _evidence(row: RowMapping) -> Evidence:
    return Evidence(**{**row, "envelope": row["envelope"].encode()})
