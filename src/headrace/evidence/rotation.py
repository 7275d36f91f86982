"""Another key signs from now on: stated in the chain by the key before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.catalog import audit
from headrace.crash import crash_point
from headrace.evidence.chain import append_key, head_of
from headrace.evidence.errors import KeyNotLostError, SigningKeyMissingError
from headrace.identity import principal

if TYPE_CHECKING:
    from headrace.catalog import Store
    from headrace.evidence.keys import Keys, PublicKey


def rotate(store: Store, keys: Keys, reason: str = "", *, lost: bool = False) -> PublicKey:
    """Make a new key and let it sign from now on; the private part of the one before is destroyed.

    One that was cut off anywhere is finished by the next one.

    Args:
        store: the project's database.
        keys: of the workspace.
        reason: why, for the statement.
        lost: the key before is gone. Nobody can sign for it, and the chain says so forever.

    Raises:
        SigningKeyMissingError: the key before is not here, and it was not said that it is lost.
        KeyNotLostError: it was said, and here it is.
    """
    with store.lock("keys"):
        settle(store, keys)
        before = signing(store, keys)
        if lost and keys.has_private(before):
            raise KeyNotLostError(keys.directory, before)
        if not lost and not keys.has_private(before):
            raise SigningKeyMissingError(keys.directory, before)
        fresh = keys.add()
        crash_point("key.added")
        with store.begin() as connection:
            made = append_key(connection, keys, before, fresh, reason, lost=lost)
            audit.record(
                connection,
                "key.rotate",
                "key",
                by=principal(),
                details={
                    "from": before,
                    "to": fresh.keyid,
                    "reason": reason,
                    "lost": lost,
                    "evidence": made.digest,
                },
            )
        crash_point("key.stated")
        settle(store, keys)
    return keys.public()[0]


def settle(store: Store, keys: Keys) -> None:
    """Finish a rotation that was stated, and then cut off: retire the keys before."""
    with store.reading() as connection:
        head = head_of(connection, keys.public())
    known = keys.public()
    if head.keyid is None or not any(each.keyid == head.keyid for each in known):
        return
    newer = [each.keyid for each in known].index(head.keyid)
    for each in known[newer + 1 :]:
        if each.last is None:
            keys.retire(each.keyid, head.sequence)


def signing(store: Store, keys: Keys) -> str:
    """Id of the key that signs the next statement; made where there is none."""
    with store.reading() as connection:
        head = head_of(connection, keys.public())
    return head.keyid or keys.ensure().keyid
