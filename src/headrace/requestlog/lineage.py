"""What the lineage is told of the request log: which models answered into which table."""

from __future__ import annotations

import time
from collections.abc import Set as AbstractSet
from datetime import datetime
from pathlib import Path
from typing import Final

from headrace import lakehouse
from headrace.catalog import Access, Lineage, Operation, Store, TableName
from headrace.clock import now
from headrace.ids import new_id

EVERY_SECONDS: Final = 3600.0


class LogLineage:
    """Records an operation when a model is new to a table, and once an hour.

    A table gets a commit every few seconds, and each says the same: an operation for each would
    be thousands a day. Producers of a version are all operations up to it, so none is missing.
    """

    def __init__(self, store: Store) -> None:
        self._lineage = Lineage(store)
        self._told: dict[TableName, tuple[float, set[str]]] = {}

    def appended(
        self,
        name: TableName,
        location: Path,
        endpoint: str,
        models: AbstractSet[str],
        started: datetime,
    ) -> None:
        """Rows of these models have been appended in the table's newest version."""
        moment = time.monotonic()
        since, known = self._told.get(name, (-EVERY_SECONDS, set()))
        if moment - since >= EVERY_SECONDS:
            since, known = moment, set()
        elif models <= known:
            return
        version = lakehouse.latest_version(location)
        self._lineage.record(
            Operation(
                id=new_id("op"),
                kind="request_log",
                subject=endpoint,
                session_id=None,
                run_id=None,
                started_at=started,
                finished_at=now(),
                reads=tuple(Access("model", f"models:/{model}") for model in sorted(models)),
                writes=(Access("table", str(name), version=version, location=str(location)),),
                mode="append",
            )
        )
        self._told[name] = (since, known | models)
