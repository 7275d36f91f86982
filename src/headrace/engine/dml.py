"""Statements that change rows in place: ``MERGE``, ``UPDATE``, ``DELETE``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from headrace import lakehouse
from headrace.engine import columns, conflicts, describe, messages, sql, target
from headrace.engine.errors import SqlSyntaxError, UnsupportedStatementError
from headrace.engine.resolve import PinningResolver
from headrace.engine.rewrite import Rewriter

if TYPE_CHECKING:
    from pyspark.sql.connect.client import SparkConnectClient
    from pyspark.sql.connect.proto import MergeIntoTableCommand, Relation

    from headrace.engine.record import Draft
    from headrace.engine.state import SessionState
    from headrace.engine.target import Target

_KINDS: Final = {"merge": "merge", "update": "update", "delete": "delete"}


def run(
    state: SessionState, client: SparkConnectClient, relation: Relation, draft: Draft
) -> Relation:
    """Run a statement and record it.

    Args:
        relation: the SQL relation that ``spark.sql`` made, with its arguments.

    Returns:
        The relation of the server's result: the number of rows.

    Raises:
        TableNotFoundError: its target, or a source, is not there.
        DeltaConflictError: another writer committed while it ran.
    """
    made = type(relation)()
    made.CopyFrom(relation)
    root = messages.sql_root(made)
    statement = sql.read(root.sql.query)
    mode = _KINDS.get(statement.tree.key)
    if mode is None or not statement.tables:
        raise SqlSyntaxError(statement.text, "it is not a MERGE, UPDATE or DELETE")
    _refuse_delete_with_subquery(statement)
    use = statement.tables[0]
    found = target.existing(state, use.parts, mode.upper())
    resolver = PinningResolver(state)
    rewriter = Rewriter(resolver)
    rewriter.resolve_given(made)
    references: list[Relation] = []
    sources = sql.Statement(statement.text, statement.tree, statement.tables)
    root.sql.query = rewriter.text(
        sources,
        messages.given(made),
        references,
        fixed={use: f"delta.{sql.quoted(found.location)}"},
    )
    rewriter.functions(statement)
    made = messages.with_references(made, references)
    version = found.version
    result = conflicts.retried(lambda: send(client, made), found.label, mode, attempts=1)
    record(state, found, version, mode, resolver, draft, columns.used(made), made)
    return result


def send(client: SparkConnectClient, relation: Relation) -> Relation:
    """Run resolved SQL text on the server; its result."""
    from pyspark.sql.connect.proto import Command

    command = Command()
    command.sql_command.input.CopyFrom(relation)
    _, properties, _ = client.execute_command(command)
    result: Relation | None = properties.get("sql_command_result")
    return describe.nothing() if result is None else result


def record(
    state: SessionState,
    found: Target,
    before: int | None,
    mode: str,
    resolver: PinningResolver,
    draft: Draft,
    used: Mapping[int, columns.Names],
    made: Relation | MergeIntoTableCommand,
) -> None:
    """Record a change in place. One that changed no row made no commit, and is a read."""
    version = version_made(found, before, mode)
    target = found.access(before)
    reads = [target, *resolver.reads(used)]
    draft.finish(
        state.lineage,
        reads=reads,
        writes=[] if version is None else [found.access(version)],
        mode=mode if version is not None else None,
        files=resolver.raw_files() if version is not None else (),
        flows=resolver.changes(made, target) if version is not None else (),
    )


def version_made(found: Target, before: int | None, mode: str) -> int | None:
    """The version that a statement committed, told from the history after the version before it.

    The server takes no marker for these statements. Where another process commits the same kind
    of change in the same moment, the newest of them counts as this one.
    """
    after = -1 if before is None else before
    latest = found.version
    if latest is None or latest <= after:
        return None
    for commit in lakehouse.history(found.location, limit=latest - after):
        if commit.version > after and commit.operation.lower().startswith(mode):
            return commit.version
    return None


def _refuse_delete_with_subquery(statement: sql.Statement) -> None:
    """The server plans no subquery in a ``DELETE``."""
    from sqlglot import exp

    if statement.tree.key == "delete" and statement.tree.find(exp.Query) is not None:
        raise UnsupportedStatementError(
            "DELETE with a subquery",
            "the engine deletes by conditions on the table's own columns",
            "MERGE INTO t USING (SELECT ...) AS s ON t.id = s.id WHEN MATCHED THEN DELETE",
        )
