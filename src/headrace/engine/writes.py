"""Writes of DataFrames: ``saveAsTable``, ``insertInto``, ``save``, ``writeTo``, ``mergeInto``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from headrace import lakehouse
from headrace.catalog import Access, RawFile
from headrace.crash import crash_point
from headrace.engine import columns, conflicts, files, partitions, rows, target
from headrace.engine.errors import RowsOutsideError, TableExistsError, UnsupportedStatementError
from headrace.engine.resolve import PinningResolver
from headrace.engine.rewrite import Rewriter, parts_of

if TYPE_CHECKING:
    from pyspark.sql.connect.client import SparkConnectClient
    from pyspark.sql.connect.proto import (
        Command,
        Expression,
        Relation,
        WriteOperation,
        WriteOperationV2,
    )

    from headrace.engine.record import Draft, Flow
    from headrace.engine.state import SessionState
    from headrace.engine.target import Target
    from headrace.errors import HeadraceError

Mode = Literal["append", "overwrite"]
_MODES: Final = {0: "error", 1: "append", 2: "overwrite", 3: "error", 4: "ignore"}
_IF_EXISTS: Final[dict[str, Literal["error", "ignore"]]] = {"error": "error", "ignore": "ignore"}
_MODES_V2: Final = {
    1: "create",
    2: "overwrite",
    3: "overwrite_partitions",
    4: "append",
    5: "replace",
    6: "create_or_replace",
}


@dataclass
class Write:
    """A Delta write that has been decided on.

    Attributes:
        target: where to.
        rows: the relation to write, not yet resolved.
        mode: what becomes of the rows that are there.
        options: of the Delta writer.
        partition_by: columns of a new or replaced table's directories.
        create: the table is not there, and is made with the rows' columns.
        if_exists: what to do where another process has made it in the meantime.
        by_position: columns match by position, not by name.
        columns: those that the rows are for, by position; all of the table's if empty.
        comment: of a new table.
        names: columns of the rows as they are written, once the rows have been fitted.
    """

    target: Target
    rows: Relation
    mode: Mode
    options: dict[str, str] = field(default_factory=dict)
    partition_by: tuple[str, ...] = ()
    create: bool = False
    if_exists: Literal["error", "ignore", "write"] = "write"
    by_position: bool = False
    columns: tuple[str, ...] = ()
    comment: str | None = None
    names: tuple[str, ...] | None = None

    @property
    def recorded_mode(self) -> str:
        """The mode for the lineage: after ``overwrite_part`` rows of earlier writes are there."""
        partial = self.mode == "overwrite" and "replacewhere" in self.options
        return "overwrite_part" if partial else self.mode

    def flag(self, name: str) -> bool:
        """Whether a boolean option is on."""
        return self.options.get(name.lower(), "").lower() == "true"


class Writer:
    """Runs writes and records them.

    Args:
        state: the session.
        client: a client of the same session whose requests pass by the interceptor.
    """

    def __init__(self, state: SessionState, client: SparkConnectClient) -> None:
        self._state = state
        self._client = client

    def operation(self, command: WriteOperation, draft: Draft) -> None:
        """``DataFrame.write`` with everything that can stand before its last call."""
        _refuse_layout(command)
        options = {key.lower(): value for key, value in command.options.items()}
        form = command.source.lower()
        mode = _MODES[command.mode]
        if not command.HasField("table"):
            path = command.path or options.pop("path", "")
            if form not in {"", "delta"}:
                self._files(command, path, draft)
                return
            found = target.at_path(self._state, path)
        else:
            _require_delta(form)
            action = "insertInto" if command.table.save_method == 2 else "saveAsTable"
            found = target.find(self._state, command.table.table_name, action)
            path = options.pop("path", "")
            if action == "insertInto":
                self._insert(command, found, options, draft)
                return
            if path and found.name is not None:
                found = target.placed(self._state, found, path, may_replace=mode == "overwrite")
        if found.registered and mode == "error":
            raise TableExistsError(found.label)
        if found.registered and mode == "ignore":
            return
        write = Write(
            target=found,
            rows=command.input,
            mode="append" if mode == "append" else "overwrite",
            options=options,
            partition_by=tuple(command.partitioning_columns),
            create=not found.registered,
            if_exists=_IF_EXISTS.get(mode, "write"),
        )
        if command.with_schema_evolution:
            write.options["mergeschema"] = "true"
        self.run(write, draft)

    def _insert(
        self, command: WriteOperation, found: Target, options: dict[str, str], draft: Draft
    ) -> None:
        if not found.registered:
            self._state.resolve(parts_of(command.table.table_name))
        mode: Mode = "overwrite" if _MODES[command.mode] == "overwrite" else "append"
        self.run(Write(found, command.input, mode, options, by_position=True), draft)

    def operation_v2(self, command: WriteOperationV2, draft: Draft) -> None:
        """``DataFrame.writeTo``."""
        _require_delta(command.provider.lower())
        for given, statement in (
            (command.table_properties, "tableProperty"),
            (command.clustering_columns, "clusterBy"),
        ):
            if given:
                raise UnsupportedStatementError(
                    statement, "it would not be kept with the table", "leave it out"
                )
        found = target.find(self._state, command.table_name, "writeTo")
        mode = _MODES_V2[command.mode]
        if mode == "create" and found.registered:
            raise TableExistsError(found.label)
        if mode not in {"create", "create_or_replace"} and not found.registered:
            self._state.resolve(parts_of(command.table_name))
        options = {key.lower(): value for key, value in command.options.items()}
        path = options.pop("path", "")
        if path and found.name is not None:
            found = target.placed(self._state, found, path, may_replace=mode == "create_or_replace")
        if mode in {"replace", "create_or_replace"}:
            options["overwriteschema"] = "true"
        elif mode == "overwrite_partitions":
            options["partitionoverwritemode"] = "dynamic"
        elif mode == "overwrite":
            _require_everything(command.overwrite_condition)
        if command.with_schema_evolution:
            options["mergeschema"] = "true"
        self.run(
            Write(
                found,
                command.input,
                "append" if mode == "append" else "overwrite",
                options,
                tuple(_partition(each) for each in command.partitioning_columns),
                create=not found.registered,
                if_exists="error" if mode == "create" else "write",
            ),
            draft,
        )

    def run(self, write: Write, draft: Draft) -> int | None:
        """Write, register a new table after its commit, and record.

        Returns:
            The Delta version that the write made; ``None`` for a remote location.

        Raises:
            TableExistsError: it is to be made, and another process has made it.
            SchemaMismatchError: the rows' columns are not the table's.
            DeltaConflictError: other writers were faster, each time.
        """
        if not write.create:
            return self._run(write, draft)
        with target.creating(self._state, write.target) as found:
            if found.registered and write.if_exists == "error":
                raise TableExistsError(found.label)
            if found.registered and write.if_exists == "ignore":
                return None
            write.target, write.create = found, not found.registered
            return self._run(write, draft)

    def _run(self, write: Write, draft: Draft) -> int | None:
        from pyspark.errors import PySparkException

        resolver = PinningResolver(self._state)
        Rewriter(resolver).apply(write.rows)
        raw = resolver.raw_files()
        before = write.target.version
        try:
            given = self._send(write, draft.id)
        except PySparkException as error:
            reason = _explained(error, write, resolver.paths)
            if reason is None:
                raise
            raise reason from error
        flows = resolver.flows_into(given, write.names)
        return self._finish(write, draft, resolver, raw, before, flows)

    def _send(self, write: Write, marker: str) -> Relation:
        """Write; the rows as they were before checks of the write were added."""
        replaces = write.create or (write.mode == "overwrite" and write.flag("overwriteSchema"))
        write.rows = (rows.nullable if replaces else rows.fitted)(write, self._client)
        given = write.rows
        if write.create:
            write.options.pop("partitionoverwritemode", None)
            write.options.pop("replacewhere", None)
        partitions.confine(write, self._client)
        command = _command(write, marker, replaces)
        conflicts.retried(
            lambda: self._client.execute_command(command),
            write.target.label,
            write.mode,
            attempts=conflicts.ATTEMPTS if write.mode == "append" else 1,
        )
        return given

    def _finish(
        self,
        write: Write,
        draft: Draft,
        resolver: PinningResolver,
        raw: list[RawFile],
        before: int | None,
        flows: list[Flow],
    ) -> int | None:
        found = write.target
        version = None
        if not files.is_remote(found.location):
            version = lakehouse.commit_of(
                found.location, draft.id, -1 if before is None else before
            )
        crash_point("engine.committed")
        if found.name is not None and not found.registered:
            self._state.catalog.create_table(found.name, found.location, write.comment)
        draft.finish(
            self._state.lineage,
            reads=resolver.reads(columns.used(write.rows)),
            writes=[found.access(version)],
            mode=write.recorded_mode,
            files=raw,
            flows=flows,
        )
        return version

    def _files(self, command: WriteOperation, path: str, draft: Draft) -> None:
        """A write of plain files; recorded as a path."""
        from pyspark.sql.connect import proto

        resolver = PinningResolver(self._state)
        made = type(command)()
        made.CopyFrom(command)
        Rewriter(resolver).apply(made)
        made.path = files.absolute(path, self._state.paths.root)
        raw = resolver.raw_files()
        sent = proto.Command()
        sent.write_operation.CopyFrom(made)
        self._client.execute_command(sent)
        # Columns in the names of directories have no place among those of the files.
        is_plain = made.source == "parquet" and not made.partitioning_columns
        names = files.parquet_columns([made.path]) if is_plain else None
        draft.finish(
            self._state.lineage,
            reads=resolver.reads(columns.used(made.input)),
            writes=[Access("path", made.path)],
            mode=_MODES[command.mode],
            files=raw,
            flows=resolver.flows_into(made.input, names),
        )


def _explained(error: Exception, write: Write, paths: list[str]) -> HeadraceError | None:
    """What made a write fail, where that can be told."""
    if partitions.is_outside(error):
        return RowsOutsideError(write.target.label, write.options.get("replacewhere", ""))
    return files.unreadable(paths)


def _command(write: Write, marker: str, replaces: bool) -> Command:
    """The Delta write of resolved rows to a location."""
    from pyspark.sql.connect import proto

    command = proto.Command()
    operation = command.write_operation
    operation.input.CopyFrom(write.rows)
    operation.source = "delta"
    operation.path = write.target.location
    # A location that holds a table which the catalog does not know is what a killed process
    # left behind between its commit and the registration. Its rows are replaced.
    fresh = write.create and write.target.version is None
    operation.mode = 3 if fresh else (2 if write.create or write.mode == "overwrite" else 1)
    operation.partitioning_columns.extend(write.partition_by)
    for key, value in write.options.items():
        operation.options[_SPELLINGS.get(key, key)] = value
    if replaces and not fresh:
        operation.options["overwriteSchema"] = "true"
    operation.options["userMetadata"] = marker
    return command


_SPELLINGS: Final = {
    name.lower(): name
    for name in (
        "mergeSchema",
        "overwriteSchema",
        "partitionOverwriteMode",
        "replaceWhere",
        "userMetadata",
    )
}


def _partition(expression: Expression) -> str:
    """The column of a partition expression."""
    if not expression.HasField("unresolved_attribute"):
        raise UnsupportedStatementError(
            "partitionedBy with a transform",
            "Delta tables are partitioned by columns",
            "add the value as a column and partition by that",
        )
    return str(expression.unresolved_attribute.unparsed_identifier).strip("`")


def _require_everything(condition: Expression) -> None:
    """``overwrite(lit(True))`` replaces all rows; other conditions cannot be read back as SQL."""
    if not condition.literal.boolean:
        raise UnsupportedStatementError(
            "writeTo(...).overwrite(condition)",
            "the condition does not reach the Delta log from here",
            '.write.mode("overwrite").option("replaceWhere", "day = \'2026-01-01\'").saveAsTable(...)',
        )


def _require_delta(form: str) -> None:
    if form not in {"", "delta"}:
        raise UnsupportedStatementError(
            f"saveAsTable with format {form}",
            "tables are Delta tables; other formats have no versions to record",
            f'.write.format("delta").saveAsTable(...), or .write.{form}(path) for plain files',
        )


def _refuse_layout(command: WriteOperation) -> None:
    for given, statement in (
        (command.HasField("bucket_by"), "bucketBy"),
        (command.sort_column_names, "sortBy"),
        (command.clustering_columns, "clusterBy"),
    ):
        if given:
            raise UnsupportedStatementError(
                statement, "Delta tables here are laid out by partitions", ".partitionBy(column)"
            )
