"""Writing Arrow data to a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.lakehouse.columns import check_names, storable
from headrace.lakehouse.commit import Mode, Transaction, commit
from headrace.lakehouse.opening import directory

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable


def write(
    location: str | Path,
    data: Any,
    *,
    mode: Mode = "append",
    partition_by: Sequence[str] = (),
    transaction: Transaction | None = None,
    marker: str | None = None,
    replace_schema: bool = False,
) -> int:
    """Write rows in one commit; the table is made if it is not there.

    Args:
        location: directory of the table.
        data: a ``pyarrow.Table`` or ``RecordBatch``, or a ``RecordBatchReader``, which is
            streamed and can be consumed only once: a conflict with it is not tried again.
        mode: ``overwrite`` replaces all rows; if another writer commits meanwhile, it fails.
        partition_by: partition columns of a new table.
        transaction: writes exactly once, see ``Transaction``.
        marker: kept in the commit's ``userMetadata``.
        replace_schema: an overwrite replaces the columns too.

    Returns:
        The version made, or the one that already holds the transaction.

    Raises:
        TableSchemaError: the columns are not those of the table.
        DeltaConflictError: other writers won.
        StorageFullError: no space is left; nothing was committed.
    """
    import pyarrow

    path = directory(location)
    wanted = storable(data.schema)
    if wanted != data.schema:
        data = data.cast(wanted)

    def action(table: DeltaTable | None, properties: CommitProperties) -> None:
        from deltalake import write_deltalake

        options: dict[str, Any] = {"commit_properties": properties}
        # A table that appears meanwhile is a conflict: its transactions were not looked at.
        options["mode"] = "error" if table is None else mode
        if table is None or replace_schema:
            options["partition_by"] = list(partition_by)
        if table is not None and mode == "overwrite" and replace_schema:
            options["schema_mode"] = "overwrite"
        elif table is not None:
            check_names(path, table, pyarrow.schema(data.schema))
        write_deltalake(table if table is not None else str(path), data, **options)

    return commit(
        path,
        action,
        mode=mode,
        repeatable=isinstance(data, pyarrow.Table | pyarrow.RecordBatch),
        transaction=transaction,
        marker=marker,
    )
