"""The catalog: names of tables and views, and the lineage of everything that was run.

::

    store = Store.open("sqlite:///.headrace/headrace.db")
    catalog = Catalog(store, Path("warehouse"))
    catalog.resolve("gold.features").location      # .../warehouse/main/gold/features
    Lineage(store).producers(TableName.parse("gold.features"), version=3)
"""

from __future__ import annotations

from headrace.catalog.audit import Audit as Audit
from headrace.catalog.audit import AuditEntry as AuditEntry
from headrace.catalog.catalog import Catalog as Catalog
from headrace.catalog.entry import Entry as Entry
from headrace.catalog.errors import (
    DatabaseTooNewError as DatabaseTooNewError,
)
from headrace.catalog.errors import (
    DatabaseUnavailableError as DatabaseUnavailableError,
)
from headrace.catalog.errors import (
    InvalidNameError as InvalidNameError,
)
from headrace.catalog.errors import (
    LocationTakenError as LocationTakenError,
)
from headrace.catalog.errors import (
    NameTakenError as NameTakenError,
)
from headrace.catalog.errors import (
    RawFileError as RawFileError,
)
from headrace.catalog.errors import (
    TableNotFoundError as TableNotFoundError,
)
from headrace.catalog.lineage import Lineage as Lineage
from headrace.catalog.names import TableName as TableName
from headrace.catalog.operation import Access as Access
from headrace.catalog.operation import ColumnFlow as ColumnFlow
from headrace.catalog.operation import Operation as Operation
from headrace.catalog.operation import RawFile as RawFile
from headrace.catalog.store import Store as Store

__all__ = [
    "Access",
    "Audit",
    "AuditEntry",
    "Catalog",
    "ColumnFlow",
    "DatabaseTooNewError",
    "DatabaseUnavailableError",
    "Entry",
    "InvalidNameError",
    "Lineage",
    "LocationTakenError",
    "NameTakenError",
    "Operation",
    "RawFile",
    "RawFileError",
    "Store",
    "TableName",
    "TableNotFoundError",
]
