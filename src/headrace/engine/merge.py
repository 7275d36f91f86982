"""``DataFrame.mergeInto``."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headrace.engine import columns, conflicts, dml, messages, sql, target
from headrace.engine.errors import UnsupportedStatementError
from headrace.engine.resolve import PinningResolver
from headrace.engine.rewrite import Rewriter, parts_of

if TYPE_CHECKING:
    from pyspark.sql.connect.client import SparkConnectClient
    from pyspark.sql.connect.proto import MergeIntoTableCommand

    from headrace.engine.record import Draft
    from headrace.engine.state import SessionState

_lock = threading.Lock()


def run(
    state: SessionState, client: SparkConnectClient, command: MergeIntoTableCommand, draft: Draft
) -> None:
    """Run a merge and record it.

    Raises:
        TableNotFoundError: the target is not there.
        DeltaConflictError: another writer committed while it ran.
    """
    from pyspark.sql.connect.proto import Command

    if command.with_schema_evolution:
        raise UnsupportedStatementError(
            "withSchemaEvolution",
            "the columns of a table change with a write alone",
            "append an empty frame with mergeSchema first, then merge",
        )
    parts = parts_of(command.target_table_name)
    found = target.existing(state, parts, "mergeInto")
    resolver = PinningResolver(state)
    made = type(command)()
    made.CopyFrom(command)
    Rewriter(resolver).apply(made)
    version = found.version
    with _registered(client, parts, found.location) as name:
        made.target_table_name = name
        sent = Command()
        sent.merge_into_table_command.CopyFrom(made)
        conflicts.retried(
            lambda: client.execute_command(sent),
            found.label,
            "merge",
            attempts=1,
        )
    used = columns.used(made.source_table_plan)
    dml.record(state, found, version, "merge", resolver, draft, used, made)


@contextmanager
def _registered(client: SparkConnectClient, parts: tuple[str, ...], location: str) -> Iterator[str]:
    """Give the server the table's name for the time of one command.

    The conditions of a merge name the target's columns by it (``features.id``), and the command
    has no place for an alias.
    """
    schema = parts[-2] if len(parts) > 1 and "/" not in parts[-1] else "headrace"
    table = parts[-1] if "/" not in parts[-1] else "target"
    name = f"{sql.quoted(schema)}.{sql.quoted(table)}"
    with _lock:
        _run(client, f"CREATE DATABASE IF NOT EXISTS {sql.quoted(schema)}")
        _run(client, f"DROP TABLE IF EXISTS {name}")
        _run(client, f"CREATE TABLE {name} USING delta LOCATION '{location}'")
        try:
            yield name
        finally:
            _run(client, f"DROP TABLE IF EXISTS {name}")


def _run(client: SparkConnectClient, text: str) -> None:
    dml.send(client, messages.query(text))
