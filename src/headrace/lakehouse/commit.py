"""What every commit carries: a marker, a transaction, and an identity to find its version by."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from headrace.ids import new_id
from headrace.lakehouse.errors import CorruptTableError, DeltaConflictError
from headrace.lakehouse.lock import exclusive
from headrace.lakehouse.log import find_commit, find_transaction, latest_version
from headrace.lakehouse.opening import delta_errors, open_table
from headrace.lakehouse.retry import ATTEMPTS, LostRaceError, retry

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable

Mode = Literal["append", "overwrite"]

_LOG = logging.getLogger(__name__)
_IDENTITY: Final = "headraceCommit"


@dataclass(frozen=True)
class Transaction:
    """An application's own version number, kept in the Delta log (action ``txn``).

    A commit whose transaction the table already holds, at this version or a later one, is not
    made again. That is how a rerun after a crash writes nothing twice.

    Attributes:
        app_id: who writes, such as a flow or a log segment.
        version: grows with each batch of that writer.
    """

    app_id: str
    version: int


def transaction_version(location: str | Path, app_id: str) -> int | None:
    """The newest transaction version of an application; ``None`` if it wrote nothing here."""
    if latest_version(location) is None:
        return None
    held: int | None = open_table(location).transaction_version(app_id)
    return held


def commit(
    path: Path,
    action: Callable[[DeltaTable | None, CommitProperties], None],
    *,
    mode: Mode,
    repeatable: bool,
    transaction: Transaction | None,
    marker: str | None,
) -> int:
    """Run a committing action once, and tell the version it made.

    Args:
        path: directory of the table.
        action: gets the table as it is now (``None`` if there is none) and the properties that
            its one commit must carry.
        mode: an overwrite that lost to another commit is not tried again: it would remove rows
            that its caller has never seen.
        repeatable: the action can run a second time, on the same data.
        transaction: see ``Transaction``.
        marker: goes into ``userMetadata``.

    Returns:
        The version made, or the one that holds the transaction already.

    Raises:
        DeltaConflictError: other writers won.
    """

    def attempt() -> int:
        if transaction is None and latest_version(path) is not None:
            return once()
        with delta_errors(path), exclusive(path):
            return once()

    def once() -> int:
        from deltalake import CommitProperties
        from deltalake.transaction import Transaction as DeltaTransaction

        before = latest_version(path)
        table = None if before is None else open_table(path)
        if table is not None and transaction is not None:
            held = table.transaction_version(transaction.app_id)
            if held is not None and held >= transaction.version:
                return _version_holding(path, transaction)
        identity = new_id("commit")
        metadata = {_IDENTITY: identity} | ({"userMetadata": marker} if marker else {})
        txns = [DeltaTransaction(transaction.app_id, transaction.version)] if transaction else None
        properties = CommitProperties(custom_metadata=metadata, app_transactions=txns)
        after = -1 if before is None else before
        try:
            with delta_errors(path):
                action(table, properties)
        except Exception as error:
            # What follows a commit, such as a checkpoint, can fail when the commit is made.
            made = find_commit(path, _IDENTITY, identity, after)
            if made is not None:
                _LOG.warning("version %d of %s was made, and then: %s", made, path, error)
                return made
            if before is None and latest_version(path) is not None:
                # Its transactions were not looked at: begin again.
                raise LostRaceError("another writer made the table meanwhile") from error
            raise
        made = find_commit(path, _IDENTITY, identity, after)
        if made is None:
            raise CorruptTableError(str(path), "the commit just made is missing from the log")
        return made

    # A commit with a transaction that lost the race is looked up again, whatever its mode:
    # the winner may have been the same transaction, made by another process.
    again = repeatable and mode == "append"
    try:
        return retry(attempt, location=path, operation=mode, attempts=ATTEMPTS if again else 1)
    except DeltaConflictError:
        if transaction is None or not _holds(path, transaction):
            raise
        return _version_holding(path, transaction)


def _holds(path: Path, transaction: Transaction) -> bool:
    held = transaction_version(path, transaction.app_id)
    return held is not None and held >= transaction.version


def _version_holding(path: Path, transaction: Transaction) -> int:
    found = find_transaction(path, transaction.app_id, transaction.version)
    if found is None:
        # The commit has left the log, its transaction lives on in a checkpoint.
        found = open_table(path).version()
    return found
