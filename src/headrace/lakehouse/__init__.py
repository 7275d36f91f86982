"""Delta tables by location: versions, history, time travel, commits and maintenance.

::

    version = write("warehouse/main/raw/events", table, transaction=Transaction("load", 7))
    history("warehouse/main/raw/events", limit=1)[0].operation
    read("warehouse/main/raw/events", version=version, columns=["device"])

Through delta-rs only: no Spark session, and no names.
"""

from __future__ import annotations

from headrace.lakehouse.adopt import commit_files as commit_files
from headrace.lakehouse.checkpoints import checkpoints as checkpoints
from headrace.lakehouse.commit import Mode as Mode
from headrace.lakehouse.commit import Transaction as Transaction
from headrace.lakehouse.commit import transaction_version as transaction_version
from headrace.lakehouse.errors import (
    CorruptTableError as CorruptTableError,
)
from headrace.lakehouse.errors import (
    DataFileError as DataFileError,
)
from headrace.lakehouse.errors import (
    DeltaConflictError as DeltaConflictError,
)
from headrace.lakehouse.errors import (
    NotADeltaTableError as NotADeltaTableError,
)
from headrace.lakehouse.errors import (
    PredicateError as PredicateError,
)
from headrace.lakehouse.errors import (
    RetentionTooShortError as RetentionTooShortError,
)
from headrace.lakehouse.errors import (
    StorageError as StorageError,
)
from headrace.lakehouse.errors import (
    StorageFullError as StorageFullError,
)
from headrace.lakehouse.errors import (
    TableHeldError as TableHeldError,
)
from headrace.lakehouse.errors import (
    TableSchemaError as TableSchemaError,
)
from headrace.lakehouse.errors import (
    TimestampOutOfRangeError as TimestampOutOfRangeError,
)
from headrace.lakehouse.errors import (
    VersionNotFoundError as VersionNotFoundError,
)
from headrace.lakehouse.files import DataFile as DataFile
from headrace.lakehouse.files import added_files as added_files
from headrace.lakehouse.files import files as files
from headrace.lakehouse.files import read as read
from headrace.lakehouse.files import row_count as row_count
from headrace.lakehouse.files import schema as schema
from headrace.lakehouse.log import Commit as Commit
from headrace.lakehouse.log import check_version as check_version
from headrace.lakehouse.log import commit_of as commit_of
from headrace.lakehouse.log import committed_at as committed_at
from headrace.lakehouse.log import exists as exists
from headrace.lakehouse.log import history as history
from headrace.lakehouse.log import last_change as last_change
from headrace.lakehouse.log import latest_version as latest_version
from headrace.lakehouse.log import table_id as table_id
from headrace.lakehouse.log import table_ids as table_ids
from headrace.lakehouse.log import version_at as version_at
from headrace.lakehouse.log import version_range as version_range
from headrace.lakehouse.maintenance import RETENTION_FLOOR as RETENTION_FLOOR
from headrace.lakehouse.maintenance import checkpoint as checkpoint
from headrace.lakehouse.maintenance import compact as compact
from headrace.lakehouse.maintenance import forget_hint as forget_hint
from headrace.lakehouse.maintenance import small_files as small_files
from headrace.lakehouse.maintenance import vacuum as vacuum
from headrace.lakehouse.properties import hold as hold
from headrace.lakehouse.properties import is_held as is_held
from headrace.lakehouse.properties import let_go as let_go
from headrace.lakehouse.properties import set_properties as set_properties
from headrace.lakehouse.retry import retry as retry
from headrace.lakehouse.sweep import Cost as Cost
from headrace.lakehouse.sweep import Sweep as Sweep
from headrace.lakehouse.sweep import data_files as data_files
from headrace.lakehouse.sweep import listing_digest as listing_digest
from headrace.lakehouse.sweep import missing as missing
from headrace.lakehouse.write import write as write
